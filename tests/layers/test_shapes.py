"""Layers that move, choose and add up values, against the transcription."""

import numpy as np
import pytest
import torch

from caffe_compat.build.net import build_net
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import Values, agree, single
from tests.nets import build_graph
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


ROWS = [
    ("BatchReindex", [(3, 2, 2), (5,)], "", 1, {"x1": [2, 0, 0, 1, 2]}),
    ("Embed", [(2, 3)], "embed_param { num_output: 4 input_dim: 3 }", 1, {"x0": [[2, 0, 0], [1, 2, 2]]}),
    ("Embed", [(3,)], "embed_param { num_output: 2 input_dim: 9 bias_term: false }", 1, {"x0": [8, 8, 1]}),
]


@pytest.mark.parametrize(("type_", "shapes", "body", "tops", "labels"), ROWS)
def test_rows_are_chosen_as_in_the_transcription(type_, shapes, body, tops, labels):
    agree(single(type_, shapes, body, [f"y{i}" for i in range(tops)]), labels=_floats(labels))


@pytest.mark.parametrize("kept", [[1, 0, 0, 7], [1, 1, 1, 1], [0, 0, 0, 0]])
def test_the_filter_decides_the_size_while_running(kept):
    text = single("Filter", [(4, 2, 3), (4, 1), (4, 1)], "", ["y", "z"])
    agree(text, labels=_floats({"x2": np.reshape(kept, (4, 1))}), feed={"x0": (4, 2, 3)})
    net = _net("Filter", [(4, 2, 3), (4, 1), (4, 1)], "", ["y", "z"])
    found = net.every_blob(
        {"x0": torch.ones(4, 2, 3), "x1": torch.ones(4, 1), "x2": torch.tensor(kept).float()[:, None]}
    )
    assert found["y"].shape == (sum(k != 0 for k in kept), 2, 3)


def test_of_equal_values_the_last_index_comes_first():
    net = _net("ArgMax", [(1, 4)], "argmax_param { top_k: 3 }")
    assert net(torch.tensor([[5.0, 7.0, 7.0, 5.0]])).flatten().tolist() == [2, 1, 3]


def test_constant_maps_have_a_gradient():
    net = _net("MVN", [(1, 1, 2, 2)], "mvn_param { eps: 0.5 }")
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


@pytest.mark.parametrize(
    ("type_", "shapes", "body", "tops", "code", "field"),
    [
        ("Crop", [X, (2, 4, 3, 6)], "crop_param { offset: 1 }", 1, "shape-mismatch", "crop_param.offset"),
        ("Crop", [X, X], "crop_param { offset: 1 offset: 1 offset: 1 }", 1, "wrong-count", "crop_param.offset"),
        ("Reshape", [X], "reshape_param { shape { dim: 5 dim: -1 } }", 1, "shape-mismatch", "reshape_param.shape"),
        ("Reshape", [X], "reshape_param { shape { dim: -1 dim: -1 } }", 1, "out-of-range", "reshape_param.shape"),
        (
            "Reshape",
            [(2, 3)],
            "reshape_param { shape { dim: 6 dim: 1 dim: 0 } }",
            1,
            "shape-mismatch",
            "reshape_param.shape",
        ),
        ("Reshape", [X], "reshape_param { axis: 5 }", 1, "out-of-range", "reshape_param.axis"),
        ("Slice", [X], "slice_param { slice_point: 3 slice_point: 3 }", 3, "out-of-range", "slice_param.slice_point"),
        ("Slice", [X], "", 3, "shape-mismatch", "slice_param.slice_point"),
        ("Slice", [X], "slice_param { slice_point: 3 }", 3, "wrong-count", "slice_param.slice_point"),
        ("Tile", [X], "", 1, "out-of-range", "tile_param.tiles"),
        ("ArgMax", [X], "argmax_param { top_k: 7 axis: 3 }", 1, "out-of-range", "argmax_param.top_k"),
        ("BatchReindex", [X, (2, 2)], "", 1, "shape-mismatch", "bottom"),
        ("Embed", [X], "embed_param { num_output: 1 }", 1, "out-of-range", "embed_param.input_dim"),
        ("Filter", [X, (3, 1)], "", 1, "shape-mismatch", "bottom"),
        ("Bias", [X], "bias_param { num_axes: 4 }", 1, "out-of-range", "bias_param.num_axes"),
        ("MVN", [(1, 1, 1, 1, 2)], "", 1, "shape-mismatch", "bottom"),
        ("Flatten", [X], "flatten_param { axis: 3 end_axis: 1 }", 1, "out-of-range", "flatten_param.end_axis"),
    ],
)
def test_what_caffe_refuses_is_refused(type_, shapes, body, tops, code, field):
    with refused(code, field=field):
        _net(type_, shapes, body, [f"y{i}" for i in range(tops)])


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_without_a_row_is_refused(index):
    net = _net("Embed", [(1,)], "embed_param { num_output: 2 input_dim: 3 }")
    with refused("out-of-range", field="index", value=index):
        net(torch.tensor([float(index)]))


def _floats(labels):
    return {blob: np.asarray(value, "f4") for blob, value in labels.items()}


def _net(type_, shapes, body="", tops=("y",)):
    return build_net(build_graph(parse_text(single(type_, shapes, body, tops), pb.NetParameter)), seed=0)
