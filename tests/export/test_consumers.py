"""Exported nets, run in a process that cannot import this package, against what genuine Caffe computed."""

import pytest

from caffe_compat.export import export
from tests.export.consumers import PT2, PYTHON, outputs
from tests.export.nets import LARGEST_DIFFERENCE, PUBLISHED, author, published

pytest.importorskip(
    "safetensors", reason="the package safetensors is not installed: pip install 'caffe-compat[export]'"
)

BOTH = f"""
folder_of_nets = file
file = folder_of_nets + "/net.pt2"
{PT2}
program, file = run, folder_of_nets + "/net.py"
{PYTHON}
source = run
def run(*inputs):
    tops = {{"pt2": program(*inputs), "python": source(*inputs)}}
    return {{f"{{to}}/{{name}}": top for to, all in tops.items()
            for name, top in (all.items() if isinstance(all, dict) else [("", all)])}}
"""


def require_caffes(recorded, folder):
    """Export a recorded net in both formats and compare what a stranger gets from each with the record."""
    for to, name in (("pt2", "net.pt2"), ("python", "net.py")):
        export(recorded.load(), folder / name, to)
    tops = outputs(BOTH, folder, recorded.inputs, folder)
    for to in ("pt2", "python"):
        own = {name.removeprefix(f"{to}/"): top for name, top in tops.items() if name.startswith(f"{to}/")}
        difference = recorded.difference(own)
        print(f"{to}: largest difference {difference:.2g}")
        assert difference <= LARGEST_DIFFERENCE, to


@pytest.mark.parametrize("name", ["cnn_d", pytest.param("sr_fcn", marks=pytest.mark.slow)])
def test_an_authors_net_answers_as_caffe_without_this_package(name, nets, tmp_path):
    require_caffes(author(name, nets), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_net_answers_as_caffe_without_this_package(name, reference, tmp_path):
    require_caffes(published(name, reference / "published"), tmp_path)
