"""InfogainLoss against the transcription, with the matrix as a bottom and in a file."""

import numpy as np
import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.formats.files import BlobStore, write_binary
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import Values, agree, single
from tests.refusals import refused

SCORES, LABELS = (2, 3, 2, 2), np.array([[[0, 2], [1, 1]], [[2, 0], [0, 1]]], "f4")
MATRIX = np.array([[1, 0.5, 0], [0, 2, -0.25], [0.125, 0, 1]], "f4")


@pytest.mark.parametrize(
    "body", ["", "normalization: FULL", "normalization: NONE", "normalization: BATCH_SIZE", "ignore_label: 1"]
)
@pytest.mark.parametrize("tops", [("y",), ("y", "p")], ids=["loss", "and probabilities"])
def test_infogain(body, tops):
    text = single("InfogainLoss", [SCORES, (2, 2, 2), (1, 1, 3, 3)], f"loss_param {{ {body} }}", tops)
    agree(text, labels={"x1": LABELS, "x2": MATRIX[None, None]}, values=Values(3))


def test_the_axis_of_the_classes():
    text = single("InfogainLoss", [(2, 2, 3), (2, 2), (3, 3)], "infogain_loss_param { axis: -1 }")
    agree(text, labels={"x1": LABELS[:, 0], "x2": MATRIX}, values=Values(4))


def test_probabilities_below_1e_20_count_as_1e_20_and_go_back_as_they_are():
    text = single("InfogainLoss", [(1, 3), (1,), (3, 3)])
    agree(text, labels={"x0": np.array([[0, 60, 1]], "f4"), "x1": np.array([0], "f4"), "x2": MATRIX})


def test_the_identity_matrix_is_softmax_with_loss():
    x, label = torch.randn(4, 3), torch.tensor([0.0, 2, 1, 1])
    infogain = load_net(parse_text(single("InfogainLoss", [(4, 3), (4,), (3, 3)]), pb.NetParameter), losses=True)
    softmax = load_net(parse_text(single("SoftmaxWithLoss", [(4, 3), (4,)]), pb.NetParameter), losses=True)
    torch.testing.assert_close(infogain(x, label, torch.eye(3)), softmax(x, label))


def written(tmp_path, values):
    message, store = pb.BlobProto(), BlobStore()
    store.attach(message, np.asarray(values, "f4"))
    write_binary(message, tmp_path / "matrix.binaryproto", store)
    text = single("InfogainLoss", [(4, 3), (4,)], 'infogain_loss_param { source: "matrix.binaryproto" }')
    (tmp_path / "net.prototxt").write_text(text)
    return tmp_path / "net.prototxt"


def test_the_matrix_of_a_file_beside_the_prototxt(tmp_path):
    x, label = torch.randn(4, 3), torch.tensor([0.0, 2, 1, 1])
    with_bottom = load_net(parse_text(single("InfogainLoss", [(4, 3), (4,), (3, 3)]), pb.NetParameter), losses=True)
    actual = load_net(written(tmp_path, MATRIX.reshape(1, 1, 3, 3)), losses=True)(x, label)
    assert torch.equal(actual, with_bottom(x, label, torch.from_numpy(MATRIX)))


def test_a_file_with_another_number_of_values_is_refused(tmp_path):
    with refused("shape-mismatch", field="infogain_loss_param.source", value="matrix.binaryproto"):
        load_net(written(tmp_path, np.eye(2)), losses=True)


@pytest.mark.parametrize(
    ("body", "shapes", "code", "field"),
    [
        ("", [(4, 3), (4,)], "field-missing", "infogain_loss_param.source"),
        (
            'infogain_loss_param { source: "none.binaryproto" }',
            [(4, 3), (4,)],
            "file-missing",
            "infogain_loss_param.source",
        ),
        ("loss_param { normalize: false }", [(4, 3), (4,), (3, 3)], "unsupported", "loss_param.normalize"),
        ("", [(4, 3), (4,), (3, 2)], "shape-mismatch", "bottom"),
        ("", [(4, 3), (5,), (3, 3)], "several", None),
    ],
)
def test_what_does_not_fit_is_refused(body, shapes, code, field):
    with refused(code, field=field):
        load_net(parse_text(single("InfogainLoss", shapes, body), pb.NetParameter), losses=True)
