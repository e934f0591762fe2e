"""Layers as scripts see them, and the base class of layers written in Python."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from caffe_compat.layers import BlobDef, LayerSpec, Shape
from caffe_compat.layers.base import constant
from caffe_compat.pycaffe.blob import Blob, BlobVec
from caffe_compat.schema import caffe_pb2 as pb


class Layer:
    """A layer of a net; derive from it to write one in Python.

    A layer of ``type: "Python"`` names its class in python_param. Such a class has the methods ``setup(bottom, top)``,
    ``reshape(bottom, top)``, ``forward(bottom, top)`` and ``backward(top, propagate_down, bottom)``; the first two are
    called when the net is made, reshape before every pass as well. bottom and top are lists of blobs.

    Attributes
    ----------
    blobs : parameters; setup may add some with ``self.blobs.add_blob(*shape)``.
    param_str : python_param.param_str.
    phase : TRAIN (0) or TEST (1).
    """

    param_str: str
    phase: int

    def __init__(self, layer_param: pb.LayerParameter) -> None:
        self.layer_param = layer_param
        self.blobs = BlobVec()

    @property
    def type(self) -> str:
        """The layer's type."""
        return self.layer_param.type

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Prepare the layer once."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give the tops their shapes."""


class PythonLayers:
    """Makes the layers a net's prototxt names, while the net's graph is built.

    Attributes
    ----------
    blobs_made : the blobs the layers have been shown, by name.
    layers : the layers, by name, bottoms and tops.
    """

    def __init__(self) -> None:
        self.blobs_made: dict[str, Blob] = {}
        self.layers: dict[tuple[str, ...], Layer] = {}

    def find(self, param: pb.LayerParameter) -> Layer:
        """Return the layer made of a definition."""
        return self.layers[_key(param)]

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        """Return the parameters of a layer, which is made and set up if it was not yet."""
        layer = self._made(spec)
        return tuple(BlobDef(str(i), blob.shape, constant()) for i, blob in enumerate(layer.blobs))

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        """Return the shapes a layer gives its tops."""
        self._made(spec)
        return tuple(self.blobs_made[top].shape for top in spec.param.top)

    def _made(self, spec: LayerSpec) -> Layer:
        key = _key(spec.param)
        if key not in self.layers:
            self.layers[key] = self._make(spec)
        return self.layers[key]

    def _make(self, spec: LayerSpec) -> Layer:
        param, wanted = spec.param, spec.param.python_param
        cls = getattr(importlib.import_module(wanted.module), wanted.layer)
        if not (isinstance(cls, type) and issubclass(cls, Layer)):
            raise spec.error("is not a class derived from caffe.Layer", "python_param.layer", wanted.layer)
        layer = cls(param)
        if not hasattr(layer, "blobs"):  # its own __init__ did not call ours
            Layer.__init__(layer, param)
        layer.param_str, layer.phase = wanted.param_str, int(param.phase)
        bottoms = [self._blob(name, shape) for name, shape in zip(param.bottom, spec.bottoms, strict=True)]
        tops = [self._blob(name) for name in param.top]
        layer.setup(bottoms, tops)
        layer.reshape(bottoms, tops)
        return layer

    def _blob(self, name: str, shape: Shape | None = None) -> Blob:
        blob = self.blobs_made.setdefault(name, Blob())
        if shape is not None and blob.shape != shape:
            blob.reshape(*shape)
        return blob


def _key(param: pb.LayerParameter) -> tuple[str, ...]:
    return (param.name, *param.bottom, "->", *param.top)
