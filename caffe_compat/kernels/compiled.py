"""Ordered products compiled by Numba (the extra ``fast``): the same sums as `caffe_compat.kernels.plain`.

A tile of the result stays in registers while the products of a block are added to it. The tile's size depends on the
processor; the order of each sum does not, because every sum has its own lane of a register. LLVM's fma rounds
once on every processor: without an fma instruction, it calls libm's. Nothing here uses "fastmath".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from caffe_compat.kernels.plain import Floats, Offsets

LANES = 16  # floats per vector: LLVM splits it over two or four registers where they are shorter
_AVX512 = bool(llvm.get_host_cpu_features().get("avx512f"))
ROWS, VECTORS = (8, 2) if _AVX512 else (6, 1)  # of a tile: sums fill 16 of 32 registers, or 12 of 16
COLUMNS = LANES * VECTORS
_INDEX, _INT = ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, which takes seconds; cache next to this file or in the user's cache if writable."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither cache is writable
        return numba.njit(nogil=True)(function)


def _type_fma(_: Any, a: Any, b: Any, c: Any) -> tuple[Any, Callable[..., Any]]:
    """Type :func:`_fma`: ``a b + c`` of three float32, rounded once."""
    return types.float32(a, b, c), _write_fma


def _write_fma(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    return builder.fma(*args)


_fma: Any = intrinsic(_type_fma)


@_compile
def add_scaled(values: Floats, terms: Floats, factor: np.float32) -> None:
    """Add `factor` times `terms` to flat `values`, each sum rounded once."""
    for i in range(values.size):
        values[i] = _fma(factor, terms[i], values[i])


def _type_tile(
    _: Any, length: Any, left: Any, left_at: Any, right: Any, right_at: Any, out: Any, out_at: Any, stride: Any
) -> tuple[Any, Callable[..., Any]]:
    """Type :func:`_add_tile`, which sums the products of a block from 0 in registers and adds them to a tile of `out`.

    out[out_at + row stride + column] += the sum over k < length (at least 1) of
    left[left_at + k ROWS + row] right[right_at + k COLUMNS + column].
    """
    return types.void(length, left, left_at, right, right_at, out, out_at, stride), _write_tile


def _write_tile(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    length, *_, stride = args

    def pointer(i: int) -> Any:
        return builder.gep(context.make_array(signature.args[i])(context, builder, args[i]).data, [args[i + 1]])

    def vector(base: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(base, [offset]), _VECTOR.as_pointer())

    left, right, out = pointer(1), pointer(3), pointer(5)
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    fma = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]  # Numba has no type hints
        builder.module, kind, f"llvm.fma.v{LANES}f32"
    )
    undefined, lanes = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
    before, loop, after = builder.block, builder.append_basic_block("products"), builder.append_basic_block("add")
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [[builder.phi(_VECTOR) for _ in range(VECTORS)] for _ in range(ROWS)]
    at = builder.mul(k, _INDEX(COLUMNS))
    factors = [builder.load(vector(right, builder.add(at, _INDEX(v * LANES))), align=4) for v in range(VECTORS)]
    at = builder.mul(k, _INDEX(ROWS))
    totals = []
    for row in range(ROWS):
        value = builder.load(builder.gep(left, [builder.add(at, _INDEX(row))]))
        value = builder.shuffle_vector(builder.insert_element(undefined, value, _INT(0)), undefined, lanes)
        totals.append([builder.call(fma, [value, factors[v], sums[row][v]]) for v in range(VECTORS)])
    following = builder.add(k, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
    k.add_incoming(_INDEX(0), before)
    k.add_incoming(following, loop)
    for row in range(ROWS):
        for v in range(VECTORS):
            sums[row][v].add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), before)
            sums[row][v].add_incoming(totals[row][v], loop)

    builder.position_at_end(after)
    for row in range(ROWS):
        for v in range(VECTORS):
            place = vector(out, builder.add(builder.mul(stride, _INDEX(row)), _INDEX(v * LANES)))
            builder.store(builder.fadd(builder.load(place, align=4), totals[row][v]), place, align=4)
    return context.get_dummy_value()


_add_tile: Any = intrinsic(_type_tile)


@_compile
def pack(values: Floats, rows: Offsets, inner: Offsets) -> Floats:
    """Return ``values[rows[i] + inner[k]]`` tile by tile, padded with rows of zeros."""
    packed = np.zeros((-(-rows.size // ROWS), inner.size, ROWS), np.float32)
    for i in range(rows.size):
        tile, row = packed[i // ROWS], i % ROWS
        for k in range(inner.size):
            tile[k, row] = values[rows[i] + inner[k]]
    return packed


@_compile
def _pack_columns(values: Floats, inner: Offsets, columns: Offsets, block: Floats, first: int) -> None:
    """Write ``values[inner[k] + columns[j]]`` into `block` from `first` on, panel by panel, padded with zeros."""
    for panel in range(-(-columns.size // COLUMNS)):
        part = columns[panel * COLUMNS : (panel + 1) * COLUMNS]
        adjacent = part.size == COLUMNS and part[-1] - part[0] == COLUMNS - 1
        for k in range(inner.size):
            at, source = first + (panel * inner.size + k) * COLUMNS, inner[k]
            if adjacent:
                source += part[0]
                for j in range(COLUMNS):
                    block[at + j] = values[source + j]
            else:
                for j in range(part.size):
                    block[at + j] = values[source + part[j]]
                block[at + part.size : at + COLUMNS] = 0


@_compile
def add_products(
    packed: Floats,
    values: Floats,
    inner: Offsets,
    columns: Offsets,
    ends: Offsets,
    out: Floats,
    rows: Offsets,
    places: Offsets,
) -> None:
    """Add a matrix product to ``out[rows[i] + places[j]]``.

    The left factor is `packed` by :func:`pack`; the right factor is ``values[inner[k] + columns[j]]``. Fused
    multiply-adds sum over k, from 0 in each block; blocks end before `ends`, and their sums are added to `out` in
    turn. `values` and `out` are flat, `columns` and `places` ascend, all sizes are at least 1.
    """
    m, n, start, longest = rows.size, columns.size, 0, 0
    for end in ends:
        longest, start = max(longest, end - start), end
    panels = -(-n // COLUMNS)
    width = panels * COLUMNS
    total = np.zeros((packed.shape[0] * ROWS, width), np.float32)
    adjacent = places[n - 1] - places[0] == n - 1  # LLVM then copies vectors
    for i in range(m):
        if adjacent:
            total[i, :n] = out[rows[i] + places[0] : rows[i] + places[0] + n]
        else:
            for j in range(n):
                total[i, j] = out[rows[i] + places[j]]
    block = np.zeros(longest * width + LANES, np.float32)
    first = -block.ctypes.data % 64 // 4  # the start of a cache line
    start = 0
    for end in ends:
        length = end - start
        _pack_columns(values, inner[start:end], columns, block, first)
        for tile in range(packed.shape[0]):
            for panel in range(panels):
                _add_tile(
                    length,
                    packed,
                    (tile * inner.size + start) * ROWS,
                    block,
                    first + panel * length * COLUMNS,
                    total,
                    tile * ROWS * width + panel * COLUMNS,
                    width,
                )
        start = end
    for i in range(m):
        if adjacent:
            out[rows[i] + places[0] : rows[i] + places[0] + n] = total[i, :n]
        else:
            for j in range(n):
                out[rows[i] + places[j]] = total[i, j]
