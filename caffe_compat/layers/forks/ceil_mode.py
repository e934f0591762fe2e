"""Pooling's ceil_mode, which many forks have instead of Caffe 1.0's round_mode (pull request 3057 to BVLC/caffe)."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, LayerSpec, register
from caffe_compat.layers.facts import Evidence
from caffe_compat.layers.pooling import Pooling


@register
class CeilModePooling(Pooling):
    """Pooling that rounds up or down by ceil_mode."""

    forks = ("pr3057",)
    summary = "pooling with ceil_mode in place of round_mode"
    origin = "src/caffe/layers/pooling_layer.cpp"
    evidence = Evidence.TRANSCRIPTION
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
            yield from super().check(spec)

    def rounds_up(self, spec: LayerSpec) -> bool:
        return bool(spec.additions("pooling_param").ceil_mode)
