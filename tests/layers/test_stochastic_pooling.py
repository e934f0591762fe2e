"""STOCHASTIC pooling, which Caffe has on the GPU only: drawn in TRAIN, averaged in TEST (facts of pooling_layer.cu)."""

import numpy as np
import pytest
import torch

from tests.layers.agreement import single
from tests.nets import build_net


def pooling(shape, body="kernel_size: 2 stride: 2", phase="TRAIN"):
    return build_net(single("Pooling", [shape], f"pooling_param {{ pool: STOCHASTIC {body} }}"), phase=phase)


def windows(x, kernel, stride):
    """The values of each window, clipped to the map, for every output."""
    size = [-(-(n - kernel) // stride) + 1 for n in x.shape[2:]]
    for n, c, i, j in np.ndindex(*x.shape[:2], *size):
        yield (n, c, i, j), x[n, c, i * stride : i * stride + kernel, j * stride : j * stride + kernel].reshape(-1)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3)])
def test_in_test_it_is_the_mean_weighed_by_the_values(kernel, stride):
    x = np.random.default_rng(0).uniform(0, 1, (2, 3, 7, 8)).astype("f4")
    x[0, 0] = 0
    actual = pooling(x.shape, f"kernel_size: {kernel} stride: {stride}", "TEST")(torch.from_numpy(x)).numpy()
    expected = {
        at: (values**2).sum() / values.sum() if values.sum() > 0 else 0 for at, values in windows(x, kernel, stride)
    }
    assert dict(np.ndenumerate(actual)) == pytest.approx(expected, rel=1e-6)


def test_in_train_it_is_one_of_the_windows_values_drawn_in_proportion():
    x = np.array([1, 2, 3, 4], "f4").reshape(1, 1, 2, 2).repeat(20_000, 1)
    torch.manual_seed(0)
    actual = pooling(x.shape)(torch.from_numpy(x)).flatten().numpy()
    shares = [(actual == value).mean() for value in (1, 2, 3, 4)]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.012)  # about three standard deviations


def test_the_draw_is_torchs_and_comes_again_with_its_seed():
    x = torch.rand(2, 3, 8, 8)
    net = pooling(tuple(x.shape))
    torch.manual_seed(1)
    first, second = net(x), net(x)
    torch.manual_seed(1)
    assert torch.equal(net(x), first)
    assert not torch.equal(first, second)


def test_a_value_of_zero_is_never_drawn_beside_others():
    x = torch.zeros(1, 1, 64, 64)
    x[:, :, ::2, 1::2] = 3.0
    assert pooling(tuple(x.shape))(x).unique().tolist() == [3.0]


def test_a_window_of_zeros_gives_zero_in_both_phases():
    x = torch.zeros(1, 2, 4, 4)
    assert not pooling(tuple(x.shape))(x).any()
    assert not pooling(tuple(x.shape), phase="TEST")(x).any()


def test_the_gradient_goes_to_the_value_drawn():
    x = torch.rand(2, 3, 6, 6, requires_grad=True)
    top = pooling(tuple(x.shape))(x)
    seeds = torch.randn(top.shape)
    top.backward(seeds)
    blocks = x.detach().unfold(2, 2, 2).unfold(3, 2, 2)
    drawn = blocks == top.detach()[..., None, None]
    assert torch.equal(x.grad.unfold(2, 2, 2).unfold(3, 2, 2), drawn * seeds[..., None, None])


def test_a_window_over_the_edge_draws_from_what_is_inside():
    x = torch.rand(1, 2, 5, 5) + 1
    top = pooling(tuple(x.shape))(x)
    assert top.shape == (1, 2, 3, 3)
    assert torch.equal(top[:, :, 2, 2], x[:, :, 4, 4])


def test_global_pooling_takes_the_whole_map():
    x = torch.rand(2, 3, 4, 5)
    assert pooling(tuple(x.shape), "global_pooling: true")(x).shape == (2, 3, 1, 1)
    torch.testing.assert_close(
        pooling(tuple(x.shape), "global_pooling: true", "TEST")(x)[..., 0, 0], x.square().sum((2, 3)) / x.sum((2, 3))
    )
