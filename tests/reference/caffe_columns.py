"""Im2col, Deconvolution and SPP as Caffe computes them, one position at a time (see caffe_layers)."""

import math
from types import SimpleNamespace

import numpy as np

from tests.reference.caffe_layers import Layer, canonical, check, count
from tests.reference.caffe_windows import Pooling, per_axis


class Windows:
    """Where a kernel goes on a map: for each kernel position and each step, the place it sees (None in the padding)."""

    def __init__(self, p, shape):
        self.axis = canonical(p.axis, len(shape))
        axes = len(shape) - self.axis - 1
        self.kernel = per_axis(p, "kernel_size", True, axes, None)
        self.stride = per_axis(p, "stride", True, axes, 1)
        self.pad = per_axis(p, "pad", True, axes, 0)
        self.dilation = per_axis(p, "dilation", False, axes, 1)

    def place(self, position, step, size):
        indices = []
        for k, t, s, q, d, n in zip(position, step, self.stride, self.pad, self.dilation, size, strict=True):
            i = t * s - q + k * d
            if not 0 <= i < n:
                return None
            indices.append(i)
        return tuple(indices)


class Im2col(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        w = self.w = Windows(self.param.convolution_param, x.shape)
        self.shape, self.size = x.shape, x.shape[w.axis + 1 :]
        rows = x.reshape(count(x.shape[: w.axis]), *x.shape[w.axis :])
        self.steps = [
            int((n + 2 * q - d * (k - 1) - 1) / s) + 1  # C++ rounds towards zero
            for n, k, s, q, d in zip(self.size, w.kernel, w.stride, w.pad, w.dilation, strict=True)
        ]
        check(min(self.steps) > 0, "size")
        top = np.zeros((rows.shape[0], rows.shape[1], *w.kernel, *self.steps))
        for position, step, place in self.places():
            if place:
                top[(slice(None), slice(None), *position, *step)] = rows[(slice(None), slice(None), *place)]
        return [top.reshape(*x.shape[: w.axis], rows.shape[1] * count(w.kernel), *self.steps)]

    def places(self):
        for position in np.ndindex(*self.w.kernel):
            for step in np.ndindex(*self.steps):
                yield position, step, self.w.place(position, step, self.size)

    def backward(self, top_diffs):
        axis, channels = self.w.axis, self.shape[self.w.axis]
        gradients = np.zeros((count(self.shape[:axis]), *self.shape[axis:]))
        diff = top_diffs[0].reshape(gradients.shape[0], channels, *self.w.kernel, *self.steps)
        for position, step, place in self.places():
            if place:
                gradients[(slice(None), slice(None), *place)] += diff[(slice(None), slice(None), *position, *step)]
        return [gradients.reshape(self.shape)]


class Deconvolution(Layer):
    def forward(self, bottoms):
        p = self.param.convolution_param
        self.bottoms = bottoms
        w = self.w = Windows(p, bottoms[0].shape)
        self.size = [
            s * (n - 1) + d * (k - 1) + 1 - 2 * q
            for n, k, s, q, d in zip(bottoms[0].shape[w.axis + 1 :], w.kernel, w.stride, w.pad, w.dilation, strict=True)
        ]
        tops = []
        for x in bottoms:
            rows = self.rows(x)
            top = np.zeros((rows.shape[0], p.num_output, *self.size))
            for cin, cout, position, step, place in self.places(rows):
                top[(slice(None), cout, *place)] += rows[(slice(None), cin, *step)] * self.weight(cin, cout, position)
            if p.bias_term:
                top += self.blobs[1].reshape(-1, *[1] * len(self.size))
            tops.append(top.reshape(*x.shape[: w.axis], p.num_output, *self.size))
        return tops

    def rows(self, x):
        return x.reshape(count(x.shape[: self.w.axis]), *x.shape[self.w.axis :])

    def weight(self, cin, cout, position):
        return self.blobs[0][(cin, cout % self.blobs[0].shape[1], *position)]

    def places(self, rows):
        p = self.param.convolution_param
        inputs, outputs = rows.shape[1] // p.group, p.num_output // p.group
        for cin in range(rows.shape[1]):
            for cout in range(cin // inputs * outputs, (cin // inputs + 1) * outputs):
                for position in np.ndindex(*self.w.kernel):
                    for step in np.ndindex(*rows.shape[2:]):
                        place = self.w.place(position, step, self.size)
                        if place:
                            yield cin, cout, position, step, place

    def backward(self, top_diffs):
        gradients = []
        for x, diff in zip(self.bottoms, top_diffs, strict=True):
            rows, top = self.rows(x), self.rows(diff)
            bottom = np.zeros_like(rows)
            for cin, cout, position, step, place in self.places(rows):
                d = top[(slice(None), cout, *place)]
                bottom[(slice(None), cin, *step)] += d * self.weight(cin, cout, position)
                at = (cin, cout % self.blobs[0].shape[1], *position)
                self.diffs[0][at] += np.sum(d * rows[(slice(None), cin, *step)])
            if self.param.convolution_param.bias_term:
                self.diffs[1] += top.sum(axis=(0, *range(2, top.ndim)))
            gradients.append(bottom.reshape(x.shape))
        return gradients


class SPP(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.spp_param
        check(x.ndim == 4, "axes")
        self.pools, self.tops = [], []
        for level in range(p.pyramid_height):
            bins = 2**level
            kernel = [math.ceil(n / bins) for n in x.shape[2:]]
            pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:], strict=True)]
            fields = {"kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": kernel[0], "stride_w": kernel[1]}
            fields |= {"pad_h": pad[0], "pad_w": pad[1], "pool": p.pool}
            self.pools.append(Pooling(_pooling(fields), "TEST"))
            self.tops.append(self.pools[-1].forward([x])[0])
        if p.pyramid_height == 1:
            return [self.tops[0]]
        return [np.concatenate([top.reshape(len(x), -1) for top in self.tops], 1)]

    def backward(self, top_diffs):
        gradients, start = 0, 0
        for pool, top in zip(self.pools, self.tops, strict=True):
            width = top[0].size
            diff = top_diffs[0].reshape(len(top), -1)[:, start : start + width]
            gradients = gradients + pool.backward([diff.reshape(top.shape)])[0]
            start += width
        return [gradients]


def _pooling(given):
    """A stand-in for a LayerParameter with the pooling fields given."""
    fields = {"global_pooling": False, "round_mode": 0, "kernel_size": 0, "stride": 1, "pad": 0} | given
    message = SimpleNamespace(**fields, HasField=lambda name: name in given)
    return SimpleNamespace(pooling_param=message, top=["y"])
