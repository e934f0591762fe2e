"""Convolution, Pooling and LRN as Caffe computes them, one window at a time (see caffe_layers)."""

import math

import numpy as np

from tests.reference.caffe_layers import FLT_MAX, Layer, canonical, check, count


def per_axis(p, name, pair, axes, default):
    """A field of ConvolutionParameter given once, once per axis, or (for two axes) as its _h and _w."""
    values = list(getattr(p, name))
    if pair and (p.HasField(f"{name_of(name)}_h") or p.HasField(f"{name_of(name)}_w")):
        check(axes == 2, "_h and _w are for two axes")
        check(not values, "one form or the other")
        return [getattr(p, f"{name_of(name)}_h"), getattr(p, f"{name_of(name)}_w")]
    if not values and default is not None:
        return [default] * axes
    check(len(values) in (1, axes), f"{name}: once or once per axis")
    return values * axes if len(values) == 1 else values


def name_of(name):
    return "kernel" if name == "kernel_size" else name


class Convolution(Layer):
    def setup(self, shape):
        p = self.param.convolution_param
        self.axis = canonical(p.axis, len(shape))
        axes = len(shape) - self.axis - 1
        self.kernel = per_axis(p, "kernel_size", True, axes, None)
        self.stride = per_axis(p, "stride", True, axes, 1)
        self.pad = per_axis(p, "pad", True, axes, 0)
        self.dilation = per_axis(p, "dilation", False, axes, 1)
        check(min(self.kernel) > 0, "kernel")
        check(min(self.stride) > 0, "stride")
        check(p.num_output > 0, "num_output")
        check(shape[self.axis] % p.group == 0 and p.num_output % p.group == 0, "group")
        extent = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        room = [n + 2 * q - e for n, q, e in zip(shape[self.axis + 1 :], self.pad, extent, strict=True)]
        self.output = [int(r / s) + 1 for r, s in zip(room, self.stride, strict=True)]  # C++ rounds towards zero
        check(min(self.output) > 0, "size")
        self.behind = [max(0, -r) for r in room]

    def windows(self):
        """Yield for every output position where its window lies in the padded map."""
        for at in np.ndindex(*self.output):
            yield (
                at,
                tuple(
                    slice(i * s, i * s + d * (k - 1) + 1, d)
                    for i, s, d, k in zip(at, self.stride, self.dilation, self.kernel, strict=True)
                ),
            )

    def padded(self, x):
        flat = x.reshape(count(x.shape[: self.axis]), *x.shape[self.axis :])
        return np.pad(flat, [(0, 0), (0, 0), *((q, q + b) for q, b in zip(self.pad, self.behind, strict=True))])

    def groups(self):
        """Yield the channels and the outputs of each group."""
        p = self.param.convolution_param
        inputs, outputs = self.blobs[0].shape[1], p.num_output // p.group
        for g in range(p.group):
            yield slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)

    def forward(self, bottoms):
        self.bottoms = bottoms
        self.setup(bottoms[0].shape)
        p = self.param.convolution_param
        tops = []
        for x in bottoms:
            check(x.shape == bottoms[0].shape, "one shape")
            padded = self.padded(x)
            top = np.zeros((len(padded), p.num_output, *self.output), x.dtype)
            for channels, outputs in self.groups():
                weight = self.blobs[0][outputs].reshape(outputs.stop - outputs.start, -1)
                for at, window in self.windows():
                    patch = padded[(slice(None), channels, *window)].reshape(len(padded), -1)
                    top[(slice(None), outputs, *at)] = patch @ weight.T
            if p.bias_term:
                top += self.blobs[1].reshape(-1, *[1] * len(self.output))
            tops.append(top.reshape(*x.shape[: self.axis], *top.shape[1:]))
        return tops

    def backward(self, top_diffs):
        p = self.param.convolution_param
        gradients = []
        for x, diff in zip(self.bottoms, top_diffs, strict=True):
            padded = self.padded(x)
            diff = diff.reshape(len(padded), p.num_output, *self.output)
            bottom = np.zeros_like(padded)
            for channels, outputs in self.groups():
                weight = self.blobs[0][outputs].reshape(outputs.stop - outputs.start, -1)
                for at, window in self.windows():
                    where = (slice(None), channels, *window)
                    patch = padded[where].reshape(len(padded), -1)
                    step = diff[(slice(None), outputs, *at)]
                    self.diffs[0][outputs] += (step.T @ patch).reshape(self.blobs[0][outputs].shape)
                    bottom[where] += (step @ weight).reshape(bottom[where].shape)
            if p.bias_term:
                self.diffs[1] += diff.sum(axis=(0, *range(2, diff.ndim)))
            inner = tuple(slice(q, q + n) for q, n in zip(self.pad, x.shape[self.axis + 1 :], strict=True))
            gradients.append(bottom[(slice(None), slice(None), *inner)].reshape(x.shape))
        return gradients


AVERAGE = 1  # PoolingParameter.PoolMethod; MAX is 0
CEIL = 0  # PoolingParameter.RoundMode


class Pooling(Layer):
    """A window that lies wholly behind the map keeps -FLT_MAX and mask -1; what Caffe then does with its gradient
    is a write outside the array: here it is dropped."""

    def setup(self, shape):
        p = self.param.pooling_param
        if p.global_pooling:
            check(not (p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w")), "no kernel")
        else:
            both = p.HasField("kernel_h") and p.HasField("kernel_w")
            check(p.HasField("kernel_size") != both, "kernel_size or kernel_h and kernel_w")
        for name in ("pad", "stride"):
            fields = [p.HasField(name), p.HasField(f"{name}_h"), p.HasField(f"{name}_w")]
            check(fields in ([False, True, True], [True, False, False], [False, False, False]), name)
        check(len(shape) == 4, "4 axes")
        self.size = shape[2:]
        if p.global_pooling:
            self.kernel = self.size
        else:
            self.kernel = (p.kernel_size,) * 2 if p.HasField("kernel_size") else (p.kernel_h, p.kernel_w)
        check(min(self.kernel) > 0, "kernel")
        self.pad = (p.pad_h, p.pad_w) if p.HasField("pad_h") else (p.pad, p.pad)
        self.stride = (p.stride_h, p.stride_w) if p.HasField("stride_h") else (p.stride, p.stride)
        if p.global_pooling:
            check(self.pad == (0, 0) and self.stride == (1, 1), "global: pad 0, stride 1")
        padding = self.pad != (0, 0)
        if padding:
            check(self.pad[0] < self.kernel[0] and self.pad[1] < self.kernel[1], "pad < kernel")
        rounded = math.ceil if p.round_mode == CEIL else math.floor
        self.output = []
        for n, k, q, s in zip(self.size, self.kernel, self.pad, self.stride, strict=True):
            length = rounded((n + 2 * q - k) / s) + 1
            if padding and (length - 1) * s >= n + q:
                length -= 1
            if padding:
                check((length - 1) * s < n + q, "the last window starts in the map")
            check(length >= 0, "Blob::Reshape")
            self.output.append(length)

    def window(self, i, axis, reach):
        start = i * self.stride[axis] - self.pad[axis]
        return start, min(start + self.kernel[axis], self.size[axis] + reach)

    def forward(self, bottoms):
        (x,) = bottoms
        self.setup(x.shape)
        self.x = x
        if self.param.pooling_param.pool == AVERAGE:
            return [self.average(x)]
        top = np.full((*x.shape[:2], *self.output), -FLT_MAX, x.dtype)
        self.mask = np.full(top.shape, -1, int)
        for at in np.ndindex(*self.output):
            (top_row, bottom_row), (left, right) = (self.window(i, axis, 0) for axis, i in enumerate(at))
            best, index = top[(..., *at)], self.mask[(..., *at)]
            for h in range(max(top_row, 0), bottom_row):
                for w in range(max(left, 0), right):
                    better = x[..., h, w] > best
                    best[better] = x[..., h, w][better]
                    index[better] = h * x.shape[3] + w
            top[(..., *at)], self.mask[(..., *at)] = best, index
        return [top, self.mask.astype(x.dtype)][: len(self.param.top)]

    def spans(self):
        """Yield for every position the part of the map in its window, and the size that Caffe divides by."""
        for at in np.ndindex(*self.output):
            (h, high), (w, wide) = (self.window(i, axis, self.pad[axis]) for axis, i in enumerate(at))
            size = (high - h) * (wide - w)
            part = (
                ...,
                slice(max(h, 0), max(min(high, self.size[0]), 0)),
                slice(max(w, 0), max(min(wide, self.size[1]), 0)),
            )
            yield at, part, size

    def average(self, x):
        top = np.zeros((*x.shape[:2], *self.output), x.dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            for at, part, size in self.spans():
                top[(..., *at)] = x[part].sum(axis=(2, 3)) / np.array(size, x.dtype)
        return top

    def backward(self, top_diffs):
        diff, bottom = top_diffs[0], np.zeros_like(self.x)
        if self.param.pooling_param.pool == AVERAGE:
            for at, part, size in self.spans():
                if bottom[part].size:
                    bottom[part] += diff[(..., *at)][..., None, None] / size
            return [bottom]
        for n, c, i, j in np.ndindex(diff.shape):
            index = self.mask[n, c, i, j]
            if index >= 0:
                bottom[n, c].flat[index] += diff[n, c, i, j]
        return [bottom]


ACROSS_CHANNELS = 0  # LRNParameter.NormRegion


class LRN(Layer):
    def forward(self, bottoms):
        (self.x,) = bottoms
        p = self.param.lrn_param
        check(p.local_size % 2 == 1, "odd")
        check(self.x.ndim == 4, "4 axes")
        self.half = (p.local_size - 1) // 2
        self.scale = np.zeros_like(self.x)
        if p.norm_region == ACROSS_CHANNELS:
            for c in range(self.x.shape[1]):
                near = self.x[:, max(c - self.half, 0) : c + self.half + 1]
                self.scale[:, c] = p.k + p.alpha / p.local_size * (near**2).sum(axis=1)
        else:
            for h, w in np.ndindex(*self.x.shape[2:]):
                self.scale[..., h, w] = 1 + p.alpha / p.local_size**2 * (self.near(self.x, h, w) ** 2).sum(axis=(2, 3))
        return [self.x * self.scale**-p.beta]

    def near(self, values, h, w):
        rows = slice(max(h - self.half, 0), h + self.half + 1)
        return values[..., rows, max(w - self.half, 0) : w + self.half + 1]

    def backward(self, top_diffs):
        p, (diff,) = self.param.lrn_param, top_diffs
        ratio = diff * self.x * self.scale ** (-p.beta - 1)  # of every output, to its scale
        spread = np.zeros_like(ratio)
        if p.norm_region == ACROSS_CHANNELS:
            size = p.local_size
            for c in range(self.x.shape[1]):
                spread[:, c] = ratio[:, max(c - self.half, 0) : c + self.half + 1].sum(axis=1)
        else:
            size = p.local_size**2
            for h, w in np.ndindex(*self.x.shape[2:]):
                spread[..., h, w] = self.near(ratio, h, w).sum(axis=(2, 3))
        return [diff * self.scale**-p.beta - 2 * p.alpha * p.beta / size * self.x * spread]
