"""The layers that compute one value from one value, as Caffe computes them (see caffe_layers)."""

import math

import numpy as np

from tests.reference.caffe_layers import Layer, check


class Neuron(Layer):
    """`value` and `slope` work on single numbers; `slope` is the factor of the gradient."""

    def forward(self, bottoms):
        (self.x,) = bottoms
        self.setup()
        self.y = np.zeros_like(self.x)
        for at in np.ndindex(self.x.shape):
            self.y[at] = self.value(self.x[at])
        return [self.y]

    def backward(self, top_diffs):
        with np.errstate(all="ignore"):
            gradients = np.zeros_like(self.x)
            for at in np.ndindex(self.x.shape):
                gradients[at] = top_diffs[0][at] * self.slope(self.x[at], self.y[at])
            return [gradients]

    def setup(self):
        pass


class AbsVal(Neuron):
    def value(self, x):
        return abs(x)

    def slope(self, x, y):
        return (x > 0) * 1.0 - (x < 0)


class BNLL(Neuron):
    def value(self, x):
        return x + math.log(1 + math.exp(-x)) if x > 0 else math.log(1 + math.exp(x))

    def slope(self, x, y):
        power = math.exp(min(x, 50))
        return power / (power + 1)


class Clip(Neuron):
    def value(self, x):
        return max(self.param.clip_param.min, min(x, self.param.clip_param.max))

    def slope(self, x, y):
        return float(self.param.clip_param.min <= x <= self.param.clip_param.max)


class ELU(Neuron):
    def value(self, x):
        return max(x, 0) + self.param.elu_param.alpha * (math.exp(min(x, 0)) - 1)

    def slope(self, x, y):
        return 1.0 if x > 0 else self.param.elu_param.alpha + y


class Exp(Neuron):
    def setup(self):
        p = self.param.exp_param
        self.log = 1.0 if p.base == -1 else math.log(p.base)

    def value(self, x):
        p = self.param.exp_param
        return math.exp(self.log * p.scale * x) * math.exp(self.log * p.shift)

    def slope(self, x, y):
        return y * self.log * self.param.exp_param.scale


class Log(Neuron):
    def setup(self):
        p = self.param.log_param
        self.log = 1.0 if p.base == -1 else math.log(p.base)

    def value(self, x):
        p = self.param.log_param
        return math.log(p.shift + p.scale * x) / self.log

    def slope(self, x, y):
        p = self.param.log_param
        return p.scale / self.log / (p.shift + p.scale * x)


class Power(Neuron):
    def value(self, x):
        p = self.param.power_param
        if p.power * p.scale == 0:
            return 1.0 if p.power == 0 else p.shift**p.power
        with np.errstate(all="ignore"):
            return np.float64(p.shift + p.scale * x) ** p.power

    def slope(self, x, y):
        p = self.param.power_param
        if p.power * p.scale == 0:
            return 0.0
        if p.power == 1:
            return p.scale
        if p.power == 2:
            return 2 * p.scale * (p.shift + p.scale * x)
        return p.power * p.scale * np.divide(y, np.float64(p.shift + p.scale * x))


class Sigmoid(Neuron):
    def value(self, x):
        return 0.5 * math.tanh(0.5 * x) + 0.5

    def slope(self, x, y):
        return y * (1 - y)


class Swish(Neuron):
    def value(self, x):
        return x * (0.5 * math.tanh(0.5 * self.param.swish_param.beta * x) + 0.5)

    def slope(self, x, y):
        beta = self.param.swish_param.beta
        return beta * y + (0.5 * math.tanh(0.5 * beta * x) + 0.5) * (1 - beta * y)


class TanH(Neuron):
    def value(self, x):
        return math.tanh(x)

    def slope(self, x, y):
        return 1 - y * y


class Threshold(Neuron):
    def value(self, x):
        return float(x > self.param.threshold_param.threshold)

    def backward(self, top_diffs):
        return [None]


class PReLU(Layer):
    def forward(self, bottoms):
        (self.x,) = bottoms
        check(self.x.ndim >= 2, "axes")
        top = np.zeros_like(self.x)
        for at in np.ndindex(self.x.shape):
            top[at] = max(self.x[at], 0) + self.blobs[0][self._slope(at)] * min(self.x[at], 0)
        return [top]

    def backward(self, top_diffs):
        gradients = np.zeros_like(self.x)
        for at in np.ndindex(self.x.shape):
            x, diff = self.x[at], top_diffs[0][at]
            if x <= 0:
                self.diffs[0][self._slope(at)] += diff * x
            gradients[at] = diff * (1 if x > 0 else self.blobs[0][self._slope(at)])
        return [gradients]

    def _slope(self, at):
        return () if self.param.prelu_param.channel_shared else (at[1],)
