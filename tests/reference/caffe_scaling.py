"""BatchNorm and Scale as Caffe computes them (see caffe_layers)."""

import numpy as np

from tests.reference.caffe_layers import Layer, canonical, check, count


class BatchNorm(Layer):
    """Blobs: sum of means, sum of unbiased variances, sum of weights."""

    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.batch_norm_param
        check(x.ndim > 1, "a bottom with one axis fails the CHECK of shape(1)")
        self.shape = x.shape
        x = x.reshape(x.shape[0], x.shape[1], -1)
        self.fixed = p.use_global_stats if p.HasField("use_global_stats") else not self.train
        if self.fixed:
            factor = 0 if self.blobs[2][0] == 0 else 1 / self.blobs[2][0]
            mean, variance = self.blobs[0] * factor, self.blobs[1] * factor
            centred = x - mean[:, None]
        else:
            mean = x.mean(axis=(0, 2))
            centred = x - mean[:, None]
            variance = (centred**2).mean(axis=(0, 2))
            m = x.shape[0] * x.shape[2]
            self.blobs[2][0] = self.blobs[2][0] * p.moving_average_fraction + 1
            self.blobs[0][:] = self.blobs[0] * p.moving_average_fraction + mean
            unbiased = variance * (m / (m - 1) if m > 1 else 1)
            self.blobs[1][:] = self.blobs[1] * p.moving_average_fraction + unbiased
        self.deviation = np.sqrt(variance + p.eps)[:, None]
        self.normed = centred / self.deviation
        return [self.normed.reshape(self.shape)]

    def backward(self, top_diffs):
        diff = top_diffs[0].reshape(self.normed.shape)
        if self.fixed:
            return [(diff / self.deviation).reshape(self.shape)]
        mean = diff.mean(axis=(0, 2))[:, None]
        product = (diff * self.normed).mean(axis=(0, 2))[:, None]
        return [((diff - mean - product * self.normed) / self.deviation).reshape(self.shape)]


class Scale(Layer):
    """The scale is the first blob or, with two bottoms, the second bottom; the bias is the last blob.

    Several backward passes add up, with one exception that Caffe has: where no axis comes before the scale's (or they
    are all of length one, as in a batch of one) and the scale has several values, or covers the whole bottom, the
    gradient of the scale is overwritten by the last pass. `overwrites` tells.
    """

    def forward(self, bottoms):
        p = self.param.scale_param
        x = bottoms[0]
        self.learned = len(bottoms) == 1
        scale = self.blobs[0] if self.learned else bottoms[1]
        axis = 0 if scale.ndim == 0 else canonical(p.axis, x.ndim)
        check(axis + scale.ndim <= x.ndim, "extends past the bottom")
        check(x.shape[axis : axis + scale.ndim] == scale.shape, "dimensions")
        self.shape, self.scale = x.shape, scale
        self.x = x.reshape(count(x.shape[:axis]), scale.size, count(x.shape[axis + scale.ndim :]))
        outer, values, _ = self.x.shape
        self.overwrites = self.learned and outer == 1 and (values > 1 or scale.size == x.size)
        top = self.x * scale.reshape(-1, 1)
        if p.bias_term:
            top = top + self.blobs[-1].reshape(-1, 1)
        return [top.reshape(x.shape)]

    def backward(self, top_diffs):
        diff = top_diffs[0].reshape(self.x.shape)
        if self.param.scale_param.bias_term:
            self.diffs[-1] += diff.sum(axis=(0, 2)).reshape(self.blobs[-1].shape)
        gradients = [(diff * self.scale.reshape(-1, 1)).reshape(self.shape)]
        product = (diff * self.x).sum(axis=(0, 2)).reshape(self.scale.shape)
        if not self.learned:
            return [*gradients, product]
        if self.overwrites:
            self.diffs[0][...] = 0
        self.diffs[0] += product
        return gradients
