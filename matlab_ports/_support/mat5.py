"""Read and write the elements of MATLAB's level 5 MAT-files (``-v6`` and ``-v7``), as far as one variable needs it.

A file is a header of 128 bytes followed by one element per variable: a tag (type, bytes) and, for type 14 (matrix),
flags, dimensions, name and values, each an element itself. ``-v7`` wraps every variable in an element of type 15, the
zlib stream of what ``-v6`` writes. Values of class double may be stored in a narrower integer type.

Source: MathWorks, *MAT-File Format* (R2019a), chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError

HEADER = 128
_HINT = "write the file again"
LIMIT = 2**31 - 1  # bytes of one variable
DEFLATE = 1032  # the largest ratio that deflate can reach
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_TEXT = 116
_STORED = {  # types that numbers are stored in
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {  # the classes of numeric arrays
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_CLASS_NAMES = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8", 9: "uint8",
    10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64",
    16: "function_handle", 17: "object",
}  # fmt: skip
_ENCODINGS = {  # of text, little and big endian
    1: ("latin-1",) * 2, 2: ("latin-1",) * 2, 4: ("utf-16-le", "utf-16-be"),
    16: ("utf-8",) * 2, 17: ("utf-16-le", "utf-16-be"), 18: ("utf-32-le", "utf-32-be"),
}  # fmt: skip
_COMPLEX, _LOGICAL = 0x0800, 0x0200  # flags
_HEAD = 1024  # bytes; holds flags, dimensions and name of a variable with fewer than a hundred dimensions


class Variable(NamedTuple):
    """One variable: the class, shape and place of its values."""

    name: str
    shape: tuple[int, ...]
    kind: str  # MATLAB's name of its class
    dtype: np.dtype[Any] | None  # of that class; None unless it is an array of numbers
    is_complex: bool
    order: str  # byte order, < or >
    stored: np.dtype[Any] | None  # type and byte order in which its real part is stored; None without values
    start: int  # byte where the element begins, behind its tag
    nbytes: int  # size of the element
    inflated: int  # size of the element when inflated; for a compressed variable, its own tag included
    tag: int  # place of the values' own tag, in the element or, if compressed, in its inflated stream
    offset: int  # place of the values, counted alike
    compressed: bool


def header(text: str, version: int = 0x0100) -> bytes:
    """Return the first 128 bytes of a little-endian file; version 0x0100 is level 5, 0x0200 is -v7.3."""
    return text.encode("ascii").ljust(_TEXT) + bytes(8) + struct.pack("<H2s", version, b"IM")


def variables(path: Path) -> Iterator[Variable]:
    """Iterate over a file's variables, reading only the beginning of each."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(HEADER)[-2:] == b"IM" else ">"
        position = HEADER
        while position < size:
            file.seek(position)
            tag = file.read(8)
            if len(tag) < 8:
                raise PortError(f"truncated at byte {position}", code="damaged-file", file=path, hint=_HINT)
            kind, nbytes = struct.unpack(order + "II", tag)
            if position + 8 + nbytes > size or kind not in (_MATRIX, _COMPRESSED):
                problem = "truncated" if position + 8 + nbytes > size else f"damaged (an element of type {kind})"
                raise PortError(f"{problem} at byte {position} of {size}", code="damaged-file", file=path, hint=_HINT)
            try:
                yield _variable(file, order, position + 8, nbytes, compressed=kind == _COMPRESSED)
            except (struct.error, zlib.error, KeyError, UnicodeDecodeError) as error:
                problem = f"damaged at byte {position}: {error}"
                raise PortError(problem, code="damaged-file", file=path, hint=_HINT) from None
            position += 8 + nbytes


def _variable(file: BinaryIO, order: str, start: int, nbytes: int, *, compressed: bool) -> Variable:
    head = file.read(min(nbytes, _HEAD))
    lead, inflated = 0, nbytes
    if compressed:
        head, lead = zlib.decompressobj().decompress(head, _HEAD), 8  # begins with the tag of the matrix
        inflated = 8 + int(struct.unpack_from(order + "I", head, 4)[0])
        if inflated > DEFLATE * nbytes:
            raise struct.error(f"{nbytes} deflated bytes cannot hold {inflated}")
    (flags, _), position = _element(head, order, lead)
    flag_bits = struct.unpack_from(order + "I", flags)[0]
    (dimensions, _), position = _element(head, order, position)
    shape = tuple(struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions))
    (name, _), position = _element(head, order, position)
    kind = flag_bits & 0xFF
    class_name = "logical" if flag_bits & _LOGICAL and kind in _CLASSES else _CLASS_NAMES.get(kind, f"class {kind}")
    dtype = np.dtype(bool if class_name == "logical" else _CLASSES[kind]) if kind in _CLASSES else None
    stored, offset = None, position
    if dtype is not None and math.prod(shape):
        first, value_bytes = struct.unpack_from(order + "II", head, position)
        code = first & 0xFFFF if first >> 16 else first
        offset += 4 if first >> 16 else 8
        stored = np.dtype(order + _STORED[code])
        if len(shape) < 2 or min(shape) < 0 or (first >> 16 or value_bytes) != math.prod(shape) * stored.itemsize:
            raise struct.error("values do not fill the array")
        if offset + math.prod(shape) * stored.itemsize > inflated:
            raise struct.error("values reach beyond their element")
    place = (start, nbytes, inflated, position, offset, compressed)
    is_complex = bool(flag_bits & _COMPLEX)
    return Variable(name.decode("ascii"), shape, class_name, dtype, is_complex, order, stored, *place)


def read(path: Path, variable: Variable) -> npt.NDArray[Any]:
    """Read a variable: numbers, logicals or text."""
    if variable.dtype is None and variable.kind != "char":
        problem = f"is a {variable.kind}, expected an array"
        raise PortError(problem, code="wrong-type", file=path, field=variable.name)
    content = _content(path, variable)
    try:
        if not math.prod(variable.shape):
            return np.zeros(variable.shape, variable.dtype or "U1")
        real, position = _values(content, variable, variable.tag)
        if variable.dtype is None:
            return np.array(["".join(row) for row in real])
        if not variable.is_complex:
            return real.astype(variable.dtype, copy=False)
        imaginary, _ = _values(content, variable, position)
        values: npt.NDArray[Any] = real.astype(variable.dtype) + 1j * imaginary.astype(variable.dtype)
    except (struct.error, ValueError, KeyError) as error:
        raise _damaged(path, variable, f"damaged: {error}") from None
    return values


def _values(content: bytearray, variable: Variable, position: int) -> tuple[npt.NDArray[Any], int]:
    """Return the array whose tag is at `position`, in MATLAB's shape, and the place of the next tag."""
    word, nbytes = struct.unpack_from(variable.order + "II", content, position)
    code, start, end = (word & 0xFFFF, position + 4, position + 8) if word >> 16 else (word, position + 8, 0)
    nbytes = word >> 16 or nbytes
    end = end or start + nbytes + -nbytes % 8
    if variable.dtype is None:
        text = bytes(content[start : start + nbytes]).decode(_ENCODINGS[code][variable.order == ">"])
        return np.array(list(text)).reshape(variable.shape, order="F"), end
    stored = np.dtype(variable.order + _STORED[code])
    flat = np.frombuffer(content, stored, math.prod(variable.shape), start)
    return flat.astype(stored.newbyteorder("="), copy=False).reshape(variable.shape, order="F"), end


def _content(path: Path, variable: Variable) -> bytearray:
    """Return the whole element, inflated."""
    with path.open("rb") as file:
        file.seek(variable.start)
        if not variable.compressed:
            content = bytearray(variable.nbytes)
            file.readinto(content)
            return content
        stream, content = zlib.decompressobj(), bytearray()
        remaining = variable.nbytes
        while remaining and not stream.eof:
            piece = file.read(min(remaining, 1 << 20))
            remaining -= len(piece)
            try:
                content += stream.decompress(piece, variable.inflated + 1 - len(content))
            except zlib.error as error:
                raise _damaged(path, variable, f"damaged: {error}") from None
            if len(content) > variable.inflated:
                raise _damaged(path, variable, f"inflates to more than the {variable.inflated} bytes of its element")
        return content


def _element(head: bytes, order: str, position: int) -> tuple[tuple[bytes, int], int]:
    """Return the bytes and the type of the element at `position`, and the place of the next element."""
    word, nbytes = struct.unpack_from(order + "II", head, position)
    if word >> 16:  # four bytes or less lie in the tag itself
        return (head[position + 4 : position + 4 + (word >> 16)], word & 0xFFFF), position + 8
    return (head[position + 8 : position + 8 + nbytes], word), position + 8 + nbytes + -nbytes % 8


def inflate(path: Path, variable: Variable, piece: int = 1 << 20) -> Iterator[bytes]:
    """Yield the values of a compressed variable, piece by piece."""
    skip = variable.offset
    missing = math.prod(variable.shape) * (variable.stored.itemsize if variable.stored else 0)
    stream = zlib.decompressobj()
    with path.open("rb") as file:
        file.seek(variable.start)
        remaining = variable.nbytes
        packed = b""
        while missing:
            if not packed and remaining:
                packed = file.read(min(piece, remaining))
                remaining -= len(packed)
            try:
                values = stream.decompress(packed, piece)
            except zlib.error as error:
                raise _damaged(path, variable, f"damaged: {error}") from None
            packed = stream.unconsumed_tail
            if not values and not packed and not remaining:
                raise _damaged(path, variable, "truncated")
            content = values[skip : skip + missing]
            skip = max(0, skip - len(values))
            missing -= len(content)
            yield content


def _damaged(path: Path, variable: Variable, problem: str) -> PortError:
    return PortError(problem, code="damaged-file", file=path, field=variable.name, hint=_HINT)


def matrix_head(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return what precedes the values in a little-endian matrix element, its own tag included."""
    nbytes = math.prod(shape) * dtype.itemsize
    require_size(name, nbytes)
    code = {value: key for key, value in _CLASSES.items()}[dtype.str[1:]]
    kind = {value: key for key, value in _STORED.items()}[dtype.str[1:]]
    letters = name.encode("ascii")
    body = struct.pack("<IIII", _UINT32, 8, code, 0)
    body += _padded(struct.pack("<II", _INT32, 4 * len(shape)) + struct.pack(f"<{len(shape)}i", *shape))
    body += _padded(struct.pack("<II", _INT8, len(letters)) + letters)
    body += struct.pack("<II", kind, nbytes)
    return struct.pack("<II", _MATRIX, len(body) + nbytes + -nbytes % 8) + body


def require_size(name: str, nbytes: int) -> None:
    """Refuse a variable that is too large for -v6 and -v7."""
    if nbytes > LIMIT:
        problem = f"has {nbytes} bytes, a variable of -v6 or -v7 has at most {LIMIT}"
        raise PortError(problem, code="too-large", field=name, hint="use version -v7.3")


def _padded(element: bytes) -> bytes:
    return element + bytes(-len(element) % 8)
