"""Layers that compute value by value, against the transcription."""

import pytest
import torch

from tests.layers.agreement import Values, agree, single
from tests.nets import build_graph, build_net
from tests.reference.caffe_neurons import Neuron
from tests.refusals import refused

BODIES = {kind.__name__: [""] for kind in Neuron.__subclasses__()} | {
    "Clip": ["clip_param { min: -1 max: 1 }", "clip_param { min: 0.3 max: 0.2 }"],
    "ELU": ["", "elu_param { alpha: 0.3 }", "elu_param { alpha: -2 }"],
    "Exp": ["", "exp_param { base: 2 scale: 0.5 shift: -1 }", "exp_param { shift: 1 }", "exp_param { base: 0.5 }"],
    "Log": ["log_param { shift: 5 }", "log_param { base: 2 scale: -0.5 shift: 6 }", "log_param { base: 10 shift: 4.5 }"],
    "Power": [""] + [
        f"power_param {{ {fields} }}" for fields in (
            "power: 2 scale: 3 shift: -1", "power: 3", "power: 3 shift: 1 scale: 2", "power: 0", "power: 0.5 shift: 5",
            "scale: 0 shift: 2 power: 3", "scale: -2",
        )
    ],
    "PReLU": ["", "prelu_param { channel_shared: true }"],
    "Swish": ["", "swish_param { beta: -1.7 }"],
    "Threshold": ["", "threshold_param { threshold: 1 }"],
}  # fmt: skip


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize(("type_", "body"), [(t, b) for t, bodies in BODIES.items() for b in bodies])
def test_every_value_and_gradient_is_the_transcriptions(type_, body, grid):
    agree(single(type_, [(2, 3, 4)], body), values=Values(seed=3, grid=grid))


@pytest.mark.parametrize("type_", sorted(set(BODIES) - {"AbsVal"}))
def test_a_neuron_works_in_place(type_):
    agree(single(type_, [(2, 3)], BODIES[type_][0], tops=["x0"]), values=Values(seed=3))


def test_the_gradient_of_a_power_is_not_a_number_at_zero_as_in_caffe():
    net = build_net(single("Power", [(1, 2)], "power_param { power: 3 }"))
    x = torch.tensor([[0.0, 2.0]], requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None
    assert x.grad[0].isnan().tolist() == [True, False]
    assert x.grad[0, 1] == 12


@pytest.mark.parametrize("ratio", [1, 1.5, -1])
def test_dropout_looks_at_its_ratio_in_train_alone(ratio):
    text = single("Dropout", [(1, 2)], f"dropout_param {{ dropout_ratio: {ratio} }}")
    x = torch.tensor([[1.0, -2.0]])
    assert torch.equal(build_net(text)(x), x)
    with refused("out-of-range", field="dropout_param.dropout_ratio", value=ratio):
        build_graph(text, phase="TRAIN")


def test_the_absolute_value_cannot_work_in_place():
    with refused("unsupported", layer="l", field="top"):
        build_graph(single("AbsVal", [(1, 2)], tops=["x0"]))
