"""Keep the values of blobs as arrays, apart from their messages."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from caffe_compat.errors import FileError, ParseError
from caffe_compat.formats.extras import BLOB, MARK_NUMBER, WHERE, Descriptor, add_mark, marks, varint
from caffe_compat.formats.wire import PAYLOADS, FileWindow, Payload, Segment, known_fields
from caffe_compat.schema.caffe_pb2 import BlobProto

Array: TypeAlias = npt.NDArray[Any]
Part: TypeAlias = "bytes | Array"
SIZE_LIMIT = 2**31 - 1
"""The largest protobuf message in bytes."""

_DATA, _DIFF, _DOUBLE_DATA, _DOUBLE_DIFF = 5, 6, 8, 9
_LEGACY = ("num", "channels", "height", "width")


def blob_shape(blob: BlobProto) -> tuple[int, ...]:
    """Return a blob's shape, from `shape` or, if any is set, from the four legacy extents."""
    if any(blob.HasField(name) for name in _LEGACY):
        return tuple(getattr(blob, name) for name in _LEGACY)
    return tuple(blob.shape.dim)


class BlobStore:
    """The arrays of hollow messages: values of blobs that would be lists in protobuf.

    Copies and upgrades of a message refer to the same arrays.
    """

    def __init__(self) -> None:
        self._name = secrets.token_hex(6)
        self._values: dict[bytes, dict[int, Array]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def key(self, index: int) -> bytes:
        """Return the reference to the values of the `index`-th blob."""
        return f"{self._name}.{index}".encode()

    def put(self, key: bytes, values: dict[int, Array]) -> None:
        """Store flat arrays by field number of BlobProto (5 data, 6 diff, 8 double_data, 9 double_diff)."""
        self._values[key] = values

    def update(self, other: BlobStore) -> None:
        """Add the arrays of another store."""
        self._values.update(other._values)

    def data(self, blob: BlobProto) -> Array:
        """Return a view of a blob's values in its shape, in float32, or in float64 if the file has doubles."""
        values = self._find(blob, _DOUBLE_DATA, _DATA)
        if values is None:
            values = np.empty(0, np.float32)
        return values.reshape(_require_count(blob, values.size))

    def diff(self, blob: BlobProto) -> Array | None:
        """Return a blob's gradients in its shape, or None if it has none."""
        values = self._find(blob, _DOUBLE_DIFF, _DIFF)
        return None if values is None else values.reshape(_require_count(blob, values.size))

    def attach(
        self, blob: BlobProto, array: npt.ArrayLike, diff: npt.ArrayLike | None = None, *, legacy_shape: bool = False
    ) -> None:
        """Set the shape, values and gradients of `blob`, without a copy where possible.

        float64 is stored as `double_data`, other types as `data` in float32; with `legacy_shape` the four extents of
        old Caffe (1x1x1xN for a vector) replace `shape`.
        """
        values = _floats(array)
        fields = {_DOUBLE_DATA if values.dtype == np.float64 else _DATA: values.reshape(-1)}
        if diff is not None:
            grads = _floats(diff)
            if grads.shape != values.shape:
                problem = f"diff has shape {grads.shape}, data has shape {values.shape}"
                raise FileError(problem, code="shape-mismatch", field="diff")
            fields[_DOUBLE_DIFF if grads.dtype == np.float64 else _DIFF] = grads.reshape(-1)
        for name in ("shape", "data", "diff", "double_data", "double_diff", *_LEGACY):
            blob.ClearField(name)
        if legacy_shape:
            if values.ndim > 4:
                problem = f"shape {values.shape} has more than four axes, the limit of the legacy form"
                raise FileError(problem, code="unsupported", field="shape")
            for name, extent in zip(_LEGACY, (1,) * (4 - values.ndim) + values.shape, strict=True):
                setattr(blob, name, extent)
        else:
            blob.shape.dim.extend(values.shape)
        key = self.key(len(self._values))
        self._values[key] = fields
        add_mark(blob, BLOB, key)

    def values(self, key: bytes) -> dict[int, Array] | None:
        """Return the flat arrays of a reference by field number, or None."""
        return self._values.get(key)

    def _find(self, blob: BlobProto, double: int, single: int) -> Array | None:
        keys = marks(blob, BLOB)
        if keys:
            values = self._values.get(keys[-1])
            if values is None:
                problem, hint = (
                    "the values of this blob are in another BlobStore",
                    "pass the store that was read with it",
                )
                raise FileError(problem, code="mismatch", hint=hint)
            return values.get(double, values.get(single))
        for number in (double, single):
            numbers = getattr(blob, blob.DESCRIPTOR.fields_by_number[number].name)
            if len(numbers):
                return np.array(numbers, PAYLOADS[number])
        return None


def _require_count(blob: BlobProto, count: int) -> tuple[int, ...]:
    shape = blob_shape(blob)
    problem = count_problem(shape, count)
    if problem:
        raise FileError(problem, code="shape-mismatch", field="shape", value=shape)
    return shape


def count_problem(shape: Sequence[int], count: int) -> str | None:
    """Return why a blob of `count` values cannot have this shape, or None."""
    if any(extent < 0 for extent in shape):
        return f"shape {_format_shape(shape)} has a negative extent"
    if math.prod(shape) != count:
        return f"shape {_format_shape(shape)} expects {math.prod(shape)} values, the blob has {count}"
    return None


def _format_shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) if shape else "()"


def _floats(array: npt.ArrayLike) -> Array:
    values = np.asarray(array)
    return np.ascontiguousarray(values, np.float64 if values.dtype == np.float64 else np.float32).reshape(values.shape)


# From a file.


def fill(payload: Payload, read_into: Callable[[int, Array], None], file: str) -> dict[int, Array]:
    """Read a blob's arrays from their places in a file; `read_into` fills an array with the bytes from an offset."""
    arrays = {}
    for number, segments in payload.segments.items():
        kind = PAYLOADS[number]
        values = np.empty(sum(s.count for s in segments), kind)
        place = 0
        for segment in segments:
            part = values[place : place + segment.count]
            if segment.tagged:
                _read_tagged(segment, part, read_into)
            elif segment.count:
                read_into(segment.start, part.view(np.uint8))
            place += segment.count
        if values.size:
            arrays[number] = values
    blob = BlobProto.FromString(payload.hollow)
    for number, values in arrays.items():
        shadowed = (number == _DATA and _DOUBLE_DATA in arrays) or (number == _DIFF and _DOUBLE_DIFF in arrays)
        problem = None if shadowed else count_problem(blob_shape(blob), values.size)
        if problem:
            problem = f"byte {payload.start}: {problem}"
            raise ParseError(problem, code="damaged-file", file=file, field=payload.path or None)
    return arrays


def _read_tagged(segment: Segment, part: Array, read_into: Callable[[int, Array], None]) -> None:
    record = np.dtype([("tag", "u1"), ("value", part.dtype)])
    step = 1 << 16
    for first in range(0, segment.count, step):
        block = np.empty(min(step, segment.count - first), record)
        read_into(segment.start + first * record.itemsize, block.view(np.uint8))
        part[first : first + step] = block["value"]


# To a file.


@dataclass
class Spliced:
    """The parts of a serialised message, in order."""

    parts: list[Part] = field(default_factory=list)
    size: int = 0

    def add(self, part: Part) -> None:
        """Append bytes, or the bytes of an array."""
        self.parts.append(part)
        self.size += len(part) if isinstance(part, bytes) else part.nbytes

    def extend(self, other: Spliced) -> None:
        """Append the parts of another message."""
        self.parts += other.parts
        self.size += other.size


def splice(message: Message, store: BlobStore | None) -> Spliced:
    """Serialise a message with the values of its blobs, as parts that are not joined.

    Marks of the places of layers are left out; unknown fields stay.
    """
    data = message.SerializePartialToString()
    window = FileWindow(lambda start, count: data[start : start + count], len(data), "")
    return _splice(window, message.DESCRIPTOR, 0, len(data), store)


def _splice(window: FileWindow, descriptor: Descriptor, place: int, end: int, store: BlobStore | None) -> Spliced:
    out = Spliced()
    fields = known_fields(descriptor)
    arrays: dict[int, Array] = {}
    if descriptor.name == "BlobProto":
        arrays = _arrays(window.bytes(place, end), store)
    pending = sorted(arrays)
    while place < end:
        start = place
        tag, place = window.varint(place, end)
        number, wire = tag >> 3, tag & 7
        while pending and pending[0] < number:
            _add_values(out, pending.pop(0), arrays)
        field_info = fields.get(number)
        if wire == 2:
            length, place = window.varint(place, end)
            body, place = place, place + length
            if field_info is not None and field_info.message is not None:
                inner = _splice(window, field_info.message, body, place, store)
                out.add(varint(tag) + varint(inner.size))
                out.extend(inner)
                continue
            if number == MARK_NUMBER and window.bytes(body, body + 1) in (WHERE, BLOB):
                continue
        else:
            place = skip(window, number, wire, place, end)
        if number not in arrays:
            out.add(window.bytes(start, place))
    for number in pending:
        _add_values(out, number, arrays)
    return out


def skip(window: FileWindow, number: int, wire: int, place: int, end: int) -> int:
    """Return the place after a field; the bytes must be well formed."""
    if wire == 0:
        return window.varint(place, end)[1]
    if wire in (1, 5):
        return place + (8 if wire == 1 else 4)
    if wire == 2:
        length, place = window.varint(place, end)
        return place + length
    while True:
        tag, place = window.varint(place, end)
        if tag == number << 3 | 4:
            return place
        place = skip(window, tag >> 3, tag & 7, place, end)


def _arrays(blob: bytes, store: BlobStore | None) -> dict[int, Array]:
    keys = marks(BlobProto.FromString(blob), BLOB)
    if not keys:
        return {}
    arrays = None if store is None else store.values(keys[-1])
    if arrays is None:
        problem, hint = "the values of a blob are not in the given BlobStore", "pass the store that was read with it"
        raise FileError(problem, code="mismatch", hint=hint)
    return {number: values for number, values in arrays.items() if values.size}


def _add_values(out: Spliced, number: int, arrays: dict[int, Array]) -> None:
    values = np.ascontiguousarray(arrays[number], PAYLOADS[number])
    out.add(varint(number << 3 | 2) + varint(values.nbytes))
    out.add(values)
