"""``caffe.Layer``: the layers of a net, and the base class of Python layers."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from caffe_compat.layers import BlobDef, LayerSpec, Shape
from caffe_compat.layers.base import constant
from caffe_compat.pycaffe import mode
from caffe_compat.pycaffe.blob import Blob, BlobVec
from caffe_compat.schema import caffe_pb2 as pb

NAMED_PHASE = "fast-rcnn"
"""The fork whose layers see boost's enum in place of a number (python/caffe/_caffe.cpp there, branch faster-rcnn)."""


class NamedPhase(int):
    """A phase whose text is its name."""

    def __str__(self) -> str:
        return pb.Phase.Name(self)


class Layer:
    """A layer of a net; derive from it to write one in Python.

    A layer of ``type: "Python"`` names its class in python_param. Such a class has the methods ``setup(bottom, top)``,
    ``reshape(bottom, top)``, ``forward(bottom, top)`` and ``backward(top, propagate_down, bottom)``; the first two are
    called when the net is built, ``reshape`` also before every pass. bottom and top are lists of blobs.

    Attributes
    ----------
    blobs : the parameters; ``setup`` may append to them with ``self.blobs.add_blob(*shape)``.
    param_str : python_param.param_str.
    phase : TRAIN (0) or TEST (1). With the fork fast-rcnn named, its text is "TRAIN" or "TEST", as there.
    param_str_ : param_str, as Caffe named it until 2015 and layers of that time read it.
    """

    param_str: str
    param_str_: str
    phase: int

    def __init__(self, layer_param: pb.LayerParameter) -> None:
        self.layer_param = layer_param
        self.blobs = BlobVec()

    @property
    def type(self) -> str:
        """The layer's type."""
        return self.layer_param.type

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Initialize the layer."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Set the shapes of the tops."""


class PythonLayers:
    """Creates the Python layers of a net while its graph is built."""

    def __init__(self) -> None:
        self.blobs_made: dict[str, Blob] = {}
        self.layers: dict[tuple[str, ...], Layer] = {}

    def find(self, param: pb.LayerParameter) -> Layer:
        """Return the layer created from a definition."""
        return self.layers[_key(param)]

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        """Return the parameters of a layer, creating it if necessary."""
        layer = self._get(spec)
        return tuple(BlobDef(str(i), blob.shape, constant()) for i, blob in enumerate(layer.blobs))

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        """Return the shapes that a layer sets for its tops."""
        self._get(spec)
        return tuple(self.blobs_made[top].shape for top in spec.param.top)

    def _get(self, spec: LayerSpec) -> Layer:
        key = _key(spec.param)
        if key not in self.layers:
            self.layers[key] = self._make(spec)
        return self.layers[key]

    def _make(self, spec: LayerSpec) -> Layer:
        param, python = spec.param, spec.param.python_param
        cls = getattr(importlib.import_module(python.module), python.layer)
        if not (isinstance(cls, type) and issubclass(cls, Layer)):
            raise spec.fault("is not a class derived from caffe.Layer", "python_param.layer", code="wrong-type")
        layer = cls(param)
        if not hasattr(layer, "blobs"):  # its __init__ did not call super().__init__
            Layer.__init__(layer, param)
        layer.param_str = layer.param_str_ = python.param_str
        layer.phase = NamedPhase(param.phase) if NAMED_PHASE in mode.forks() else int(param.phase)
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
