"""One update of Caffe's SGD solver in plain NumPy (facts: src/caffe/solvers/sgd_solver.cpp, solver.cpp, blob.cpp)."""

import numpy as np


class SGD:
    """Updates arrays in place from gradients that iter_size passes have added up."""

    def __init__(
        self,
        blobs,
        lr_mults,
        decay_mults,
        *,
        momentum=0.0,
        weight_decay=0.0,
        regularization="L2",
        clip=-1.0,
        iter_size=1,
    ):
        self.blobs, self.lr_mults, self.decay_mults = blobs, lr_mults, decay_mults
        self.momentum, self.weight_decay, self.regularization = momentum, weight_decay, regularization
        self.clip, self.iter_size = clip, iter_size
        self.history = [np.zeros_like(blob) for blob in blobs]

    def update(self, diffs, rate):
        diffs = [diff.copy() for diff in diffs]
        if self.clip >= 0:
            norm = np.sqrt(sum(np.sum(diff**2) for diff in diffs))
            if norm > self.clip:
                diffs = [diff * (self.clip / norm) for diff in diffs]
        for i, (blob, diff) in enumerate(zip(self.blobs, diffs, strict=True)):
            if self.iter_size > 1:
                diff = diff / self.iter_size
            decay = self.weight_decay * self.decay_mults[i]
            if decay:
                diff = diff + decay * (blob if self.regularization == "L2" else np.sign(blob))
            self.history[i] = rate * self.lr_mults[i] * diff + self.momentum * self.history[i]
            blob -= self.history[i]
