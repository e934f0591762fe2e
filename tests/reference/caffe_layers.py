"""A slow transcription of layers: BVLC Caffe 1.0 (9b89154) on the CPU, one class per layer type, in plain NumPy.

Facts from src/caffe/layers/*_layer.cpp. Nothing of caffe_compat or torch is used. A layer is made from its
LayerParameter (any object with the schema's fields) and its blobs; ``forward`` takes arrays and remembers what
``backward`` needs; ``backward`` returns one gradient per bottom (None where Caffe has none) and adds to ``diffs``.
"""

import numpy as np

FLT_MAX = float(np.finfo(np.float32).max)
FLT_MIN = float(np.finfo(np.float32).tiny)


class CheckFailed(Exception):
    """One of Caffe's CHECKs: it would abort here."""


def check(fact, what):
    if not fact:
        raise CheckFailed(what)


def canonical(axis, rank):
    check(-rank <= axis < rank, f"axis {axis} of {rank}")
    return axis + rank if axis < 0 else axis


def count(shape):
    product = 1
    for size in shape:
        product *= size
    return product


class Layer:
    def __init__(self, param, phase, blobs=()):
        self.param = param
        self.train = phase == "TRAIN"
        self.blobs = list(blobs)
        self.diffs = [np.zeros_like(blob) for blob in self.blobs]

    def forward(self, bottoms):
        raise NotImplementedError

    def backward(self, top_diffs):
        raise NotImplementedError


class InnerProduct(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.inner_product_param
        axis = canonical(p.axis, x.ndim)
        self.shape = x.shape
        self.rows = x.reshape(count(x.shape[:axis]), count(x.shape[axis:]))
        weight = self.blobs[0] if p.transpose else self.blobs[0].T  # inputs x outputs
        check(self.rows.shape[1] == weight.shape[0], "input size")
        top = np.zeros((self.rows.shape[0], p.num_output), x.dtype)
        for m in range(top.shape[0]):
            for n in range(top.shape[1]):
                top[m, n] = np.sum(self.rows[m] * weight[:, n])
                if p.bias_term:
                    top[m, n] += self.blobs[1][n]
        return [top.reshape(*x.shape[:axis], p.num_output)]

    def backward(self, top_diffs):
        p = self.param.inner_product_param
        diff = top_diffs[0].reshape(self.rows.shape[0], p.num_output)
        weight = self.blobs[0] if p.transpose else self.blobs[0].T
        bottom = np.zeros_like(self.rows)
        for m in range(diff.shape[0]):
            for n in range(diff.shape[1]):
                row = diff[m, n] * self.rows[m]
                if p.transpose:
                    self.diffs[0][:, n] += row
                else:
                    self.diffs[0][n] += row
                if p.bias_term:
                    self.diffs[1][n] += diff[m, n]
                bottom[m] += diff[m, n] * weight[:, n]
        return [bottom.reshape(self.shape)]


class ReLU(Layer):
    def forward(self, bottoms):
        (self.x,) = bottoms
        return [np.maximum(self.x, 0) + self.param.relu_param.negative_slope * np.minimum(self.x, 0)]

    def backward(self, top_diffs):
        return [top_diffs[0] * ((self.x > 0) + self.param.relu_param.negative_slope * (self.x <= 0))]


class Dropout(Layer):
    mask = None
    """Ones and zeros like the bottom: what Caffe draws."""

    def forward(self, bottoms):
        (x,) = bottoms
        self.scale = 1 / (1 - self.param.dropout_param.dropout_ratio)
        return [x * self.mask * self.scale if self.train else x.copy()]

    def backward(self, top_diffs):
        return [top_diffs[0] * self.mask * self.scale if self.train else top_diffs[0].copy()]


class Softmax(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        self.axis = canonical(self.param.softmax_param.axis, x.ndim)
        powers = np.exp(x - x.max(self.axis, keepdims=True))
        self.top = powers / powers.sum(self.axis, keepdims=True)
        return [self.top]

    def backward(self, top_diffs):
        dots = (top_diffs[0] * self.top).sum(self.axis, keepdims=True)
        return [(top_diffs[0] - dots) * self.top]


SUM, PROD, MAX = 1, 0, 2  # EltwiseParameter.EltwiseOp


class Eltwise(Layer):
    def forward(self, bottoms):
        p = self.param.eltwise_param
        check(len(p.coeff) in (0, len(bottoms)), "one coefficient per bottom")
        check(p.operation != PROD or not p.coeff, "coefficients are for sums")
        check(all(x.shape == bottoms[0].shape for x in bottoms), "one shape")
        self.coefficients = list(p.coeff) or [1.0] * len(bottoms)
        self.bottoms = bottoms
        top = np.zeros_like(bottoms[0])
        if p.operation == PROD:
            top = bottoms[0] * bottoms[1]
            for x in bottoms[2:]:
                top = top * x
        elif p.operation == SUM:
            for c, x in zip(self.coefficients, bottoms, strict=True):
                top += c * x
        else:
            self.mask = np.zeros(top.shape, int)
            for at in np.ndindex(top.shape):
                first = 0 if bottoms[0][at] > bottoms[1][at] else 1  # a tie goes to the second
                top[at], self.mask[at] = bottoms[first][at], first
                for i in range(2, len(bottoms)):
                    if bottoms[i][at] > top[at]:
                        top[at], self.mask[at] = bottoms[i][at], i
        return [top]

    def backward(self, top_diffs):
        (diff,) = top_diffs
        operation = self.param.eltwise_param.operation
        gradients = []
        for i in range(len(self.bottoms)):
            if operation == PROD:
                others = np.ones_like(diff)
                for j, x in enumerate(self.bottoms):
                    if j != i:
                        others = others * x
                gradients.append(others * diff)
            elif operation == SUM:
                gradients.append(self.coefficients[i] * diff)
            else:
                gradients.append(np.where(self.mask == i, diff, 0))
        return gradients


class Concat(Layer):
    def forward(self, bottoms):
        p = self.param.concat_param
        check(not (p.HasField("axis") and p.HasField("concat_dim")), "axis or concat_dim")
        rank = bottoms[0].ndim
        self.axis = p.concat_dim if p.HasField("concat_dim") else canonical(p.axis, rank)
        check(self.axis < rank, "concat_dim")
        for x in bottoms:
            check(x.ndim == rank, "one number of axes")
            check(
                all(x.shape[j] == bottoms[0].shape[j] for j in range(rank) if j != self.axis), "equal beside the axis"
            )
        self.lengths = [x.shape[self.axis] for x in bottoms]
        shape = list(bottoms[0].shape)
        shape[self.axis] = sum(self.lengths)
        top = np.zeros(shape, bottoms[0].dtype)
        for part, x in zip(self._parts(rank), bottoms, strict=True):
            top[part] = x
        return [top]

    def backward(self, top_diffs):
        return [top_diffs[0][part].copy() for part in self._parts(top_diffs[0].ndim)]

    def _parts(self, rank):
        start = 0
        for length in self.lengths:
            index = [slice(None)] * rank
            index[self.axis] = slice(start, start + length)
            yield tuple(index)
            start += length


class Split(Layer):
    def forward(self, bottoms):
        return [bottoms[0].copy() for _ in self.param.top]

    def backward(self, top_diffs):
        total = top_diffs[0].copy()
        for diff in top_diffs[1:]:
            total += diff
        return [total]


class Silence(Layer):
    def forward(self, bottoms):
        self.shapes = [x.shape for x in bottoms]
        return []

    def backward(self, top_diffs):
        return [np.zeros(shape) for shape in self.shapes]
