"""Input and HDF5Data: the layers whose tops are fed from outside."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, exactly, register


@register
class Input(Layer):
    """Blobs the caller fills."""

    type = "Input"
    summary = "inputs of the net"
    bottoms = exactly(0)
    tops = Arity(0, None)
    is_data = True
    accounts = {"input_param": Account(read=("shape",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        shapes, tops = spec.param.input_param.shape, spec.param.top
        if len(shapes) not in (0, 1, len(tops)):
            yield spec.error(
                f"{len(shapes)} shapes for {len(tops)} tops", "input_param.shape", hint=f"none, 1 or {len(tops)}"
            )
        for shape in shapes:
            if any(dim < 0 for dim in shape.dim):
                yield spec.error("dimensions cannot be negative", "input_param.shape", list(shape.dim))

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        shapes = [tuple(shape.dim) for shape in spec.param.input_param.shape] or [()]
        return tuple(shapes * len(spec.param.top) if len(shapes) == 1 else shapes)


@register
class HDF5Data(Layer):
    """Batches from the HDF5 files of a list; read by :mod:`caffe_compat.data`, fed as inputs of the net."""

    type = "HDF5Data"
    summary = "batches from a list of HDF5 files"
    bottoms = exactly(0)
    tops = Arity(1, None)
    is_data = True
    accounts = {"hdf5_data_param": Account(read=("source", "batch_size", "shuffle"))}
