"""RNN, LSTM and LSTMUnit as Caffe's unrolled nets compute them, gradients back through time by hand."""

import numpy as np

from tests.reference.caffe_layers import Layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unit(c, gates, cont):
    """One step: rows of cells, of gates (i, f, o, g), an indicator per row; all that the gradient needs."""
    size = c.shape[1]
    i, o = sigmoid(gates[:, :size]), sigmoid(gates[:, 2 * size : 3 * size])
    f = cont[:, None] * sigmoid(gates[:, size : 2 * size])
    g = np.tanh(gates[:, 3 * size :])
    cell = f * c + i * g
    return cell, o * np.tanh(cell), (c, i, f, o, g, cell)


def unit_backward(saved, dc, dh):
    c, i, f, o, g, cell = saved
    t = np.tanh(cell)
    d = dc + dh * o * (1 - t * t)
    gates = [d * g * i * (1 - i), d * c * f * (1 - f), dh * t * o * (1 - o), d * i * (1 - g * g)]
    return d * f, np.concatenate(gates, 1)


class LSTMUnit(Layer):
    def forward(self, bottoms):
        c, gates, cont = bottoms
        cell, hidden, self.saved = unit(c[0], gates[0], cont[0])
        return [cell[None], hidden[None]]

    def backward(self, top_diffs):
        dc, dgates = unit_backward(self.saved, top_diffs[0][0], top_diffs[1][0])
        return [dc[None], dgates[None], None]


class Recurrent(Layer):
    last = None

    def forward(self, bottoms):
        p = self.param.recurrent_param
        x, self.cont = bottoms[:2]
        self.exposed = len(bottoms) - self.states if p.expose_hidden else len(bottoms)
        self.static = bottoms[2].reshape(len(bottoms[2]), -1) if self.exposed > 2 else None
        self.shapes = [b.shape for b in bottoms]
        self.x = x.reshape(*x.shape[:2], -1)
        states = [np.zeros((x.shape[1], p.num_output))] * self.states if self.last is None else self.last
        if p.expose_hidden:
            states = [b[0] for b in bottoms[self.exposed :]]
        first = 2 if self.static is None else 3
        self.w_x, self.b_x, self.w_h = self.blobs[0], self.blobs[1], self.blobs[first]
        self.h_at = first
        self.saved, tops = [], []
        for t in range(len(x)):
            h = states[0] * self.cont[t][:, None]
            inner = h @ self.w_h.T + self.x[t] @ self.w_x.T + self.b_x
            if self.static is not None:
                inner = inner + self.static @ self.blobs[2].T
            states, top, saved = self.step(states, inner, self.cont[t])
            self.saved.append((h, saved))
            tops.append(top)
        if p.expose_hidden:
            return [np.array(tops), *[s[None] for s in states]]
        self.last = states
        return [np.array(tops)]

    def backward(self, top_diffs):
        """The states' gradients are not looked at and none is given to the first states."""
        dx = np.zeros_like(self.x)
        dstatic = None if self.static is None else np.zeros_like(self.static)
        dstates = [np.zeros((self.x.shape[1], self.param.recurrent_param.num_output)) for _ in range(self.states)]
        for t in reversed(range(len(self.x))):
            h, saved = self.saved[t]
            dinner, dstates = self.step_backward(saved, top_diffs[0][t], dstates)
            self.diffs[0] += dinner.T @ self.x[t]
            self.diffs[1] += dinner.sum(0)
            self.diffs[self.h_at] += dinner.T @ h
            dx[t] = dinner @ self.w_x
            if dstatic is not None:
                self.diffs[2] += dinner.T @ self.static
                dstatic += dinner @ self.blobs[2]
            dstates[0] = dinner @ self.w_h * self.cont[t][:, None]
        gradients = [dx.reshape(self.shapes[0]), None]
        if dstatic is not None:
            gradients.append(dstatic.reshape(self.shapes[2]))
        return gradients + [None] * (len(self.shapes) - len(gradients))


class LSTM(Recurrent):
    states = 2

    def step(self, states, inner, cont):
        cell, hidden, saved = unit(states[1], inner, cont)
        return [hidden, cell], hidden, saved

    def step_backward(self, saved, dtop, dstates):
        dc, dinner = unit_backward(saved, dstates[1], dtop + dstates[0])
        return dinner, [None, dc]


class RNN(Recurrent):
    states = 1

    def step(self, states, inner, cont):
        h = np.tanh(inner)
        top = np.tanh(h @ self.blobs[-2].T + self.blobs[-1])
        return [h], top, (h, top)

    def step_backward(self, saved, dtop, dstates):
        h, top = saved
        dout = dtop * (1 - top * top)
        self.diffs[-2] += dout.T @ h
        self.diffs[-1] += dout.sum(0)
        return (dout @ self.blobs[-2] + dstates[0]) * (1 - h * h), [None]
