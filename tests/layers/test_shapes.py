"""Layers that move, choose and add up values: what cases.py cannot state."""

import numpy as np
import pytest
import torch

from tests.layers.agreement import agree, single
from tests.nets import build_net
from tests.refusals import refused


@pytest.mark.parametrize("selector", [[1, 0, 0, 7], [1, 1, 1, 1], [0, 0, 0, 0]])
def test_the_filter_decides_the_size_while_running(selector):
    text = single("Filter", [(4, 2, 3), (4, 1), (4, 1)], "", ["y", "z"])
    selectors = np.array(selector, "f4")[:, None]
    agree(text, labels={"x2": selectors}, feed={"x0": (4, 2, 3)})
    inputs = {"x0": torch.ones(4, 2, 3), "x1": torch.ones(4, 1), "x2": torch.from_numpy(selectors)}
    assert build_net(text).every_blob(inputs)["y"].shape == (np.count_nonzero(selector), 2, 3)


def test_constant_maps_have_a_gradient():
    net = build_net(single("MVN", [(1, 1, 2, 2)], "mvn_param { eps: 0.5 }"))
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    y = net(x)
    y[0, 0, 0, 0].backward()
    assert y.flatten().tolist() == [0, 0, 0, 0]
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.5, -0.5, -0.5, -0.5]


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_without_a_row_is_refused(index):
    net = build_net(single("Embed", [(1,)], "embed_param { num_output: 2 input_dim: 3 }"))
    with refused("out-of-range", field="index", value=index):
        net(torch.tensor([float(index)]))
