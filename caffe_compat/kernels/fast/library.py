"""The compiled code: find it, choose the instruction set of the processor, call it."""

from __future__ import annotations

import ctypes
import enum
import functools
import importlib
import importlib.util
import logging
from collections.abc import Sequence
from typing import Any

import torch

_log = logging.getLogger(__name__)

_Pair = ctypes.c_int * 2


class Op(enum.IntEnum):
    """``op`` of a step, in the order of program.h."""

    LOAD_MAP = 0
    STORE_MAP = 1
    CONVOLVE = 2
    CONVOLVE_TILES = 3
    CONVOLVE_CHANNELS = 4
    POOL = 5
    ADD = 6
    FLATTEN = 7
    INNER_PRODUCT = 8
    GRADIENT_TILES = 9
    POOL_PLACES = 10
    UNPOOL = 11
    GRADIENT_FEW = 12
    MULTIPLY = 13


class CBuffer(ctypes.Structure):
    """``Buffer`` of program.h."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("offset", "image")),
        *((name, ctypes.c_int) for name in ("height", "width", "pixel", "border", "first", "channels")),
        *((name, ctypes.c_int) for name in ("batch", "tensor")),
    ]


class CStep(ctypes.Structure):
    """``Step`` of program.h."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("op", "source", "target", "residual", "tensor")),
        *((name, _Pair) for name in ("kernel", "stride", "pad", "dilation")),
        *((name, ctypes.c_int) for name in ("side", "average")),
        ("pooled", _Pair),
        *((name, ctypes.c_int) for name in ("dense", "relu")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "slope")),
    ]


class CProgram(ctypes.Structure):
    """``Program`` of program.h."""

    _fields_ = [
        ("workspace", ctypes.c_long),
        ("scratch", ctypes.c_long),
        ("steps", ctypes.c_int),
        ("grouped", ctypes.c_int),
        ("buffers", ctypes.c_void_p),
        ("step", ctypes.c_void_p),
    ]


class COffsets(ctypes.Structure):
    """``Offsets`` of watch.c."""

    _fields_ = [(name, ctypes.c_long) for name in ("object", "storage", "first", "end", "keys", "data", "version")]


class CWatch(ctypes.Structure):
    """``Watch`` of watch.c."""

    _fields_ = [
        ("at", COffsets),
        *((name, ctypes.c_long) for name in ("states", "inputs", "owners", "tables", "attributes", "weights")),
        *((name, ctypes.c_void_p) for name in ("state", "arguments", "answer", "tensor", "parameter")),
        ("mask", ctypes.c_uint64),
        ("type", ctypes.c_uint64),
        ("keys", ctypes.c_uint64 * 2),
        *((name, ctypes.c_void_p) for name in ("owner", "class_", "table", "size", "version", "value")),
        *((name, ctypes.c_void_p) for name in ("holder", "name", "attribute", "weight", "form", "address")),
    ]


def _agrees(library: ctypes.CDLL) -> bool:
    """Tell whether the compiled code has the same structures and steps as this file."""
    ours = {
        "caffe_compat_sizes": [*map(ctypes.sizeof, (CBuffer, CStep, CProgram)), len(Op)],
        "caffe_compat_watch_sizes": [*map(ctypes.sizeof, (COffsets, CWatch))],
    }
    return all(
        hasattr(library, name) and [*(ctypes.c_long * len(sizes)).in_dll(library, name)] == sizes
        for name, sizes in ours.items()
    )


_RUN: list[Any] = [
    *(ctypes.c_int, ctypes.POINTER(CProgram), ctypes.c_void_p, ctypes.c_void_p),
    *(ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_void_p),
]


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the compiled code; warn once and return None where the package was installed without a compiler."""
    module = importlib.util.find_spec("caffe_compat.kernels.fast._native")
    if module is None or module.origin is None:
        problem, hint = "are missing", "install GCC or Clang, then caffe-compat again"
    else:
        library = ctypes.CDLL(module.origin)
        if _agrees(library):
            library.caffe_compat_run.restype = None
            library.caffe_compat_hash.restype = None
            library.caffe_compat_run.argtypes = _RUN
            return library
        problem, hint = "are those of another version", "install caffe-compat again"
    _log.warning("compiled kernels %s: nets run on torch's, which are slower (%s)", problem, hint)
    return None


@functools.cache
def native() -> Any:
    """Return the compiled code as a module of Python."""
    assert _library() is not None
    return importlib.import_module("caffe_compat.kernels.fast._native")


def hash_memory(pieces: ctypes.Array[Any], sizes: ctypes.Array[Any], hashes: ctypes.Array[Any], threads: int) -> None:
    """Write 64 bits for each piece of memory into `hashes`."""
    library = _library()
    assert library is not None
    library.caffe_compat_hash(pieces, sizes, ctypes.c_long(len(hashes)), threads, hashes)


@functools.cache
def vector_lengths() -> tuple[int, ...]:
    """Return the floats in a vector of each instruction set that this processor has, the widest first; () without code.

    16 is AVX-512, 8 is AVX2, 4 is what every processor has.
    """
    library = _library()
    return () if library is None else tuple(lanes for lanes in (16, 8, 4) if library.caffe_compat_supports(lanes))


def workspace(floats: int) -> torch.Tensor:
    """Return memory for a number of floats, in large pages where the system has them."""
    library = _library()
    assert library is not None
    memory = torch.empty(floats, dtype=torch.float32)
    library.caffe_compat_use_large_pages(ctypes.c_void_p(memory.data_ptr()), ctypes.c_size_t(4 * floats))
    return memory


def run(
    lanes: int,
    program: CProgram,
    tensors: Sequence[torch.Tensor],
    images: int,
    group: int,
    workspace: torch.Tensor,
    threads: int,
) -> None:
    """Run a program on tensors (N, C, H, W), contiguous float32, `group` images at a time.

    `lanes` is one of `vector_lengths`; `workspace` is memory for the buffers.
    """
    library = _library()
    assert library is not None
    addresses = (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
    strides = (ctypes.c_long * len(tensors))(*(tensor[0].numel() for tensor in tensors))
    library.caffe_compat_run(
        lanes,
        ctypes.byref(program),
        addresses,
        strides,
        images,
        group,
        threads,
        workspace.data_ptr(),
    )
