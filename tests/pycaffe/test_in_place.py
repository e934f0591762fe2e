"""Layers whose memory is overwritten, compared with Caffe's loops (9b89154, CPU, without MKL) on arrays that alias as its blobs do."""

from functools import partial

import numpy as np
import pytest

from tests.pycaffe.test_like_caffe import FORCE, layer, source


class Blob:
    def __init__(self, values):
        self.data, self.diff = values.copy(), np.zeros_like(values)


def windows(x, axes, size):
    """Sums over `size` values around each along the axes, zeros beyond the ends."""
    for axis in axes:
        padded = np.pad(x, [(size // 2,) * 2 if a == axis else (0, 0) for a in range(x.ndim)])
        x = sum(padded.take(range(i, i + x.shape[axis]), axis) for i in range(size))
    return x


def mvn(bottoms, top, across=False):
    (bottom,) = bottoms
    rows = (len(top.data), -1) if across else (len(top.data) * top.data.shape[1], -1)
    x, y = bottom.data.reshape(rows), top.data.reshape(rows)
    np.add(x, -x.mean(1, keepdims=True), out=y)
    deviation = np.sqrt((y**2).mean(1, keepdims=True)) + 1e-9
    y /= deviation

    def backward():
        above, below = top.diff.reshape(rows), bottom.diff.reshape(rows)
        np.multiply(y, above, out=below)
        below[...] = below.sum(1, keepdims=True)
        np.multiply(y, below, out=below)
        below += above.sum(1, keepdims=True)
        below *= -1 / x.shape[1]  # caffe_cpu_axpby is a scal, then an axpy
        below += above
        below /= deviation

    return backward


def mvn_of_means(bottoms, top):
    (bottom,) = bottoms
    np.add(bottom.data, -bottom.data.mean((2, 3), keepdims=True), out=top.data)

    def backward():
        np.add(top.diff, -top.diff.mean((2, 3), keepdims=True), out=bottom.diff)

    return backward


def lrn_across(bottoms, top, size=3, alpha=2.0, beta=0.75, k=1.5):
    (bottom,) = bottoms
    scale = k + alpha / size * windows(bottom.data**2, [1], size)
    np.power(scale, -beta, out=top.data)
    np.multiply(top.data, bottom.data, out=top.data)

    def backward():
        np.power(scale, -beta, out=bottom.diff)
        np.multiply(top.diff, bottom.diff, out=bottom.diff)
        ratio = windows(top.diff * top.data / scale, [1], size)
        bottom.diff -= 2 * alpha * beta / size * bottom.data * ratio

    return backward


def lrn_within(bottoms, top, size=3, alpha=2.0, beta=0.75):
    (bottom,) = bottoms  # the inner Split's tops share its values
    pooled = windows(bottom.data**2, [2, 3], size) / size**2
    power = (1 + alpha * pooled) ** -beta
    np.multiply(bottom.data, power, out=top.data)

    def backward():
        product_diff, power_diff = power * top.diff, bottom.data * top.diff
        pooled_diff = -beta * alpha * power / (1 + alpha * pooled) * power_diff
        bottom.diff[...] = product_diff + 2 * bottom.data * windows(pooled_diff, [2, 3], size) / size**2

    return backward


def swish(bottoms, top, beta=1.5):
    (bottom,) = bottoms
    sigmoid = 1 / (1 + np.exp(-beta * bottom.data))
    np.multiply(bottom.data, sigmoid, out=top.data)

    def backward():
        bottom.diff[...] = top.diff * (beta * top.data + sigmoid * (1 - beta * top.data))

    return backward


def product(bottoms, top, stable=True):
    np.multiply(bottoms[0].data, bottoms[1].data, out=top.data)
    for bottom in bottoms[2:]:
        top.data *= bottom.data

    def backward():
        for bottom in bottoms:
            if stable:
                bottom.diff[...] = np.prod([other.data for other in bottoms if other is not bottom], axis=0)
            else:
                np.divide(top.data, bottom.data, out=bottom.diff)
            np.multiply(bottom.diff, top.diff, out=bottom.diff)

    return backward


@pytest.mark.parametrize("overwritten", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("kind", "parameters", "count", "forward"),
    [
        ("MVN", "", 1, mvn),
        ("MVN", "mvn_param { across_channels: true }", 1, partial(mvn, across=True)),
        ("MVN", "mvn_param { normalize_variance: false }", 1, mvn_of_means),
        ("LRN", "lrn_param { local_size: 3 alpha: 2 k: 1.5 }", 1, lrn_across),
        ("LRN", "lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL }", 1, lrn_within),
        ("Swish", "swish_param { beta: 1.5 }", 1, swish),
        ("Eltwise", "eltwise_param { operation: PROD }", 2, product),
        ("Eltwise", "eltwise_param { operation: PROD }", 3, product),
        ("Eltwise", "eltwise_param { operation: PROD stable_prod_grad: false }", 3, partial(product, stable=False)),
    ],
)
def test_passes_read_what_the_memory_holds(make, kind, parameters, count, forward, in_place, overwritten):
    shape, names = (2, 4, 3, 3), "xyz"[:count]
    *values, content, gradient = np.random.default_rng(0).uniform(0.5, 1.5, (count + 2, *shape))
    bottoms = [Blob(value) for value in values]
    top = bottoms[0] if in_place else Blob(content)
    text = FORCE + source(*[shape] * count) + layer(kind, names, "x" if in_place else "t", parameters)
    net = make(text)
    for name, value in zip(names, values, strict=True):
        net.blobs[name].data[...] = value
    net.forward()
    backward = forward(bottoms, top)
    result = net.blobs["x" if in_place else "t"]
    np.testing.assert_allclose(result.data, top.data, rtol=2e-6, atol=1e-6)
    if overwritten:
        result.data[...] = top.data[...] = content
    for _ in range(2):
        result.diff[...] = top.diff[...] = gradient
        net.backward()
        backward()
        for name, bottom in zip(names, bottoms, strict=True):
            np.testing.assert_allclose(net.blobs[name].diff, bottom.diff, rtol=0, atol=2e-5 * np.abs(bottom.diff).max())
