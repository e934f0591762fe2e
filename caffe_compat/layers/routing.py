"""Split and Silence: one blob under several names, and a reader for blobs that no layer reads."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_compat.layers.base import Arity, Layer, LayerSpec, exactly, register
from caffe_compat.layers.facts import Coordinates, Gradient, OnnxWriter, View


@register
class Split(Layer):
    """One blob under several names; gradients add up."""

    type = "Split"
    summary = "one blob under several names"
    view = View.VALUES
    keeps_values = True
    coordinates = Coordinates.SAME
    tops = Arity(1, None)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return [onnx.bottoms[0]] * len(spec.param.top)


@register
class Silence(Layer):
    """Takes blobs that nobody reads, so that they are no outputs."""

    type = "Silence"
    summary = "consumes blobs and has no top"
    gradient = Gradient.STOPS
    bottoms = Arity(1, None)
    tops = exactly(0)
    inference = False

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        return []
