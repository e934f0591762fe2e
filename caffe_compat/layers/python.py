"""Python: a layer whose class the prototxt names. It runs only where the caller allows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, BlobDef, Layer, LayerSpec, Shape, register


class Maker(Protocol):
    """The maker of Python layers, which reports their blobs and shapes."""

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        """Return a layer's parameters."""
        ...

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        """Return the shapes of a layer's tops."""
        ...


_maker: ContextVar[Maker | None] = ContextVar("maker", default=None)


@contextmanager
def python_layers(maker: Maker) -> Iterator[None]:
    """Let `maker` make the Python layers of the graphs built meanwhile."""
    before = _maker.set(maker)
    try:
        yield
    finally:
        _maker.reset(before)


def class_name(spec: LayerSpec) -> str:
    """Return the dotted name of a layer's class."""
    return f"{spec.param.python_param.module}.{spec.param.python_param.layer}"


@register
class Python(Layer):
    """A layer written in Python, found by the names of its module and class."""

    type = "Python"
    summary = "a class named in the prototxt; only through caffe_compat.pycaffe"
    bottoms = Arity(0, None)
    tops = Arity(0, None)
    accounts = {
        "python_param": Account(
            read=("module", "layer", "param_str"), ignored={"share_in_parallel": "every process has its own layers"}
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if _maker.get() is None:
            yield spec.error(
                "a Python layer runs code that the file names; this command does not run it",
                "python_param.layer",
                class_name(spec),
                "caffe_compat.pycaffe.Net and its solvers run it",
                code="unsafe",
            )

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        maker = _maker.get()
        return maker.blobs(spec) if maker else ()

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        maker = _maker.get()
        return maker.top_shapes(spec) if maker else ()
