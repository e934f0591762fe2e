"""EuclideanLoss, SoftmaxWithLoss and Accuracy as Caffe computes them (see caffe_layers)."""

import numpy as np

from tests.reference.caffe_layers import FLT_MIN, Layer, Softmax, canonical, check, count


class EuclideanLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        a, b = bottoms
        check(a.shape[0] == b.shape[0], "one batch size")
        check(count(a.shape[1:]) == count(b.shape[1:]), "one size")
        self.shapes = a.shape, b.shape
        self.difference = a.reshape(-1) - b.reshape(-1)
        return [np.sum(self.difference**2) / a.shape[0] / 2]

    def backward(self, top_diffs):
        signs = (1, -1)
        return [
            (s * top_diffs[0] / shape[0] * self.difference).reshape(shape)
            for s, shape in zip(signs, self.shapes, strict=True)
        ]


FULL, VALID, BATCH_SIZE, NONE = 0, 1, 2, 3  # LossParameter.NormalizationMode


class SoftmaxWithLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        x, label = bottoms
        p = self.param.loss_param
        check(x.shape[0] == label.shape[0], "one batch size")
        self.normalization = p.normalization
        if not p.HasField("normalization") and p.HasField("normalize"):
            self.normalization = VALID if p.normalize else BATCH_SIZE
        axis = canonical(self.param.softmax_param.axis, x.ndim)
        (probabilities,) = Softmax(self.param, "TEST").forward([x])
        self.outer, self.inner = count(x.shape[:axis]), count(x.shape[axis + 1 :])
        check(self.outer * self.inner == label.size, "one label per prediction")
        self.shape = x.shape
        self.probabilities = probabilities.reshape(self.outer, x.shape[axis], self.inner)
        self.labels = label.reshape(self.outer, self.inner)
        loss = 0
        for i, j, cls in self.counted():
            loss -= np.log(max(self.probabilities[i, cls, j], FLT_MIN))
        return [np.asarray(loss / self.normalizer(), x.dtype), probabilities][: max(len(self.param.top), 1)]

    def counted(self):
        p = self.param.loss_param
        for i, j in np.ndindex(self.labels.shape):
            cls = int(self.labels[i, j])
            if not (p.HasField("ignore_label") and cls == p.ignore_label):
                check(0 <= cls < self.probabilities.shape[1], "label")
                yield i, j, cls

    def normalizer(self):
        sizes = {FULL: self.outer * self.inner, BATCH_SIZE: self.outer, NONE: 1}
        size = sum(1 for _ in self.counted()) if self.normalization == VALID else sizes[self.normalization]
        return max(1.0, size)

    def backward(self, top_diffs):
        """The gradient of the second top, the probabilities, is not looked at."""
        bottom = np.zeros_like(self.probabilities)
        for i, j, cls in self.counted():
            bottom[i, :, j] = self.probabilities[i, :, j]
            bottom[i, cls, j] -= 1
        return [(bottom * (top_diffs[0] / self.normalizer())).reshape(self.shape), None]


class Accuracy(Layer):
    def forward(self, bottoms):
        x, label = bottoms
        p = self.param.accuracy_param
        check(p.top_k <= x.size // label.size, "top_k")
        axis = canonical(p.axis, x.ndim)
        outer, inner, classes = count(x.shape[:axis]), count(x.shape[axis + 1 :]), x.shape[axis]
        check(outer * inner == label.size, "one label per prediction")
        scores, labels = x.reshape(outer, classes, inner), label.reshape(outer, inner)
        right, seen = np.zeros(classes), np.zeros(classes)
        for i, j in np.ndindex(outer, inner):
            cls = int(labels[i, j])
            if p.HasField("ignore_label") and cls == p.ignore_label:
                continue
            check(0 <= cls < classes, "label")
            seen[cls] += 1
            better = -1  # the class itself is among those that are no worse
            for k in range(classes):
                better += scores[i, k, j] >= scores[i, cls, j]
            if better < p.top_k:
                right[cls] += 1
        total = seen.sum()
        accuracy = np.asarray(right.sum() / total if total else 0.0, x.dtype)
        per_class = np.array([r / s if s else 0 for r, s in zip(right, seen, strict=True)], x.dtype)
        return [accuracy, per_class][: len(self.param.top)]

    def backward(self, top_diffs):
        return [None, None]
