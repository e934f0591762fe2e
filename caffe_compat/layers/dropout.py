"""Dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Layer, LayerSpec, register
from caffe_compat.layers.facts import Coordinates, OnnxWriter
from caffe_compat.layers.functions import Keep


@register
class Dropout(Layer):
    """In TRAIN, zero a fraction of the values and scale the rest by 1 / (1 - ratio); in TEST, the identity."""

    type = "Dropout"
    summary = "scaled while training, identity while testing"
    identity_in_test = True
    keeps_sign = True
    coordinates = Coordinates.SAME
    accounts = {"dropout_param": Account(read=("dropout_ratio",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        draws = spec.phase == "TRAIN" or not self.identity_in_test  # Caffe does not look at the ratio in TEST
        if draws and not 0 <= spec.param.dropout_param.dropout_ratio < 1:
            yield spec.fault("must be at least 0 and below 1", "dropout_param.dropout_ratio")

    def fork_module(self, spec: LayerSpec) -> nn.Module | None:
        """Return the module of a dropout unlike Caffe's, which a field of a fork chooses; else None."""
        return None

    def function(self, spec: LayerSpec) -> Keep | None:
        return Keep() if len(spec.bottoms[0]) in {2, 4} and self.fork_module(spec) is None else None

    def module(self, spec: LayerSpec) -> nn.Module:
        ratio = spec.param.dropout_param.dropout_ratio
        return self.fork_module(spec) or nn.Dropout(ratio if 0 <= ratio < 1 else 0.0)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return onnx.bottoms
