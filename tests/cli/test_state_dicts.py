"""PyTorch state_dicts that `convert` writes and reads, and a run's resume file, where they are damaged or strange."""

import errno
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.cli import main
from caffe_compat.errors import FileError
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from tests.solver.case import SOLVER

NET = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2
  weight_filler { type: "constant" value: 0.5 } } }"""


@pytest.fixture
def state(folder):
    Path("net.prototxt").write_text(NET)
    state = dict(load_net(parse_text(NET, pb.NetParameter), seed=0).state_dict())
    torch.save(state, "good.pt")
    return state


def converted(source, target="out.pt"):
    return main(["convert", source, target, "--model=net.prototxt"])


def test_equal_weights_give_equal_bytes_under_any_file_name(state, capsys):
    assert converted("good.pt", "one.pt") == converted("good.pt", "two.pt") == 0
    assert Path("one.pt").read_bytes() == Path("two.pt").read_bytes()
    assert torch.load("one.pt", weights_only=True).keys() == state.keys()
    with zipfile.ZipFile("one.pt") as archive:
        assert not [name for name in archive.namelist() if "partial" in name]


def deflated(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile("strange.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda value: value.to_sparse(), "layout torch.sparse_coo"),
        (lambda value: value.to("meta"), "device meta"),
        (lambda value: value.to(torch.complex64), "torch.complex64"),
        (deflated, "compressed"),
        (None, "not a state_dict of tensors"),
    ],
)
def test_an_unusable_state_dict_is_one_line(state, change, problem, capsys):
    key = next(iter(state))
    if change is deflated:
        deflated(state)
    elif change is None:
        torch.save({("no", "text"): state[key], **state}, "strange.pt")
    else:
        torch.save(state | {key: change(state[key])}, "strange.pt")
    assert converted("strange.pt", "out.caffemodel") == 1
    error = capsys.readouterr().err
    assert error.startswith("caffe-compat: error: strange.pt: ")
    assert problem in error
    assert error.count("\n") == 1
    assert not Path("out.caffemodel").exists()


def test_a_full_disk_is_one_line_and_leaves_no_file(state, monkeypatch, capsys):
    real = Path.open

    def full(path, *args, **options):
        if path.suffix == ".partial":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    assert converted("good.pt") == 1
    assert capsys.readouterr().err == "caffe-compat: error: out.pt: cannot be written: No space left on device\n"
    assert {path.name for path in Path().iterdir()} == {"net.prototxt", "good.pt"}


@pytest.mark.parametrize("damage", ["torch", "shuffle", "deflated", "deep"])
def test_a_damaged_resume_file_is_refused_before_the_weights_are_restored(damage, case):
    param = parse_text(SOLVER, pb.SolverParameter)
    Solver(param).step(5)
    with np.load("snap_iter_5.resume.npz") as file:
        entries = dict(file)
    if damage == "torch":
        entries["torch"] = entries["torch"][:, :-1]
    elif damage == "shuffle":
        entries["shuffle"] = entries["shuffle"][:3]
    elif damage == "deep":
        entries["record"] = np.frombuffer(b"[" * 100_000, np.uint8)
    else:
        entries["more"] = np.zeros(1 << 24, np.uint8)
    (np.savez_compressed if damage == "deflated" else np.savez)("snap_iter_5.resume.npz", **entries)
    solver = Solver(param)
    before = [value.clone() for value in solver.net.state_dict().values()]
    with pytest.raises(FileError, match=r"snap_iter_5\.resume\.npz: is damaged"):
        solver.restore("snap_iter_5.solverstate")
    assert all(map(torch.equal, before, solver.net.state_dict().values()))
    assert solver.iter == 0
