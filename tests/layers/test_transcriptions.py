"""Layers compute what their transcriptions in tests/reference compute."""

import pytest

from caffe_compat.layers import FORK_REGISTRY
from tests.layers.agreement import agree, single
from tests.layers.cases import CASES
from tests.nets import build_graph
from tests.reference.caffe_forks import FORK_TYPES
from tests.reference.caffe_more_forks import MORE_FORK_TYPES
from tests.reference.caffe_net import TYPES


def text(case):
    return single(case.type, case.shapes, case.body, case.tops, case.extra)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_value_and_gradient_is_the_transcriptions(case):
    agree(
        text(case), labels=case.labels, values=case.values, phase=case.phase, fork=case.fork, forwards=case.forwards,
        tolerance=case.tolerance, feed=case.feed,
    )  # fmt: skip


ELSEWHERE = {
    *(
        "Accuracy",
        "BatchNorm",
        "Concat",
        "Dropout",
        "Eltwise",
        "EuclideanLoss",
        "InnerProduct",
        "LRN",
        "Pooling",
        "ReLU",
    ),
    *("Scale", "Silence", "Softmax", "SoftmaxWithLoss", "Split"),  # test_reference.py
    *(
        "ssd DetectionEvaluate",
        "ssd DetectionOutput",
        "ssd MultiBoxLoss",
    ),  # test_detection_evaluate, _forks, _multibox.py
    "Filter",  # its tops have no declared shape: test_shapes.py
}
NO_TYPES = {"Mover", "Neuron", "Recurrent"}


def test_every_transcription_has_a_case():
    specs = [build_graph(text(case), phase=case.phase, fork=case.fork).nodes[-1].spec for case in CASES]
    compared = {f"{spec.fork} {spec.param.type}".strip() for spec in specs}
    assert set(TYPES) - compared == ELSEWHERE | NO_TYPES


def test_every_type_of_a_fork_has_a_transcription():
    types = {
        f"{layer.forks[0]} {layer.type}" for layers in FORK_REGISTRY.values() for layer in layers if not layer.is_data
    }
    assert types - set(FORK_TYPES | MORE_FORK_TYPES) == {"fast-rcnn Dropout", "segnet Dropout"}
