"""Layers that compute value by value: what cases.py cannot state."""

import pytest
import torch

from tests.layers.agreement import single
from tests.nets import build_graph, build_net
from tests.refusals import refused


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
