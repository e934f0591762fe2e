"""The seven fillers: their distributions, and bilinear's exact numbers."""

import math

import pytest
import torch

from caffe_compat.layers.fillers import FILLERS, fill
from caffe_compat.schema import caffe_pb2 as pb
from tests.nets import build_net
from tests.refusals import refused

SHAPE = (50, 40, 5, 5)


def _fill(shape: tuple[int, ...] = SHAPE, **fields: object) -> torch.Tensor:
    return fill(torch.full(shape, float("nan")), pb.FillerParameter(**fields), torch.Generator().manual_seed(0))


def test_the_fillers_are_caffes_seven() -> None:
    assert set(FILLERS) == {"constant", "uniform", "gaussian", "xavier", "msra", "positive_unitball", "bilinear"}


def test_constant_is_its_value() -> None:
    assert _fill((3,), type="constant", value=2.5).tolist() == [2.5] * 3


def test_uniform_values_are_between_min_and_max() -> None:
    values = _fill(type="uniform", min=-1, max=3)
    assert -1 <= values.min() < -0.99
    assert 2.99 < values.max() <= 3
    assert values.mean().item() == pytest.approx(1, abs=0.02)


def test_gaussian_has_its_mean_and_deviation() -> None:
    values = _fill(type="gaussian", mean=1, std=0.5)
    assert values.mean().item() == pytest.approx(1, abs=0.01)
    assert values.std().item() == pytest.approx(0.5, abs=0.01)


def test_a_sparse_gaussian_keeps_sparse_over_outputs_of_its_values() -> None:
    values = _fill(type="gaussian", std=1, sparse=10)
    assert (values != 0).float().mean().item() == pytest.approx(10 / 50, abs=0.01)


@pytest.mark.parametrize(
    ("norm", "n"), [("FAN_IN", 40 * 25), ("FAN_OUT", 50 * 25), ("AVERAGE", (40 * 25 + 50 * 25) / 2)]
)
def test_xavier_and_msra_scale_with_the_fan(norm: str, n: float) -> None:
    scale = math.sqrt(3 / n)
    values = _fill(type="xavier", variance_norm=norm)
    assert 0.99 * scale < values.abs().max() <= scale
    assert _fill(type="msra", variance_norm=norm).std().item() == pytest.approx(math.sqrt(2 / n), rel=0.02)


def test_a_vector_has_the_fan_in_of_one_and_the_fan_out_of_its_count() -> None:
    assert _fill((9,), type="xavier").abs().max() <= math.sqrt(3)
    assert _fill((300,), type="xavier", variance_norm="FAN_OUT").abs().max() <= math.sqrt(3 / 300)


def test_positive_unitball_rows_sum_to_one() -> None:
    values = _fill(type="positive_unitball")
    assert values.min() >= 0
    torch.testing.assert_close(values.view(50, -1).sum(1), torch.ones(50))


def test_bilinear_is_the_interpolation_kernel() -> None:
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    expected = (line[:, None] * line).expand(2, 3, 4, 4)
    torch.testing.assert_close(_fill((2, 3, 4, 4), type="bilinear"), expected)
    odd = torch.tensor([1 / 2, 1.0, 1 / 2])
    torch.testing.assert_close(_fill((1, 1, 3, 3), type="bilinear")[0, 0], odd[:, None] * odd)


@pytest.mark.parametrize(
    ("shape", "fields", "code", "field"),
    [
        (SHAPE, {"type": "xaver"}, "name-unknown", "filler.type"),
        (SHAPE, {"type": "constant", "sparse": 3}, "conflict", "filler.sparse"),
        (SHAPE, {"type": "uniform", "min": 2, "max": 1}, "out-of-range", "filler.min"),
        (SHAPE, {"type": "gaussian", "std": -1}, "out-of-range", "filler.std"),
        ((2, 3), {"type": "bilinear"}, "shape-mismatch", "filler.type"),
        ((), {"type": "xavier"}, "shape-mismatch", "filler.type"),  # a scalar has no inputs to count
        ((), {"type": "msra", "variance_norm": "AVERAGE"}, "shape-mismatch", "filler.type"),
        ((), {"type": "gaussian", "sparse": 1}, "shape-mismatch", "filler.type"),
    ],
)
def test_a_filler_that_does_not_fit_is_refused(shape, fields, code, field) -> None:
    with refused(code, field=field):
        _fill(shape, **fields)


def test_a_scalar_blob_can_be_a_unit_ball() -> None:
    assert _fill((), type="positive_unitball").item() == 1


@pytest.mark.parametrize(
    "layer",
    [
        'type: "PReLU" prelu_param { channel_shared: true filler { type: "xavier" } }',
        'type: "Bias" bias_param { num_axes: 0 filler { type: "msra" } }',
        'type: "Scale" scale_param { num_axes: 0 filler { type: "msra" } }',
    ],
)
def test_the_layer_with_a_scalar_blob_that_cannot_be_filled_is_named(layer: str) -> None:
    text = f'input: "x" input_shape {{ dim: 2 dim: 3 }}\nlayer {{ name: "shared" bottom: "x" top: "y" {layer} }}'
    with refused("shape-mismatch", file="net.prototxt", line=2, layer="shared"):
        build_net(text)


@pytest.mark.parametrize("name", FILLERS)
def test_a_blob_without_values_is_left_alone(name: str) -> None:
    shape = (0, 3, 2, 2) if name == "bilinear" else (0, 3)
    assert fill(torch.empty(shape), pb.FillerParameter(type=name)).shape == shape
    assert fill(torch.empty(3, 0, 2, 2), pb.FillerParameter(type=name)).numel() == 0
