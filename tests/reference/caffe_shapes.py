"""The layers that move, choose and add up values, as Caffe computes them (see caffe_layers)."""

import itertools
import math

import numpy as np

from tests.reference.caffe_layers import Layer, canonical, check, count


class Mover(Layer):
    """A layer whose tops are some of its bottoms' values: `source` gives, for each top, bottom number and flat index.

    Its gradient adds every top's difference to where the value came from.
    """

    def forward(self, bottoms):
        self.shapes = [x.shape for x in bottoms]
        self.sources = self.source(bottoms)
        return [
            np.array(
                [bottoms[b].reshape(-1)[i] for b, i in zip(which.reshape(-1), flat.reshape(-1), strict=True)]
            ).reshape(flat.shape)
            for which, flat in self.sources
        ]

    def backward(self, top_diffs):
        gradients = [np.zeros(shape) for shape in self.shapes]
        for (which, flat), diff in zip(self.sources, top_diffs, strict=True):
            for b, i, d in zip(which.reshape(-1), flat.reshape(-1), diff.reshape(-1), strict=True):
                gradients[b].reshape(-1)[i] += d
        return gradients

    @staticmethod
    def of(flat, bottom=0):
        flat = np.asarray(flat)
        return np.full(flat.shape, bottom), flat


def numbers(x):
    return np.arange(x.size).reshape(x.shape)


class Crop(Mover):
    def source(self, bottoms):
        x, like = bottoms
        p = self.param.crop_param
        axis = canonical(p.axis, x.ndim)
        check(len(p.offset) <= 1 or axis + len(p.offset) == x.ndim, "offsets")
        flat = numbers(x)
        for i in range(axis, x.ndim):
            offset = 0 if not p.offset else p.offset[0 if len(p.offset) == 1 else i - axis]
            check(x.shape[i] - offset >= like.shape[i], "within")
            flat = np.take(flat, range(offset, offset + like.shape[i]), i)
        return [self.of(flat)]


class Flatten(Mover):
    def source(self, bottoms):
        (x,) = bottoms
        p = self.param.flatten_param
        start, end = canonical(p.axis, x.ndim), canonical(p.end_axis, x.ndim)
        check(start <= end + 1, "order")
        shape = [*x.shape[:start], count(x.shape[start : end + 1]), *x.shape[end + 1 :]]
        return [self.of(numbers(x).reshape(shape))]


class Reshape(Mover):
    def source(self, bottoms):
        (x,) = bottoms
        p = self.param.reshape_param
        start = p.axis if p.axis >= 0 else x.ndim + p.axis + 1
        end = x.ndim if p.num_axes == -1 else start + p.num_axes
        check(0 <= start <= end <= x.ndim, "axes")
        shape = [*x.shape[:start], *p.shape.dim, *x.shape[end:]]
        for i, dim in enumerate(p.shape.dim):
            if dim == 0:
                check(start + i < x.ndim, "copied axis")
                shape[start + i] = x.shape[start + i]
        if -1 in shape:
            check(shape.count(-1) == 1, "one inferred")
            rest = -count(shape)
            check(x.size % rest == 0, "divides")
            shape[shape.index(-1)] = x.size // rest
        check(count(shape) == x.size, "count")
        return [self.of(numbers(x).reshape(shape))]


class Slice(Mover):
    def source(self, bottoms):
        (x,) = bottoms
        p = self.param.slice_param
        check(not (p.HasField("axis") and p.HasField("slice_dim")), "axis or slice_dim")
        axis = p.slice_dim if p.HasField("slice_dim") else canonical(p.axis, x.ndim)
        tops, length = len(self.param.top), x.shape[axis]
        if p.slice_point:
            check(len(p.slice_point) == tops - 1 and tops <= length, "points")
            points = [0, *p.slice_point, length]
        else:
            check(length % tops == 0, "equal parts")
            points = range(0, length + 1, length // tops)
        check(all(a < b for a, b in itertools.pairwise(points)), "rising")
        return [self.of(np.take(numbers(x), range(a, b), axis)) for a, b in itertools.pairwise(points)]


class Tile(Mover):
    def source(self, bottoms):
        (x,) = bottoms
        p = self.param.tile_param
        check(p.tiles > 0, "tiles")
        axis = canonical(p.axis, x.ndim)
        blocks = numbers(x).reshape(count(x.shape[:axis]), count(x.shape[axis:]))
        rows = [np.concatenate([block] * p.tiles) for block in blocks]
        return [self.of(np.array(rows).reshape(*x.shape[:axis], x.shape[axis] * p.tiles, *x.shape[axis + 1 :]))]


class BatchReindex(Mover):
    def source(self, bottoms):
        x, index = bottoms
        check(index.ndim == 1 and all(0 <= i < x.shape[0] for i in index), "index")
        return [self.of(np.array([numbers(x)[int(i)] for i in index]))]


class Filter(Mover):
    def source(self, bottoms):
        *blobs, selector = bottoms
        check(len(self.param.top) == len(blobs), "tops")
        selected = [n for n, value in enumerate(selector.reshape(-1)) if value]
        return [self.of(numbers(x)[selected], b) for b, x in enumerate(blobs)]


class ArgMax(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.argmax_param
        if p.HasField("axis"):
            axis = canonical(p.axis, x.ndim)
            top = np.zeros((*x.shape[:axis], p.top_k, *x.shape[axis + 1 :]))
            for at in np.ndindex(*x.shape[:axis], *x.shape[axis + 1 :]):
                row = (*at[:axis], slice(None), *at[axis:])
                top[row] = [pair[0 if p.out_max_val else 1] for pair in self.best(x[row])]
            return [top]
        top = np.zeros((x.shape[0], 2 if p.out_max_val else 1, p.top_k))
        for n in range(x.shape[0]):
            best = self.best(x[n].reshape(-1))
            top[n, 0] = [index for _, index in best]
            if p.out_max_val:
                top[n, 1] = [value for value, _ in best]
        return [top.reshape(*top.shape, *[1] * (x.ndim - 3))]

    def best(self, row):
        check(1 <= self.param.argmax_param.top_k <= len(row), "top_k")
        return sorted(((v, j) for j, v in enumerate(row)), reverse=True)[: self.param.argmax_param.top_k]

    def backward(self, top_diffs):
        return [None]


class Embed(Layer):
    def forward(self, bottoms):
        (self.x,) = bottoms
        p = self.param.embed_param
        top = np.zeros((*self.x.shape, p.num_output))
        for at in np.ndindex(self.x.shape):
            check(0 <= self.x[at] < p.input_dim, "index")
            top[at] = self.blobs[0][int(self.x[at])] + (self.blobs[1] if p.bias_term else 0)
        return [top]

    def backward(self, top_diffs):
        for at in np.ndindex(self.x.shape):
            self.diffs[0][int(self.x[at])] += top_diffs[0][at]
            if self.param.embed_param.bias_term:
                self.diffs[1] += top_diffs[0][at]
        return [None]


class Bias(Layer):
    def forward(self, bottoms):
        x = bottoms[0]
        bias = bottoms[1] if len(bottoms) > 1 else self.blobs[0]
        self.two_bottoms, self.shape = len(bottoms) > 1, bias.shape
        self.axis = 0 if bias.ndim == 0 else canonical(self.param.bias_param.axis, x.ndim)
        check(x.shape[self.axis : self.axis + bias.ndim] == bias.shape, "shape")
        top = np.zeros_like(x)
        for at in np.ndindex(x.shape):
            top[at] = x[at] + bias[at[self.axis : self.axis + bias.ndim]]
        return [top]

    def backward(self, top_diffs):
        diff = np.zeros(self.shape)
        for at in np.ndindex(top_diffs[0].shape):
            diff[at[self.axis : self.axis + diff.ndim]] += top_diffs[0][at]
        if self.two_bottoms:
            return [top_diffs[0].copy(), diff]
        self.diffs[0] += diff
        return [top_diffs[0].copy()]


class MVN(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.mvn_param
        self.shape = x.shape
        four = (*x.shape, *[1] * (4 - x.ndim))
        rows = x.reshape(four[0] if p.across_channels else four[0] * four[1], -1)
        self.y = np.array([row - sum(row) / len(row) for row in rows])
        if p.normalize_variance:
            self.scale = [math.sqrt(sum(v * v for v in row) / len(row)) + p.eps for row in self.y]
            self.y = np.array([row / s for row, s in zip(self.y, self.scale, strict=True)])
        return [self.y.reshape(four)]

    def backward(self, top_diffs):
        gradients = []
        for r, (y, dy) in enumerate(zip(self.y, top_diffs[0].reshape(self.y.shape), strict=True)):
            if self.param.mvn_param.normalize_variance:
                gradients.append((dy - (y * sum(y * dy) + sum(dy)) / len(y)) / self.scale[r])
            else:
                gradients.append(dy - sum(dy) / len(dy))
        return [np.array(gradients).reshape(self.shape)]


class Parameter(Layer):
    def forward(self, bottoms):
        return [self.blobs[0].copy()]

    def backward(self, top_diffs):
        self.diffs[0] += top_diffs[0]
        return []


SUM, ASUM, SUMSQ, MEAN = 1, 2, 3, 4  # ReductionParameter.ReductionOp


class Reduction(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.reduction_param
        axis = canonical(p.axis, x.ndim)
        self.shape, self.rows = x.shape, x.reshape(count(x.shape[:axis]), count(x.shape[axis:]))
        self.coeff = p.coeff / self.rows.shape[1] if p.operation == MEAN else p.coeff
        value = {SUM: float, MEAN: float, ASUM: abs, SUMSQ: lambda v: v * v}[p.operation]
        top = [self.coeff * sum(value(v) for v in row) for row in self.rows]
        return [np.array(top).reshape(x.shape[:axis])]

    def backward(self, top_diffs):
        slope = {SUM: np.ones_like, MEAN: np.ones_like, ASUM: np.sign, SUMSQ: lambda r: 2 * r}
        operation = self.param.reduction_param.operation
        diffs = top_diffs[0].reshape(-1)
        gradients = [self.coeff * d * slope[operation](row) for d, row in zip(diffs, self.rows, strict=True)]
        return [np.array(gradients).reshape(self.shape)]
