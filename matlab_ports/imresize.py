"""MATLAB's ``imresize``, to the bit, for one picture or a stack of them.

The rule, per dimension of length ``n_in`` going to ``n_out`` with scale ``s`` (1-based, as MATLAB counts):

* output ``x`` looks at ``u = x / s + (1 - 1 / s) / 2``; shrinking with antialiasing stretches the kernel: ``s k(s x)``;
* the taps are the ``ceil(width) + 2`` samples from ``floor(u - width / 2)`` on, their weights divided by their sum;
* samples beyond the border are mirrored, the border sample repeated; tap columns that are zero everywhere are dropped;
* the dimension with the smaller scale goes first, the first dimension where they tie.

Taps are accumulated in double from left to right, each product rounded before it is added (no fused multiply-add).
Integer pictures are rounded, halves away from zero, and clamped after *each* of the two passes; floating ones are never
clamped.

Checked against values MATLAB computed: double and uint8, bicubic, both ways, with and without antialiasing; see `cube`
in `matlab_ports._support.contributions` for where a MATLAB release may differ in the last bits. Read or remembered, not
recorded: the other kernels, a NaN in the output size, and ``single`` pictures, which are accumulated in double and
stored as single after each pass, as MathWorks' generated code does.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from matlab_ports._support.contributions import Doubles, Kernel, contributions, kernel_of
from matlab_ports._support.errors import PortError

Array = npt.NDArray[Any]

_CLASSES = ("float64", "float32", "uint8", "int8", "uint16", "int16", "uint32", "int32")
_WORTH_COMPILING = 1 << 18  # samples: below it, loading the compiled loops would take longer than the work
_SHARE = 1 << 22  # samples the compiled loops get at once
_BLOCK = 98_304  # samples of the larger pictures worked on at once: a pass finds its input in the cache


class _Pass(NamedTuple):
    """Output samples `rows` of one dimension, made from input samples `source`, for several pictures in a column."""

    rows: slice
    source: slice
    weights: Doubles
    indices: npt.NDArray[np.intp]
    matrix: Any


def _pass(weights: Doubles, indices: npt.NDArray[np.intp], rows: slice, copies: int = 1) -> _Pass:
    """The pass that makes `rows` out of `copies` pictures stacked on top of each other: a block-diagonal matrix."""
    w, i = weights[rows], indices[rows]
    low, high = int(i.min()), int(i.max()) + 1
    i = np.concatenate([i + (copy * (high - low) - low) for copy in range(copies)])
    w = np.tile(w, (copies, 1))
    pointers = np.arange(0, i.size + 1, i.shape[1])
    matrix = scipy.sparse.csr_array((w.ravel(), i.ravel(), pointers), shape=(len(w), copies * (high - low)))
    return _Pass(rows, slice(low, high), w, i, matrix)


@lru_cache(maxsize=1)
def _sparse_product_is_fused() -> bool:
    """Whether this build of SciPy multiplies and adds in one rounding; those for x86-64 do not."""
    a = 1 + 2.0**-30
    matrix = scipy.sparse.csr_array(np.array([[-1.0, a]]))
    product = matrix @ np.stack((np.full(33, a * a), np.full(33, a)))
    return bool(np.any(product != 0))


def _accumulate(taps: _Pass, samples: Doubles) -> Doubles:
    """One pass over the first axis of `samples`: taps from left to right, product and sum rounded apart."""
    if _sparse_product_is_fused():
        return _accumulate_in_numpy(taps, samples)
    product: Doubles = taps.matrix @ samples
    return product


def _accumulate_in_numpy(taps: _Pass, samples: Doubles) -> Doubles:
    """The same for a SciPy that fuses; several times slower."""
    result = np.zeros((len(taps.weights), samples.shape[1]))
    for weight, index in zip(taps.weights.T, taps.indices.T, strict=True):
        result += weight[:, None] * samples[index]
    return result


def _store_as(dtype: np.dtype[Any], values: Doubles) -> None:
    """Give `values`, in place, what storing them as `dtype` would leave of them."""
    if dtype == np.float32:
        with np.errstate(over="ignore"):
            values[...] = values.astype(np.float32)
    elif dtype.kind in "ui":
        values += 0.5 if dtype.kind == "u" else np.copysign(0.5, values)
        (np.floor if dtype.kind == "u" else np.trunc)(values, out=values)
        limits = np.iinfo(dtype)
        np.clip(values, limits.min, limits.max, out=values)


def compiled_loops() -> Any:
    """The module of compiled loops, where Numba is installed and keeps the bits."""
    try:
        compiled = importlib.import_module("matlab_ports._support.compiled")
    except ImportError:
        return None
    return compiled if compiled.rounds_products() else None


def _kind(dtype: np.dtype[Any], compiled: Any) -> tuple[int, float, float]:
    """How the compiled loops store results of class `dtype`, and its limits."""
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        return (compiled.UNSIGNED if dtype.kind == "u" else compiled.SIGNED), float(limits.min), float(limits.max)
    return (compiled.SINGLE if dtype == np.float32 else compiled.DOUBLE), 0.0, 0.0


def _resize_compiled(
    compiled: Any, stack: Array, out: Array, taps: Sequence[tuple[Doubles, npt.NDArray[np.intp]]], threads: int
) -> None:
    """Resize `stack` (count, n1, n2) into `out` (count, m1, m2) picture by picture."""
    count, larger = len(stack), max(stack[0].size, out[0].size)
    step = max(1, min(-(-count // threads), _SHARE // larger))
    tables = [np.ascontiguousarray(table) for pair in taps for table in pair]
    kind = _kind(out.dtype, compiled)

    def work(start: int) -> None:
        block = slice(start, start + step)
        samples = np.ascontiguousarray(stack[block], dtype=np.float64)
        direct = out.dtype == np.float64 and out.flags.c_contiguous
        result = out[block] if direct else np.empty((len(samples), *out.shape[1:]))
        compiled.resize_pictures(samples, *tables, *kind, result)
        if not direct:
            with np.errstate(over="ignore"):
                out[block] = result

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(0, count, step)):
            pass


def _resize_block(pictures: Array, out: Array, first: _Pass, second: _Pass) -> None:
    """Resize `pictures` (count, n1, n2) into the rows `first` makes of `out` (count, m1, m2), axis 1 before axis 2."""
    n2, m2 = pictures.shape[2], out.shape[2]
    samples = np.ascontiguousarray(pictures[:, first.source], dtype=np.float64).reshape(-1, n2)
    once = _accumulate(first, samples)
    _store_as(out.dtype, once)
    twice = _accumulate(second, np.ascontiguousarray(once.T[second.source]))
    _store_as(out.dtype, twice)
    out[:, first.rows] = twice.T.reshape(len(out), -1, m2)


def _resize_stack(stack: Array, out: Array, taps: Sequence[tuple[Doubles, npt.NDArray[np.intp]]], threads: int) -> None:
    """Resize `stack` (count, n1, n2) into `out` (count, m1, m2), a cacheful at a time."""
    (count, n1, n2), (_, m1, m2) = stack.shape, out.shape
    if all(weights.shape[1] == 1 and np.all(weights == 1) for weights, _ in taps):  # nearest: copied, not computed
        out[...] = stack[:, taps[0][1][:, 0]][:, :, taps[1][1][:, 0]]
        return
    if count >= 2 * threads and max(stack.size, out.size) >= _WORTH_COMPILING and (compiled := compiled_loops()):
        _resize_compiled(compiled, stack, out, taps, threads)
        return
    step = max(1, min(count, _BLOCK // (max(n1, m1) * max(n2, m2))))
    rows = max(16, _BLOCK // max(n2, m2))
    strips = [slice(start, min(start + rows, m1)) for start in range(0, m1, rows)]
    blocks = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    first = {n: [_pass(*taps[0], strip, n) for strip in strips] for n in {b.stop - b.start for b in blocks}}
    second = _pass(*taps[1], slice(0, m2))

    def work(share: Sequence[tuple[slice, _Pass]]) -> None:
        for block, strip in share:
            _resize_block(stack[block], out[block], strip, second)

    jobs = [(block, strip) for block in blocks for strip in first[block.stop - block.start]]
    shares = [jobs[i::threads] for i in range(min(threads, len(jobs)))]
    if len(shares) < 2:
        work(jobs)
        return
    with ThreadPoolExecutor(len(shares)) as pool:
        for _ in pool.map(work, shares):
            pass


def _pair(name: str, value: object) -> tuple[float, float]:
    """Two numbers out of `value`; None stands for NaN."""
    try:
        first, second = (math.nan if v is None else float(v) for v in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise PortError(
            f"{value!r} is not two numbers", where=f"imresize: {name}", hint="give (rows, columns)"
        ) from None
    return first, second


def _scale_and_size(
    shape: tuple[int, int], scale: object | None, output_size: object | None
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Per dimension, the scale and the output length."""
    if (scale is None) == (output_size is None):
        raise PortError("give either a scale or an output size", where="imresize")
    if scale is not None:
        factors = (float(scale),) * 2 if isinstance(scale, (int, float, np.number)) else _pair("scale", scale)
        if not all(math.isfinite(f) and f > 0 for f in factors):
            raise PortError(f"{scale!r} is not positive and finite", where="imresize: scale")
        rows, columns = (math.ceil(f * n) for f, n in zip(factors, shape, strict=True))
        return factors, (rows, columns)
    wanted = _pair("output_size", output_size)
    known = [math.isfinite(n) and n > 0 for n in wanted]
    if not all(ok or math.isnan(n) for ok, n in zip(known, wanted, strict=True)) or not any(known):
        raise PortError(
            f"{output_size!r} is not two positive lengths", where="imresize: output_size", hint="one of them may be NaN"
        )
    if not all(known):  # the picture keeps its aspect; both dimensions get the known one's scale
        axis = known.index(True)
        factor = math.ceil(wanted[axis]) / shape[axis]
        other = wanted[axis] * shape[1 - axis] / shape[axis]
        wanted = (wanted[0], other) if axis == 0 else (other, wanted[1])
        return (factor, factor), (math.ceil(wanted[0]), math.ceil(wanted[1]))
    rows, columns = (math.ceil(n) for n in wanted)
    return (rows / shape[0], columns / shape[1]), (rows, columns)


def imresize(
    A: npt.ArrayLike,
    m: float | Sequence[float | None] | None = None,
    method: str | tuple[Kernel, float] = "bicubic",
    *,
    antialiasing: bool | None = None,
    output_size: Sequence[float | None] | None = None,
    scale: float | Sequence[float] | None = None,
    axes: tuple[int, int] = (0, 1),
    threads: int | None = None,
) -> Array:
    """Resize a picture, or every picture of a stack, as MATLAB does.

    Parameters
    ----------
    A
        Pictures of class double, single, uint8 or a wider integer. By default rows and columns are the first two axes,
        as in MATLAB (H, W or H, W, C); any further axes are carried along.
    m
        One number: the scale. Two: the output size in rows and columns, of which one may be NaN (or None) to keep the
        aspect.
    method
        ``bicubic`` (``cubic``), ``bilinear`` (``triangle``), ``nearest``, ``box``, ``lanczos2``, ``lanczos3``, or a
        kernel and its width.
    antialiasing
        Stretch the kernel when shrinking. On unless `method` is ``nearest``.
    output_size, scale
        MATLAB's 'OutputSize' and 'Scale', in place of `m`; `scale` may be one number per dimension.
    axes
        Which axes are rows and columns: ``(-2, -1)`` for a stack N, H, W or N, C, H, W.
    threads
        How many work at once; by default as many as there are processors. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        Of the class of `A`, C-contiguous, the two axes resized. Floating values are not clamped.

    Raises
    ------
    PortError
        For a class, size, scale, method or axes that cannot be used.
    """
    pictures = np.asarray(A)
    if pictures.dtype.name not in _CLASSES:
        raise PortError(f"class {pictures.dtype} is not supported", where="imresize", hint=f"use {', '.join(_CLASSES)}")
    try:
        stack = np.moveaxis(pictures, axes, (-2, -1))
    except ValueError:
        raise PortError(f"{axes!r} are not two axes of shape {pictures.shape}", where="imresize: axes") from None
    if 0 in stack.shape[-2:]:
        raise PortError(f"the picture is empty, shape {pictures.shape}", where="imresize")
    if m is not None:
        if scale is not None or output_size is not None:
            raise PortError("give either m, scale or output_size", where="imresize")
        scale, output_size = (m, None) if isinstance(m, (int, float, np.number)) else (None, m)
    lengths = (stack.shape[-2], stack.shape[-1])
    factors, sizes = _scale_and_size(lengths, scale, output_size)
    kernel, width, default = kernel_of(method)
    aa = default if antialiasing is None else antialiasing
    taps = [
        contributions(n, o, f, kernel, width, antialiasing=aa) for n, o, f in zip(lengths, sizes, factors, strict=True)
    ]

    leading = stack.shape[:-2]
    out = np.empty((math.prod(leading), *sizes), pictures.dtype)
    flat = stack.reshape(-1, *lengths)
    count = _processors() if threads is None else max(1, threads)
    if factors[0] <= factors[1]:
        _resize_stack(flat, out, taps, count)
    else:
        _resize_stack(flat.swapaxes(1, 2), out.swapaxes(1, 2), taps[::-1], count)
    return np.ascontiguousarray(np.moveaxis(out.reshape(*leading, *sizes), (-2, -1), axes))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
