"""Pooling's ceil_mode: what many forks have instead of Caffe 1.0's round_mode (pull request 3057 to BVLC/caffe)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, LayerSpec, Shape, register
from caffe_compat.layers.facts import OnnxWriter, Witness
from caffe_compat.layers.functions import Pool
from caffe_compat.layers.pooling import Pooling
from caffe_compat.schema import caffe_pb2 as pb


@register
class CeilModePooling(Pooling):
    """Pooling that rounds up or down by ceil_mode."""

    forks = ("pr3057",)
    summary = "pooling with ceil_mode in place of round_mode"
    origin = "src/caffe/layers/pooling_layer.cpp"
    witness = Witness.TRANSCRIPTION
    accounts = {
        "pooling_param": Account(
            read=(*Pooling.accounts["pooling_param"].read, "ceil_mode"),
            ignored=Pooling.accounts["pooling_param"].ignored,
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if spec.param.pooling_param.HasField("round_mode"):
            yield spec.error("conflicts with ceil_mode", "pooling_param.round_mode", hint="keep one", code="conflict")
        else:
            yield from super().check(_rounded(spec))

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return super().top_shapes(_rounded(spec))

    def module(self, spec: LayerSpec) -> nn.Module:
        return super().module(_rounded(spec))

    def function(self, spec: LayerSpec) -> Pool | None:
        return super().function(_rounded(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return super().onnx(_rounded(spec), onnx)


def _rounded(spec: LayerSpec) -> LayerSpec:
    """Return the layer as Caffe 1.0 would write it."""
    param, modes = pb.LayerParameter(), pb.PoolingParameter
    param.CopyFrom(spec.param)
    param.pooling_param.round_mode = modes.CEIL if spec.additions("pooling_param").ceil_mode else modes.FLOOR
    return replace(spec, param=param)
