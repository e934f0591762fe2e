"""Losses of pairs, margins, probabilities and logistic targets as Caffe computes them (see caffe_layers)."""

import math

import numpy as np

from tests.reference.caffe_layers import Layer, check, count
from tests.reference.caffe_losses import BATCH_SIZE, FULL, NONE, VALID


class ContrastiveLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        a, b, similar = bottoms
        self.shape = a.shape
        self.difference = (a - b).reshape(a.shape[0], -1)
        self.similar = [int(v) != 0 for v in similar.reshape(-1)]
        p = self.param.contrastive_loss_param
        loss = 0.0
        for row, same in zip(self.difference, self.similar, strict=True):
            square = sum(v * v for v in row)
            if same:
                loss += square
            elif p.legacy_version:
                loss += max(p.margin - square, 0)
            else:
                loss += max(p.margin - math.sqrt(square), 0) ** 2
        return [np.asarray(loss / a.shape[0] / 2)]

    def backward(self, top_diffs):
        p = self.param.contrastive_loss_param
        alpha = top_diffs[0] / self.shape[0]
        gradients = np.zeros_like(self.difference)
        for n, (row, same) in enumerate(zip(self.difference, self.similar, strict=True)):
            square = sum(v * v for v in row)
            if same:
                gradients[n] = alpha * row
            elif p.legacy_version:
                gradients[n] = -alpha * row if p.margin - square > 0 else 0
            else:
                room = p.margin - math.sqrt(square)
                gradients[n] = -alpha * room / (math.sqrt(square) + 1e-4) * row if room > 0 else 0
        return [gradients.reshape(self.shape), -gradients.reshape(self.shape), None]


class HingeLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        x, label = bottoms
        self.shape, self.labels = x.shape, [int(v) for v in label.reshape(-1)]
        self.signs = np.ones((x.shape[0], x.size // x.shape[0]))
        for n, cls in enumerate(self.labels):
            self.signs[n, cls] = -1
        self.margins = np.maximum(0, 1 + self.signs * x.reshape(self.signs.shape))
        powers = self.margins if self.param.hinge_loss_param.norm == 1 else self.margins**2
        return [np.asarray(powers.sum() / x.shape[0])]

    def backward(self, top_diffs):
        slope = np.sign(self.margins) if self.param.hinge_loss_param.norm == 1 else 2 * self.margins
        return [(top_diffs[0] / self.shape[0] * self.signs * slope).reshape(self.shape), None]


class MultinomialLogisticLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        x, label = bottoms
        self.shape, self.rows = x.shape, x.reshape(x.shape[0], -1)
        self.labels = [int(v) for v in label.reshape(-1)]
        self.chosen = [max(row[cls], 1e-20) for row, cls in zip(self.rows, self.labels, strict=True)]
        return [np.asarray(-sum(math.log(v) for v in self.chosen) / x.shape[0])]

    def backward(self, top_diffs):
        gradients = np.zeros_like(self.rows)
        for n, (cls, value) in enumerate(zip(self.labels, self.chosen, strict=True)):
            gradients[n, cls] = -top_diffs[0] / self.shape[0] / value
        return [gradients.reshape(self.shape), None]


class SigmoidCrossEntropyLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        self.x, target = bottoms
        check(self.x.size == target.size, "count")
        self.target = target.reshape(self.x.shape)
        p = self.param.loss_param
        mode = BATCH_SIZE
        if p.HasField("normalization"):
            mode = p.normalization
        elif p.HasField("normalize"):
            mode = VALID if p.normalize else BATCH_SIZE
        loss, valid = 0.0, 0
        for at in np.ndindex(self.x.shape):
            if self.counts(at):
                x, t = self.x[at], self.target[at]
                loss -= x * (t - (x >= 0)) - math.log(1 + math.exp(x - 2 * x * (x >= 0)))
                valid += 1
        self.size = max(1, {FULL: self.x.size, VALID: valid, BATCH_SIZE: len(self.x), NONE: 1}[mode])
        return [np.asarray(loss / self.size)]

    def counts(self, at):
        p = self.param.loss_param
        return not (p.HasField("ignore_label") and int(self.target[at]) == p.ignore_label)

    def backward(self, top_diffs):
        gradients = np.zeros_like(self.x)
        for at in np.ndindex(self.x.shape):
            if self.counts(at):
                gradients[at] = top_diffs[0] / self.size * (1 / (1 + math.exp(-self.x[at])) - self.target[at])
        return [gradients, None]


class InfogainLoss(Layer):
    """With the matrix as the third bottom."""

    is_loss = True

    def forward(self, bottoms):
        x, label, self.matrix = bottoms
        axis = self.param.infogain_loss_param.axis % x.ndim
        self.shape, classes = x.shape, x.shape[axis]
        outer, inner = count(x.shape[:axis]), count(x.shape[axis + 1 :])
        scores = x.reshape(outer, classes, inner)
        self.matrix = self.matrix.reshape(classes, classes)
        self.labels = label.reshape(outer, inner)
        self.probabilities = np.zeros(scores.shape)
        loss, valid = 0.0, 0
        for i, j in np.ndindex(outer, inner):
            powers = np.exp(scores[i, :, j] - scores[i, :, j].max())
            self.probabilities[i, :, j] = powers / powers.sum()
            if self.counts(i, j):
                check(0 <= self.labels[i, j] < classes, "label")
                for k in range(classes):
                    worth = self.matrix[int(self.labels[i, j]), k]
                    loss -= worth * math.log(max(self.probabilities[i, k, j], 1e-20))
                valid += 1
        mode = self.param.loss_param.normalization
        self.size = max(1, {FULL: outer * inner, VALID: valid, BATCH_SIZE: outer, NONE: 1}[mode])
        return [np.asarray(loss / self.size), self.probabilities.reshape(x.shape)][: max(1, len(self.param.top))]

    def counts(self, i, j):
        p = self.param.loss_param
        return not (p.HasField("ignore_label") and int(self.labels[i, j]) == p.ignore_label)

    def backward(self, top_diffs):
        gradients = np.zeros(self.probabilities.shape)
        for i, j in np.ndindex(self.labels.shape):
            if self.counts(i, j):
                row = self.matrix[int(self.labels[i, j])]
                gradients[i, :, j] = (self.probabilities[i, :, j] * row.sum() - row) * top_diffs[0] / self.size
        return [gradients.reshape(self.shape), None, None]
