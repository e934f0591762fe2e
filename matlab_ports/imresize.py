"""MATLAB's ``imresize``: resize an image, or a stack of images, to MATLAB's bits.

The rule, per dimension of length ``n_in`` going to ``n_out`` with scale ``s`` (1-based, as MATLAB counts):

* output ``x`` is centred at ``u = x / s + (1 - 1 / s) / 2``; antialiasing stretches the kernel to ``s k(s x)``;
* the taps are the ``ceil(width) + 2`` samples from ``floor(u - width / 2)`` on, their weights divided by their sum;
* samples beyond the border are mirrored, the border sample repeated; tap columns that are zero everywhere are dropped;
* the dimension with the smaller scale goes first, the first dimension where they tie.

Taps are accumulated in double from left to right, each product rounded before it is added (no fused multiply-add).
Integer images are rounded, halves away from zero, and clamped after *each* of the two passes; floating images are never
clamped.

Checked against values that MATLAB computed: double and uint8, bicubic, both ways, with and without antialiasing; see
`cube` in `matlab_ports._support.contributions` for where a MATLAB release may differ in the last bits. Taken from
documentation, not recorded: the other kernels, NaN in the output size, and ``single`` images, which are accumulated in
double and stored as single after each pass, as MathWorks' generated code does.
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

from matlab_ports._support.contributions import Doubles, Kernel, contributions, resolve_kernel
from matlab_ports._support.errors import PortError

Array = npt.NDArray[Any]

_CLASSES = ("float64", "float32", "uint8", "int8", "uint16", "int16", "uint32", "int32")
_WORTH_COMPILING = 1 << 18  # samples: for fewer, loading the compiled loops takes longer than the work
_SHARE = 1 << 22  # samples per call of the compiled loops
_BLOCK = 98_304  # samples of the larger images per block: a pass finds its input in the cache


class _Pass(NamedTuple):
    """One pass: output samples `rows` of one dimension from input samples `source`, for several images in a column."""

    rows: slice
    source: slice
    weights: Doubles
    indices: npt.NDArray[np.intp]
    matrix: Any


def _pass(weights: Doubles, indices: npt.NDArray[np.intp], rows: slice, copies: int = 1) -> _Pass:
    """Return the pass that computes `rows` of `copies` images on top of each other, as a block-diagonal matrix."""
    w, i = weights[rows], indices[rows]
    low, high = int(i.min()), int(i.max()) + 1
    i = np.concatenate([i + (copy * (high - low) - low) for copy in range(copies)])
    w = np.tile(w, (copies, 1))
    pointers = np.arange(0, i.size + 1, i.shape[1])
    matrix = scipy.sparse.csr_array((w.ravel(), i.ravel(), pointers), shape=(len(w), copies * (high - low)))
    return _Pass(rows, slice(low, high), w, i, matrix)


@lru_cache(maxsize=1)
def _sparse_product_is_fused() -> bool:
    """Whether this build of SciPy fuses multiplication and addition; builds for x86-64 do not."""
    a = 1 + 2.0**-30
    matrix = scipy.sparse.csr_array(np.array([[-1.0, a]]))
    product = matrix @ np.stack((np.full(33, a * a), np.full(33, a)))
    return bool(np.any(product != 0))


def _accumulate(taps: _Pass, samples: Doubles) -> Doubles:
    """Run one pass over the first axis of `samples`: taps from left to right, product and sum rounded separately."""
    if _sparse_product_is_fused():
        return _accumulate_in_numpy(taps, samples)
    product: Doubles = taps.matrix @ samples
    return product


def _accumulate_in_numpy(taps: _Pass, samples: Doubles) -> Doubles:
    """Run one pass without SciPy's fused product; several times slower."""
    result = np.zeros((len(taps.weights), samples.shape[1]))
    for weight, index in zip(taps.weights.T, taps.indices.T, strict=True):
        result += weight[:, None] * samples[index]
    return result


def _round_to(dtype: np.dtype[Any], values: Doubles) -> None:
    """Round `values` in place to what `dtype` can hold."""
    if dtype == np.float32:
        with np.errstate(over="ignore"):
            values[...] = values.astype(np.float32)
    elif dtype.kind in "ui":
        values += 0.5 if dtype.kind == "u" else np.copysign(0.5, values)
        (np.floor if dtype.kind == "u" else np.trunc)(values, out=values)
        limits = np.iinfo(dtype)
        np.clip(values, limits.min, limits.max, out=values)


def load_compiled_loops() -> Any:
    """Return the module of compiled loops, or None where Numba is missing or fuses products."""
    try:
        compiled = importlib.import_module("matlab_ports._support.compiled")
    except ImportError:
        return None
    return compiled if compiled.rounds_products() else None


def _kind(dtype: np.dtype[Any], compiled: Any) -> tuple[int, float, float]:
    """Return how the compiled loops round results of class `dtype`, and its limits."""
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        return (compiled.UNSIGNED if dtype.kind == "u" else compiled.SIGNED), float(limits.min), float(limits.max)
    return (compiled.SINGLE if dtype == np.float32 else compiled.DOUBLE), 0.0, 0.0


def _resize_compiled(
    compiled: Any, stack: Array, out: Array, taps: Sequence[tuple[Doubles, npt.NDArray[np.intp]]], threads: int
) -> None:
    """Resize `stack` (count, n1, n2) into `out` (count, m1, m2) image by image."""
    count, larger = len(stack), max(stack[0].size, out[0].size)
    step = max(1, min(-(-count // threads), _SHARE // larger))
    tables = [np.ascontiguousarray(table) for pair in taps for table in pair]
    kind = _kind(out.dtype, compiled)

    def work(start: int) -> None:
        block = slice(start, start + step)
        samples = np.ascontiguousarray(stack[block], dtype=np.float64)
        direct = out.dtype == np.float64 and out.flags.c_contiguous
        result = out[block] if direct else np.empty((len(samples), *out.shape[1:]))
        compiled.resize_images(samples, *tables, *kind, result)
        if not direct:
            with np.errstate(over="ignore"):
                out[block] = result

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(0, count, step)):
            pass


def _resize_block(images: Array, out: Array, first: _Pass, second: _Pass) -> None:
    """Resize `images` (count, n1, n2) into the rows of `out` (count, m1, m2) of `first`, axis 1 before axis 2."""
    n2, m2 = images.shape[2], out.shape[2]
    samples = np.ascontiguousarray(images[:, first.source], dtype=np.float64).reshape(-1, n2)
    once = _accumulate(first, samples)
    _round_to(out.dtype, once)
    twice = _accumulate(second, np.ascontiguousarray(once.T[second.source]))
    _round_to(out.dtype, twice)
    out[:, first.rows] = twice.T.reshape(len(out), -1, m2)


def _resize_stack(stack: Array, out: Array, taps: Sequence[tuple[Doubles, npt.NDArray[np.intp]]], threads: int) -> None:
    """Resize `stack` (count, n1, n2) into `out` (count, m1, m2), a block at a time."""
    (count, n1, n2), (_, m1, m2) = stack.shape, out.shape
    if all(weights.shape[1] == 1 and np.all(weights == 1) for weights, _ in taps):  # nearest copies samples
        out[...] = stack[:, taps[0][1][:, 0]][:, :, taps[1][1][:, 0]]
        return
    if count >= 2 * threads and max(stack.size, out.size) >= _WORTH_COMPILING and (compiled := load_compiled_loops()):
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
    """Convert `value` to two numbers; None means NaN."""
    try:
        first, second = (math.nan if v is None else float(v) for v in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        problem = "expected two numbers, (rows, columns)"
        raise PortError(problem, code="wrong-type", field=name, value=value) from None
    return first, second


def _scale_and_size(
    shape: tuple[int, int], scale: object | None, output_size: object | None
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return the scale and the output length of each dimension."""
    if (scale is None) == (output_size is None):
        raise PortError("expected either a scale or an output size", code="conflict", field="scale")
    if scale is not None:
        factors = (float(scale),) * 2 if isinstance(scale, (int, float, np.number)) else _pair("scale", scale)
        if not all(math.isfinite(f) and f > 0 for f in factors):
            raise PortError("must be positive and finite", code="out-of-range", field="scale", value=scale)
        rows, columns = (math.ceil(f * n) for f, n in zip(factors, shape, strict=True))
        return factors, (rows, columns)
    lengths = _pair("output_size", output_size)
    positive = [math.isfinite(n) and n > 0 for n in lengths]
    if not all(ok or math.isnan(n) for ok, n in zip(positive, lengths, strict=True)) or not any(positive):
        problem, hint = "expected two positive lengths", "one of them may be NaN"
        raise PortError(problem, code="out-of-range", field="output_size", value=output_size, hint=hint)
    if not all(positive):  # the image keeps its aspect ratio: one scale serves both dimensions
        axis = positive.index(True)
        factor = math.ceil(lengths[axis]) / shape[axis]
        other = lengths[axis] * shape[1 - axis] / shape[axis]
        lengths = (lengths[0], other) if axis == 0 else (other, lengths[1])
        return (factor, factor), (math.ceil(lengths[0]), math.ceil(lengths[1]))
    rows, columns = (math.ceil(n) for n in lengths)
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
    """Resize an image, or every image of a stack, as MATLAB does.

    Parameters
    ----------
    A
        Images of class double, single, uint8 or a wider integer. By default rows and columns are the first two axes, as
        in MATLAB: (H, W) or (H, W, C). Further axes are kept.
    m
        One number is the scale; two are the output size in rows and columns. One of these may be NaN or None, which
        keeps the aspect ratio.
    method
        ``bicubic`` (``cubic``), ``bilinear`` (``triangle``), ``nearest``, ``box``, ``lanczos2``, ``lanczos3``, or a
        kernel and its width.
    antialiasing
        Stretch the kernel when downsampling; on by default unless `method` is ``nearest``.
    output_size, scale
        MATLAB's 'OutputSize' and 'Scale', in place of `m`; `scale` may be one number per dimension.
    axes
        The axes of rows and columns: ``(-2, -1)`` for a stack N, H, W or N, C, H, W.
    threads
        Number of threads; by default one per processor. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        Of the class of `A`, C-contiguous, the two axes resized. Floating values are not clamped.

    Raises
    ------
    PortError
        The class, size, scale, method or axes cannot be used.
    """
    images = np.asarray(A)
    if images.dtype.name not in _CLASSES:
        problem, hint = f"class {images.dtype} is not supported", f"use {', '.join(_CLASSES)}"
        raise PortError(problem, code="wrong-type", field="A", hint=hint)
    try:
        stack = np.moveaxis(images, axes, (-2, -1))
    except ValueError:
        problem = f"expected two axes of shape {images.shape}"
        raise PortError(problem, code="out-of-range", field="axes", value=axes) from None
    if 0 in stack.shape[-2:]:
        raise PortError(f"the image is empty, shape {images.shape}", code="empty", field="A")
    if m is not None:
        if scale is not None or output_size is not None:
            problem = "excludes scale and output_size"
            raise PortError(problem, code="conflict", field="m", value=m)
        scale, output_size = (m, None) if isinstance(m, (int, float, np.number)) else (None, m)
    lengths = (stack.shape[-2], stack.shape[-1])
    factors, sizes = _scale_and_size(lengths, scale, output_size)
    kernel, width, default = resolve_kernel(method)
    aa = default if antialiasing is None else antialiasing
    taps = [
        contributions(n, o, f, kernel, width, antialiasing=aa) for n, o, f in zip(lengths, sizes, factors, strict=True)
    ]

    leading = stack.shape[:-2]
    out = np.empty((math.prod(leading), *sizes), images.dtype)
    flat = stack.reshape(-1, *lengths)
    count = processors() if threads is None else max(1, threads)
    if factors[0] <= factors[1]:
        _resize_stack(flat, out, taps, count)
    else:
        _resize_stack(flat.swapaxes(1, 2), out.swapaxes(1, 2), taps[::-1], count)
    return np.ascontiguousarray(np.moveaxis(out.reshape(*leading, *sizes), (-2, -1), axes))


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
