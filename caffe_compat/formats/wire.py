"""Walk protobuf's wire format by descriptors, to separate the values of blobs from their message.

Reading inspects tags and lengths only: the values of a blob are located, never parsed. The rest, the hollow message, is
small and is parsed by protobuf. Writing splices the values in again, in the order of field numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.descriptor import FieldDescriptor as F

from caffe_compat.errors import ParseError
from caffe_compat.formats.extras import BLOB, MARK_NUMBER, WHERE, Descriptor, mark_bytes, repeated, varint

DEPTH_LIMIT = 100  # protobuf's own
PAYLOADS: dict[int, np.dtype[Any]] = {5: np.dtype("<f4"), 6: np.dtype("<f4"), 8: np.dtype("<f8"), 9: np.dtype("<f8")}
"""Fields of BlobProto with values: data, diff, double_data, double_diff."""

_WINDOW = 1 << 16
_RUN = 1 << 18
_FIXED = {1: 8, 5: 4}
_WIRE_TYPES = {F.TYPE_DOUBLE: 1, F.TYPE_FLOAT: 5, F.TYPE_STRING: 2, F.TYPE_BYTES: 2, F.TYPE_MESSAGE: 2}


class _Field(NamedTuple):
    """The facts about a field that the walk needs."""

    name: str
    wires: tuple[int, ...]
    repeated: bool
    text: bool
    message: Descriptor | None


@cache
def known_fields(descriptor: Descriptor) -> dict[int, _Field]:
    """Return the fields of a message by number."""
    fields = {}
    for f in descriptor.fields:
        wire = _WIRE_TYPES.get(f.type, 0)
        wires = (wire, 2) if repeated(f) and wire != 2 else (wire,)
        fields[f.number] = _Field(f.name, wires, repeated(f), f.type == F.TYPE_STRING, f.message_type)
    return fields


@dataclass(frozen=True)
class Segment:
    """Consecutive values in a file; if `tagged`, a tag byte precedes each."""

    start: int
    count: int
    tagged: bool


@dataclass
class Payload:
    """The places of one blob's values: segments by field number."""

    path: str
    start: int
    hollow: bytes = b""
    segments: dict[int, list[Segment]] = field(default_factory=dict)


class FileWindow:
    """The bytes of a file, read through a small window; `read` returns up to a count of bytes from an offset."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, file: str) -> None:
        self.read = read
        self.size = size
        self.file = file
        self._base = 0
        self._bytes = b""

    def varint(self, place: int, end: int) -> tuple[int, int]:
        """Return the integer at `place` and the place after it; -1 if it is incomplete."""
        value = shift = 0
        while place < end and shift < 70:
            if not 0 <= place - self._base < len(self._bytes):
                self._base, self._bytes = place, self.read(place, _WINDOW)
                if not self._bytes:
                    break
            byte = self._bytes[place - self._base]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, place
            shift += 7
        return -1, place

    def bytes(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`."""
        first = start - self._base
        if first >= 0 and end - self._base <= len(self._bytes):
            return self._bytes[first : end - self._base]
        content = self.read(start, end - start)
        if len(content) < end - start:
            raise self.error(start, "the file was truncated while it was read", "")
        return content

    def error(self, place: int, problem: str, path: str) -> ParseError:
        """Return an error with the byte and the path of the message."""
        return ParseError(f"byte {place}: {problem}", code="damaged-file", file=self.file, field=path or None)


class Hollow:
    """Read one message without the values of its blobs; `key` returns the reference to the n-th blob's values."""

    def __init__(self, window: FileWindow, key: Callable[[int], bytes]) -> None:
        self.window = window
        self.key = key
        self.payloads: list[Payload] = []

    def message(self, descriptor: Descriptor) -> bytes:
        """Return the bytes of the hollow message, and fill `payloads` with the places of its values."""
        return self._message(descriptor, 0, self.window.size, "", 0)

    def _message(self, descriptor: Descriptor, place: int, end: int, path: str, depth: int) -> bytes:
        if depth > DEPTH_LIMIT:
            raise self.window.error(place, f"messages nest deeper than {DEPTH_LIMIT}", path)
        blob = Payload(path, place) if descriptor.name == "BlobProto" else None
        fields = known_fields(descriptor)
        out: list[bytes] = []
        counts: dict[int, int] = {}
        while place < end:
            start = place
            tag, place = self._tag(place, end, path)
            number, wire = tag >> 3, tag & 7
            if blob is not None and number in PAYLOADS:
                after = self._payload(blob, number, wire, start, place, end)
                if after:
                    place = after
                    continue
            info = fields.get(number)
            if info is None or wire not in info.wires:
                place = self._skip(number, wire, place, end, path, depth)
                if number != MARK_NUMBER or wire != 2 or not self._private(start, place):
                    out.append(self.window.bytes(start, place))
                continue
            name = f"{path}.{info.name}" if path else info.name
            if info.message is None:
                place = self._skip(number, wire, place, end, name, depth)
                content = self.window.bytes(start, place)
                self._check(info, wire, content, start, name)
                out.append(content)
                continue
            if info.repeated:
                counts[number] = counts.get(number, -1) + 1
                name = f"{name}[{counts[number]}]"
            stop, place = self._length(place, end, name)
            body = self._message(info.message, place, stop, name, depth + 1)
            out += (varint(tag), varint(len(body)), body)
            place = stop
        if blob is not None:
            blob.hollow = b"".join(out)
            out.append(mark_bytes(BLOB, self.key(len(self.payloads))))
            self.payloads.append(blob)
        return b"".join(out)

    def _tag(self, place: int, end: int, path: str) -> tuple[int, int]:
        tag, after = self.window.varint(place, end)
        if tag < 0:
            raise self.window.error(place, "the file ends inside a field's tag", path)
        if tag >> 3 == 0 or tag >= 1 << 32 or tag & 7 > 5:
            raise self.window.error(place, "invalid field tag", path)
        return tag, after

    def _length(self, place: int, end: int, path: str) -> tuple[int, int]:
        """Return the places where a field ends and where its content begins."""
        length, after = self.window.varint(place, end)
        if length < 0:
            raise self.window.error(place, "the file ends inside a field's length", path)
        if length > end - after:
            problem = f"a field of {length} bytes, but {end - after} remain: truncated or malformed"
            raise self.window.error(place, problem, path)
        return after + length, after

    def _skip(self, number: int, wire: int, place: int, end: int, path: str, depth: int) -> int:
        if wire == 2:
            return self._length(place, end, path)[0]
        if wire in _FIXED:
            if end - place < _FIXED[wire]:
                raise self.window.error(place, "the file ends inside a number", path)
            return place + _FIXED[wire]
        if wire == 0:
            value, after = self.window.varint(place, end)
            if value < 0:
                raise self.window.error(place, "the file ends inside a number, or the number is malformed", path)
            return after
        if wire == 4 or depth > DEPTH_LIMIT:
            problem = (
                "the end of a group without its beginning" if wire == 4 else f"groups nest deeper than {DEPTH_LIMIT}"
            )
            raise self.window.error(place, problem, path)
        while True:
            tag, after = self._tag(place, end, path)
            if tag == number << 3 | 4:
                return after
            place = self._skip(tag >> 3, tag & 7, after, end, path, depth + 1)

    def _private(self, start: int, end: int) -> bool:
        """Whether a mark has a meaning inside a running program only."""
        return field_content(self.window.bytes(start, min(end, start + 16)))[:1] in (WHERE, BLOB)

    def _check(self, info: _Field, wire: int, content: bytes, start: int, name: str) -> None:
        if info.text:
            try:
                field_content(content).decode()
            except UnicodeDecodeError:
                raise self.window.error(start, "the string is not UTF-8", name) from None
        elif wire == 2 and info.repeated and info.wires[0] != 2:
            body, size = field_content(content), _FIXED.get(info.wires[0])
            if len(body) % size if size else body[-1:] >= b"\x80":
                raise self.window.error(start, "the list of numbers ends inside a number", name)

    def _payload(self, blob: Payload, number: int, wire: int, start: int, place: int, end: int) -> int:
        """Record the values at `place`; return the place after them, or 0 if the field has none."""
        size = PAYLOADS[number].itemsize
        segments = blob.segments.setdefault(number, [])
        if wire == 2:
            stop, place = self._length(place, end, blob.path)
            if (stop - place) % size:
                problem = f"{stop - place} bytes of values, expected a multiple of {size}"
                raise self.window.error(place, problem, blob.path)
            segments.append(Segment(place, (stop - place) // size, tagged=False))
            return stop
        if _FIXED.get(wire) != size or place - start != 1:
            return 0
        count = self._run(self.window.bytes(start, place), size + 1, start, end)
        if not count:
            raise self.window.error(place, "the file ends inside a number", blob.path)
        segments.append(Segment(start, count, tagged=True))
        return start + count * (size + 1)

    def _run(self, tag: bytes, step: int, start: int, end: int) -> int:
        """Return the number of consecutive values with the same one-byte tag."""
        count, total = 0, (end - start) // step
        while count < total:
            block = self.window.bytes(start + count * step, start + min(total, count + _RUN) * step)
            other = np.flatnonzero(np.frombuffer(block, np.uint8)[::step] != tag[0])
            if other.size:
                return count + int(other[0])
            count += len(block) // step
        return count


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, place


def field_content(field: bytes) -> bytes:
    """Return the content of a length-delimited field, without tag and length."""
    return field[_read_varint(field, _read_varint(field, 0)[1])[1] :]
