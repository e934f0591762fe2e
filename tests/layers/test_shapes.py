"""Layers that move, choose and add up values, against the transcription."""

import numpy as np
import pytest
import torch

from tests.layers.agreement import Values, agree, single
from tests.nets import build_net
from tests.refusals import refused

X = (2, 4, 3, 6)
MOVES = [
    ("Crop", [X, (2, 4, 2, 3)], "", 1),
    ("Crop", [X, (1, 2, 2, 3)], "crop_param { axis: 1 offset: 1 }", 1),
    ("Crop", [X, (1, 2, 2, 3)], "crop_param { axis: -3 offset: 2 offset: 0 offset: 3 }", 1),
    ("Flatten", [X], "", 1),
    ("Flatten", [X], "flatten_param { axis: 0 end_axis: -2 }", 1),
    ("Flatten", [X], "flatten_param { axis: 2 end_axis: 1 }", 1),
    ("Reshape", [X], "reshape_param { shape { dim: 0 dim: -1 dim: 6 } }", 1),
    ("Reshape", [X], "reshape_param { shape { dim: 2 dim: 2 } axis: 1 num_axes: 1 }", 1),
    ("Reshape", [X], "reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", 1),
    ("Reshape", [X], "reshape_param { shape { dim: -1 dim: 0 dim: 2 } axis: 1 num_axes: 2 }", 1),
    ("Slice", [X], "", 2),
    ("Slice", [X], "slice_param { axis: -1 slice_point: 1 slice_point: 3 }", 3),
    ("Slice", [X], "slice_param { slice_dim: 3 }", 3),
    ("Slice", [X], "", 1),
    ("Tile", [X], "tile_param { tiles: 3 }", 1),
    ("Tile", [X], "tile_param { axis: -1 tiles: 2 }", 1),
    ("Bias", [X], "bias_param { num_axes: 2 }", 1),
    ("Bias", [X], "bias_param { axis: -2 num_axes: -1 }", 1),
    ("Bias", [X], "bias_param { num_axes: 0 }", 1),
    ("Bias", [X, (4, 3)], "", 1),
    ("Bias", [X, ()], "bias_param { axis: 2 }", 1),
    ("MVN", [X], "", 1),
    ("MVN", [X], "mvn_param { eps: 0.5 }", 1),
    ("MVN", [X], "mvn_param { across_channels: true eps: 0.01 }", 1),
    ("MVN", [(3, 4, 5)], "mvn_param { normalize_variance: false }", 1),
    ("MVN", [(3, 4)], "mvn_param { across_channels: true }", 1),
    ("Parameter", [], "parameter_param { shape { dim: 2 dim: 3 } }", 1),
    *(
        ("Reduction", [X], f"reduction_param {{ operation: {op} axis: {axis} coeff: {coeff} }}", 1)
        for op in ("SUM", "ASUM", "SUMSQ", "MEAN")
        for axis, coeff in ((0, 1), (-2, 0.5))
    ),
    ("ArgMax", [X], "", 1),
    ("ArgMax", [X], "argmax_param { top_k: 5 out_max_val: true }", 1),
    ("ArgMax", [X], "argmax_param { axis: -1 top_k: 3 }", 1),
    ("ArgMax", [X], "argmax_param { axis: 0 top_k: 2 out_max_val: true }", 1),
    ("ArgMax", [(3, 5)], "argmax_param { top_k: 2 }", 1),
]


@pytest.mark.parametrize("grid", [False, True], ids=["normal", "grid"])
@pytest.mark.parametrize(("type_", "shapes", "body", "tops"), MOVES)
def test_every_value_and_gradient_is_the_transcriptions(type_, shapes, body, tops, grid):
    agree(single(type_, shapes, body, [f"y{i}" for i in range(tops)]), values=Values(seed=4, grid=grid))


@pytest.mark.parametrize(
    ("type_", "shapes", "body", "labels"),
    [
        ("BatchReindex", [(3, 2, 2), (5,)], "", {"x1": [2, 0, 0, 1, 2]}),
        ("Embed", [(2, 3)], "embed_param { num_output: 4 input_dim: 3 }", {"x0": [[2, 0, 0], [1, 2, 2]]}),
        ("Embed", [(3,)], "embed_param { num_output: 2 input_dim: 9 bias_term: false }", {"x0": [8, 8, 1]}),
    ],
)
def test_rows_are_chosen_as_in_the_transcription(type_, shapes, body, labels):
    agree(single(type_, shapes, body), labels={blob: np.asarray(value, "f4") for blob, value in labels.items()})


@pytest.mark.parametrize("selector", [[1, 0, 0, 7], [1, 1, 1, 1], [0, 0, 0, 0]])
def test_the_filter_decides_the_size_while_running(selector):
    text = single("Filter", [(4, 2, 3), (4, 1), (4, 1)], "", ["y", "z"])
    selectors = np.array(selector, "f4")[:, None]
    agree(text, labels={"x2": selectors}, feed={"x0": (4, 2, 3)})
    inputs = {"x0": torch.ones(4, 2, 3), "x1": torch.ones(4, 1), "x2": torch.from_numpy(selectors)}
    assert build_net(text).every_blob(inputs)["y"].shape == (np.count_nonzero(selector), 2, 3)


def test_of_equal_values_the_last_index_comes_first():
    net = build_net(single("ArgMax", [(1, 4)], "argmax_param { top_k: 3 }"))
    assert net(torch.tensor([[5.0, 7.0, 7.0, 5.0]])).flatten().tolist() == [2, 1, 3]


def test_constant_maps_have_a_gradient():
    net = build_net(single("MVN", [(1, 1, 2, 2)], "mvn_param { eps: 0.5 }"))
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    y = net(x)
    y[0, 0, 0, 0].backward()
    assert y.flatten().tolist() == [0, 0, 0, 0]
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.5, -0.5, -0.5, -0.5]


@pytest.mark.parametrize(
    ("type_", "shape", "body", "feed"),
    [
        ("Flatten", (2, 3, 4), "", (5, 3, 4)),
        ("Reshape", (2, 3, 4), "reshape_param { shape { dim: 0 dim: -1 } }", (5, 3, 6)),
        ("Tile", (2, 3, 4), "tile_param { tiles: 2 }", (1, 5, 4)),
        ("Slice", (2, 4, 4), "slice_param { slice_point: 1 }", (3, 6, 1)),
        ("MVN", (2, 3, 4, 4), "", (1, 2, 5, 6)),
        ("Reduction", (2, 3), "reduction_param { axis: 1 operation: MEAN }", (4, 7)),
    ],
)
def test_other_sizes_than_declared_may_be_fed(type_, shape, body, feed):
    agree(single(type_, [shape], body, ["y", "z"] if type_ == "Slice" else ["y"]), feed={"x0": feed})


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_without_a_row_is_refused(index):
    net = build_net(single("Embed", [(1,)], "embed_param { num_output: 2 input_dim: 3 }"))
    with refused("out-of-range", field="index", value=index):
        net(torch.tensor([float(index)]))
