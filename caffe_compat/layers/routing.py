"""Split and Silence: one blob under several names, and a reader for blobs that no layer reads."""

from __future__ import annotations

from caffe_compat.layers.base import Arity, Layer, exactly, register
from caffe_compat.layers.facts import Coordinates, Gradient, View


@register
class Split(Layer):
    """One blob under several names; gradients add up."""

    type = "Split"
    summary = "one blob under several names"
    view = View.VALUES
    keeps_values = True
    coordinates = Coordinates.SAME
    tops = Arity(1, None)


@register
class Silence(Layer):
    """Takes blobs that nobody reads, so that they are no outputs."""

    type = "Silence"
    summary = "consumes blobs and has no top"
    gradient = Gradient.STOPS
    bottoms = Arity(1, None)
    tops = exactly(0)
    inference = False
