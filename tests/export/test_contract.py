"""Layers that no format exports: the error names each layer or the argument, and the file keeps its content."""

import pytest

from caffe_compat import Preprocessing
from caffe_compat.export import FORMATS, export
from tests.nets import build_net
from tests.refusals import refused

pytest.importorskip("onnx", reason="the extra `dev` brings onnx")
pytest.importorskip("safetensors", reason="the extra `dev` brings safetensors")

NET = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [1, 3, 12, 12] } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 5 } }
"""
FILES = """layer { name: "f" type: "HDF5Output" bottom: "c" bottom: "c" hdf5_output_param { file_name: "f.h5" } }
layer { name: "g" type: "HDF5Output" bottom: "data" bottom: "c" hdf5_output_param { file_name: "g.h5" } }"""


@pytest.fixture
def file(tmp_path):
    """A file with something in it, which stays."""
    file = tmp_path / "net.py"
    file.write_text("old")
    yield file
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("to", [to for to in FORMATS if to != "safetensors"])
def test_every_layer_that_cannot_be_exported_is_listed(to, file):
    with refused("several") as caught:
        export(build_net(NET + FILES), file, to)
    assert [(e.code, e.layer, e.value) for e in caught.value.problems] == [
        ("unsupported", "f", "HDF5Output"),
        ("unsupported", "g", "HDF5Output"),
    ]


@pytest.mark.parametrize("to", FORMATS)
def test_a_net_for_training_is_refused(to, file):
    with refused("unsupported", field="phase", hint="TEST"):
        export(build_net(NET, phase="TRAIN"), file, to)


@pytest.mark.parametrize(
    ("preprocessing", "code", "field"),
    [(None, "field-missing", "with_preprocessing"), (Preprocessing("GRAY"), "shape-mismatch", "channels")],
)
@pytest.mark.parametrize("to", FORMATS)
def test_preprocessing_that_is_missing_or_does_not_fit_is_refused(to, preprocessing, code, field, file):
    net = build_net(NET)
    net.meta["preprocessing"] = preprocessing
    if to == "safetensors":  # it has no operations
        code, field = "unsupported", "with_preprocessing"
    with refused(code, field=field):
        export(net, file, to, with_preprocessing=True)


def test_an_unknown_format_is_refused(file):
    with refused("name-unknown", field="to", value="torch"):
        export(build_net(NET), file, "torch")
