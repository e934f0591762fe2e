"""HDF5Output: the file that genuine Caffe writes, and the rows of later passes, which it cannot write."""

import h5py
import numpy as np
import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.cli import main
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.nets import build_graph, build_net
from tests.refusals import refused

NET = """
layer {{ name: "in" type: "Input" top: "x" top: "t" input_param {{ shape {{ {x} }} shape {{ {t} }} }} }}
layer {{ name: "out" type: "HDF5Output" bottom: "x" bottom: "t" hdf5_output_param {{ file_name: "{name}" }} }}
layer {{ name: "double" type: "Power" bottom: "x" top: "y" power_param {{ scale: 2 }} }}
"""


def text(x="dim: 2 dim: 3 dim: 4", t="dim: 2", name="out.h5"):
    return NET.format(x=x, t=t, name=name)


def content(path):
    with h5py.File(path) as file:
        return {name: (data.dtype, data[...].tolist()) for name, data in file.items()}


def test_the_file_is_the_one_caffe_writes(folder):
    net = build_net(text())
    net(torch.arange(24).view(2, 3, 4) * 0.5, torch.tensor([7.0, 8.0]))
    with h5py.File("out.h5") as file:
        # What Caffe wrote of the same two blobs: four axes each, float32.
        assert {name: (data.shape, data.dtype) for name, data in file.items()} == {
            "data": ((2, 3, 4, 1), np.float32),
            "label": ((2, 1, 1, 1), np.float32),
        }
        assert file["data"][...].ravel().tolist() == [0.5 * i for i in range(24)]
        assert file["label"][...].ravel().tolist() == [7, 8]


def test_nothing_is_touched_before_the_first_pass_which_replaces_what_was_there(folder):
    (folder / "out.h5").write_text("precious")
    net = build_net(text())
    assert (folder / "out.h5").read_text() == "precious"
    net(torch.zeros(2, 3, 4), torch.zeros(2))
    assert sorted(content("out.h5")) == ["data", "label"]


def test_rows_of_later_passes_are_put_behind_the_first_ones(folder):
    net = build_net(text(x="dim: 2 dim: 1"))
    for start in (0.0, 2.0, 4.0):
        net(torch.tensor([[start], [start + 1]]), torch.tensor([-start, -start - 1]))
    with h5py.File("out.h5") as file:
        assert file["data"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
        assert file["label"][:, 0, 0, 0].tolist() == [0, -1, -2, -3, -4, -5]


def test_a_new_net_starts_a_new_file(folder):
    for value in (1.0, 2.0):
        build_net(text())(torch.full((2, 3, 4), value), torch.zeros(2))
    with h5py.File("out.h5") as file:
        assert file["data"].shape == (2, 3, 4, 1)
        assert np.unique(file["data"][...]).tolist() == [2]


def test_gradients_flow_past_it(folder):
    net = build_net(text(), phase="TRAIN")
    x = torch.ones(2, 3, 4, requires_grad=True)
    net(x, torch.zeros(2)).sum().backward()
    assert x.grad.unique().tolist() == [2]


def test_a_net_for_inference_goes_without_it(folder):
    net = load_net(parse_text(text(), pb.NetParameter))
    net(torch.zeros(2, 3, 4))
    assert not (folder / "out.h5").exists()
    assert "t" not in net.inputs


def test_its_name_decides_which_file_is_written(folder):
    build_net(text(name="other.h5"))(torch.zeros(2, 3, 4), torch.zeros(2))
    assert [path.name for path in folder.iterdir()] == ["other.h5"]


COMMANDS = [
    ["time", "-model", "net.prototxt", "-iterations", "1", "-phase", "TEST"],
    ["diff", "--run", "net.prototxt", "net.prototxt"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=["time", "diff"])
def test_commands_that_only_look_at_a_net_write_nothing(folder, arguments):
    (folder / "net.prototxt").write_text(text(x="dim: 2 dim: 3"))
    (folder / "out.h5").write_text("the user's own")
    assert main(arguments) == 0
    assert (folder / "out.h5").read_text() == "the user's own"
    assert sorted(path.name for path in folder.iterdir()) == ["net.prototxt", "out.h5"]


def test_a_file_that_cannot_be_written_is_named(folder):
    net = build_net(text(name="gone/out.h5"))
    with refused("file-unwritable", file="gone/out.h5"):
        net(torch.zeros(2, 3, 4), torch.zeros(2))


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"name": ""}, "field-missing", "hdf5_output_param.file_name"),
        ({"t": "dim: 3"}, "shape-mismatch", "bottom"),
        ({"x": "dim: 2 dim: 1 dim: 1 dim: 1 dim: 1"}, "shape-mismatch", "bottom"),
    ],
)
def test_what_caffe_cannot_write_is_refused(folder, fields, code, field):
    with refused(code, field=field, file="net.prototxt", line=3, layer="out"):
        build_graph(text(**fields))
