"""Losses of pairs, margins, probabilities, logistic targets and information gains, against the transcription."""

import numpy as np
import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.formats.files import BlobStore, write_binary
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import Values, agree, single
from tests.nets import build_net
from tests.refusals import refused

CLASSES = np.array([0, 4, 2, 2], "f4")
BINARY = np.array([[0, 1, 1], [1, 2, 0], [1, 0, 0], [0, 1, 2]], "f4")


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize(
    "body", ["", "margin: 2.5", "margin: 9 legacy_version: true", "margin: 3 legacy_version: true"]
)
def test_the_contrastive_loss_in_both_versions(body, grid):
    text = single("ContrastiveLoss", [(5, 4), (5, 4), (5, 1)], f"contrastive_loss_param {{ {body} }}")
    labels = {"x2": np.array([[1], [0], [0], [2], [0]], "f4")}
    agree(text, labels=labels, values=Values(seed=6, grid=grid))


def test_a_dissimilar_pair_that_coincides_has_no_gradient():
    same = np.ones((1, 2), "f4")
    text = single("ContrastiveLoss", [(1, 2), (1, 2), (1, 1)])
    agree(text, labels={"x0": same, "x1": same, "x2": np.zeros((1, 1), "f4")})


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_the_hinge_loss_in_both_norms(norm, grid):
    text = single("HingeLoss", [(4, 5), (4,)], f"hinge_loss_param {{ norm: {norm} }}", extra="loss_weight: 2")
    agree(text, labels={"x1": CLASSES}, values=Values(seed=6, grid=grid))


def test_the_logistic_loss_of_probabilities():
    probabilities = np.abs(np.random.default_rng(0).standard_normal((4, 5))).astype("f4")
    probabilities[1, 4] = 1e-30
    agree(single("MultinomialLogisticLoss", [(4, 5), (4,)]), labels={"x0": probabilities, "x1": CLASSES})


@pytest.mark.parametrize(
    "body",
    ["", "normalization: FULL", "normalization: VALID", "normalization: NONE", "normalize: true", "normalize: false"],
)
@pytest.mark.parametrize("ignore", ["", "ignore_label: 2"])
def test_the_cross_entropy_of_sigmoids(body, ignore):
    text = single("SigmoidCrossEntropyLoss", [(4, 3), (4, 3)], f"loss_param {{ {body} {ignore} }}")
    agree(text, labels={"x1": BINARY})


SCORES, LABELS = (2, 3, 2, 2), np.array([[[0, 2], [1, 1]], [[2, 0], [0, 1]]], "f4")
MATRIX = np.array([[1, 0.5, 0], [0, 2, -0.25], [0.125, 0, 1]], "f4")
INFOGAIN = single("InfogainLoss", [(4, 3), (4,), (3, 3)])
SAMPLES, LABEL = torch.arange(12.0).view(4, 3).cos(), torch.tensor([0.0, 2, 1, 1])


@pytest.mark.parametrize(
    "body", ["", "normalization: FULL", "normalization: NONE", "normalization: BATCH_SIZE", "ignore_label: 1"]
)
@pytest.mark.parametrize("tops", [("y",), ("y", "p")], ids=["loss", "and probabilities"])
def test_the_infogain_loss_with_the_matrix_as_a_bottom(body, tops):
    text = single("InfogainLoss", [SCORES, (2, 2, 2), (1, 1, 3, 3)], f"loss_param {{ {body} }}", tops)
    agree(text, labels={"x1": LABELS, "x2": MATRIX[None, None]}, values=Values(3))


def test_infogain_takes_the_axis_of_the_classes():
    text = single("InfogainLoss", [(2, 2, 3), (2, 2), (3, 3)], "infogain_loss_param { axis: -1 }")
    agree(text, labels={"x1": LABELS[:, 0], "x2": MATRIX}, values=Values(4))


def test_probabilities_below_1e_20_count_as_1e_20_and_go_back_as_they_are():
    text = single("InfogainLoss", [(1, 3), (1,), (3, 3)])
    agree(text, labels={"x0": np.array([[0, 60, 1]], "f4"), "x1": np.array([0], "f4"), "x2": MATRIX})


def test_the_identity_matrix_is_softmax_with_loss():
    softmax = build_net(single("SoftmaxWithLoss", [(4, 3), (4,)]))
    torch.testing.assert_close(build_net(INFOGAIN)(SAMPLES, LABEL, torch.eye(3)), softmax(SAMPLES, LABEL))


def written(tmp_path, values):
    message, store = pb.BlobProto(), BlobStore()
    store.attach(message, np.asarray(values, "f4"))
    write_binary(message, tmp_path / "matrix.binaryproto", store)
    text = single("InfogainLoss", [(4, 3), (4,)], 'infogain_loss_param { source: "matrix.binaryproto" }')
    (tmp_path / "net.prototxt").write_text(text)
    return tmp_path / "net.prototxt"


def test_the_matrix_of_a_file_beside_the_prototxt(tmp_path):
    actual = load_net(written(tmp_path, MATRIX.reshape(1, 1, 3, 3)), losses=True)(SAMPLES, LABEL)
    assert torch.equal(actual, build_net(INFOGAIN)(SAMPLES, LABEL, torch.from_numpy(MATRIX)))


def test_a_file_with_another_number_of_values_is_refused(tmp_path):
    with refused("shape-mismatch", field="infogain_loss_param.source", value="matrix.binaryproto"):
        load_net(written(tmp_path, np.eye(2)), losses=True)
