"""Losses of pairs, margins, probabilities and logistic targets, against the transcription."""

import numpy as np
import pytest

from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import Values, agree, single
from tests.nets import build_graph
from tests.refusals import refused

CLASSES = np.array([0, 4, 2, 2], "f4")
BINARY = np.array([[0, 1, 1], [1, 2, 0], [1, 0, 0], [0, 1, 2]], "f4")


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize(
    "body", ["", "margin: 2.5", "margin: 9 legacy_version: true", "margin: 3 legacy_version: true"]
)
def test_contrastive(body, grid):
    text = single("ContrastiveLoss", [(5, 4), (5, 4), (5, 1)], f"contrastive_loss_param {{ {body} }}")
    labels = {"x2": np.array([[1], [0], [0], [2], [0]], "f4")}
    agree(text, labels=labels, values=Values(seed=6, grid=grid))


def test_a_dissimilar_pair_that_coincides_has_no_gradient():
    same = np.ones((1, 2), "f4")
    text = single("ContrastiveLoss", [(1, 2), (1, 2), (1, 1)])
    agree(text, labels={"x0": same, "x1": same, "x2": np.zeros((1, 1), "f4")})


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_hinge(norm, grid):
    text = single("HingeLoss", [(4, 5), (4,)], f"hinge_loss_param {{ norm: {norm} }}", extra="loss_weight: 2")
    agree(text, labels={"x1": CLASSES}, values=Values(seed=6, grid=grid))


def test_multinomial_logistic():
    given = np.abs(np.random.default_rng(0).standard_normal((4, 5))).astype("f4")
    given[1, 4] = 1e-30
    agree(single("MultinomialLogisticLoss", [(4, 5), (4,)]), labels={"x0": given, "x1": CLASSES})


@pytest.mark.parametrize(
    "body",
    ["", "normalization: FULL", "normalization: VALID", "normalization: NONE", "normalize: true", "normalize: false"],
)
@pytest.mark.parametrize("ignore", ["", "ignore_label: 2"])
def test_sigmoid_cross_entropy(body, ignore):
    text = single("SigmoidCrossEntropyLoss", [(4, 3), (4, 3)], f"loss_param {{ {body} {ignore} }}")
    agree(text, labels={"x1": BINARY})


@pytest.mark.parametrize(
    ("type_", "shapes", "code", "field"),
    [
        ("ContrastiveLoss", [(5, 4), (5, 3), (5, 1)], "shape-mismatch", "bottom"),
        ("ContrastiveLoss", [(5, 4), (5, 4), (4, 1)], "shape-mismatch", "bottom"),
        ("HingeLoss", [(5, 4), (5, 4)], "shape-mismatch", "bottom"),
        ("MultinomialLogisticLoss", [(5, 4), (4,)], "shape-mismatch", "bottom"),
        ("SigmoidCrossEntropyLoss", [(5, 4), (5, 3)], "shape-mismatch", "bottom"),
    ],
)
def test_what_does_not_fit_is_refused(type_, shapes, code, field):
    with refused(code, field=field):
        build_graph(parse_text(single(type_, shapes), pb.NetParameter))
