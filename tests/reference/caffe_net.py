"""Caffe's Net in plain NumPy: layers in order, gradients in reverse, shared blobs, loss weights (see caffe_layers)."""

from importlib import import_module

import numpy as np

from tests.reference.caffe_forks import FORK_TYPES
from tests.reference.caffe_layers import Layer
from tests.reference.caffe_more_forks import MORE_FORK_TYPES

MODULES = ("layers", "windows", "losses", "more_losses", "scaling", "neurons", "shapes", "recurrent", "columns")
TYPES = (
    FORK_TYPES
    | MORE_FORK_TYPES
    | {
        name: kind
        for module in MODULES
        for name, kind in vars(import_module(f"tests.reference.caffe_{module}")).items()
        if isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer
    }
)


class Net:
    """A net of LayerParameters (upgraded and filtered), its blobs given by layer name; what data layers make is fed.

    Every version of a blob that in-place layers overwrite stays, so each layer's gradient is that of its own input.
    """

    def __init__(self, layers, blobs, phase, dtype=np.float64):
        self.params = [p for p in layers if p.type not in ("Input", "HDF5Data")]
        self.dtype = dtype
        self.layers = []
        shared = {}
        for param in self.params:
            own = [np.array(blob, dtype) for blob in blobs.get(param.name, ())]
            layer = TYPES[param.type](param, phase, own)
            for i, spec in enumerate(param.param):
                if spec.name and spec.name in shared:
                    layer.blobs[i], layer.diffs[i] = shared[spec.name]
                elif spec.name:
                    shared[spec.name] = layer.blobs[i], layer.diffs[i]
            self.layers.append(layer)

    def layer(self, name):
        return next(layer for layer in self.layers if layer.param.name == name)

    def forward(self, inputs):
        """Return every blob after the pass."""
        self.version = {blob: (blob, 0) for blob in inputs}
        self.values = {(blob, 0): np.array(value, self.dtype) for blob, value in inputs.items()}
        self.calls = []
        for param, layer in zip(self.params, self.layers, strict=True):
            bottoms = [self.version[blob] for blob in param.bottom]
            results = layer.forward([self.values[b] for b in bottoms])
            names = list(param.top) or [f"{param.name} (automatic)"] * len(results)
            tops = []
            for name, value in zip(names, results, strict=True):
                self.version[name] = (name, self.version.get(name, (name, -1))[1] + 1)
                self.values[self.version[name]] = np.asarray(value)
                tops.append(self.version[name])
            self.calls.append((bottoms, tops))
        return {blob: self.values[version] for blob, version in self.version.items()}

    def loss(self):
        """The weighted sum of all losses of the last pass."""
        return sum(
            weight * self.values[top].sum()
            for param, layer, (_, tops) in zip(self.params, self.layers, self.calls, strict=True)
            for top, weight in zip(tops, loss_weights(param, layer, len(tops)), strict=True)
        )

    def backward(self, seeds=None):
        """Take gradients of blobs in addition to those of the losses; return the gradients of the inputs, add to the blobs'."""
        diffs = {version: np.zeros_like(value) for version, value in self.values.items()}
        for blob, seed in (seeds or {}).items():
            diffs[self.version[blob]] += seed
        for param, layer, (bottoms, tops) in reversed(list(zip(self.params, self.layers, self.calls, strict=True))):
            for top, weight in zip(tops, loss_weights(param, layer, len(tops)), strict=True):
                diffs[top] += weight
            before = [diff.copy() for diff in layer.diffs]
            gradients = layer.backward([diffs[top] for top in tops])
            for i, spec in enumerate(param.param):
                if spec.lr_mult == 0 and i < len(layer.diffs):
                    layer.diffs[i][...] = before[i]
            for i, (bottom, diff) in enumerate(zip(bottoms, gradients, strict=True)):
                if diff is not None and (not param.propagate_down or param.propagate_down[i]):
                    diffs[bottom] += diff
        return {blob: diff for (blob, version), diff in diffs.items() if version == 0}

    def clear(self):
        for layer in self.layers:
            for diff in layer.diffs:
                diff[...] = 0


def loss_weights(param, layer, tops):
    weights = list(param.loss_weight) or ([1.0] if getattr(layer, "is_loss", False) else [])
    return weights + [0.0] * (tops - len(weights))
