"""Read and write model files: prototxt, caffemodel, binaryproto, solverstate, and snapshots in HDF5.

Text is read into a message; a binary file into a hollow message and a :class:`BlobStore` with its arrays. Definitions
are not upgraded here (see :mod:`caffe_compat.definition.upgrade`). A file is written under a temporary name and renamed
when complete.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from caffe_compat.errors import Code, FileError, ParseError
from caffe_compat.formats.atomic import PARTIAL, HDF5Writer, atomic_path, grown_hdf5, new_hdf5
from caffe_compat.formats.blobs import SIZE_LIMIT, Array, BlobStore, blob_shape, fill, splice
from caffe_compat.formats.extras import (
    UnknownField,
    Where,
    all_unknown_fields,
    missing_fields,
    plain,
    same,
    unknown_fields,
    where,
)
from caffe_compat.formats.regular_file import require_regular
from caffe_compat.formats.sniff import guess_content, is_text, recognise_format
from caffe_compat.formats.text import format_text, parse_text
from caffe_compat.formats.wire import FileWindow, Hollow
from caffe_compat.schema.caffe_pb2 import NetParameter, SolverParameter, SolverState

if TYPE_CHECKING:
    import h5py

__all__ = [
    "PARTIAL",
    "BlobStore",
    "HDF5Writer",
    "SolverSnapshot",
    "UnknownField",
    "Where",
    "all_unknown_fields",
    "atomic_path",
    "blob_shape",
    "format_text",
    "grown_hdf5",
    "is_hdf5",
    "new_hdf5",
    "parse_text",
    "plain",
    "read_binary",
    "read_net",
    "read_solver",
    "read_solverstate",
    "read_text",
    "read_weights_h5",
    "same",
    "unknown_fields",
    "where",
    "write_binary",
    "write_solverstate",
    "write_text",
    "write_weights_h5",
]

PathLike: TypeAlias = str | os.PathLike[str]
M = TypeVar("M", bound=Message)


@dataclass
class SolverSnapshot:
    """The state of a solver, from which training resumes together with the weights."""

    iter: int = 0
    learned_net: str = ""
    """Path of the weights saved with the state; may be empty."""
    current_step: int = 0
    """Number of steps of the learning-rate policy done."""
    history: list[Array] = field(default_factory=list)
    """The solver's arrays, in Caffe's order."""


def read_bytes(path: PathLike) -> bytes:
    """Read a whole file; a folder, a device and a named pipe are refused."""
    with _open(path) as file:
        return file.read()


# Text.


def read_text(path: PathLike, cls: type[M]) -> M:
    """Read a message from a text file (prototxt); an error in the text has line, column and field."""
    content, name = read_bytes(path), os.fspath(path)
    problem = recognise_format(content[:1024])
    if problem is None and not is_text(content[:4096]):
        problem = "a binary file, perhaps a caffemodel"
    if problem:
        raise FileError(f"expected a prototxt, got {problem}", code="wrong-format", file=name)
    return parse_text(content.decode("utf-8", "surrogateescape"), cls, file=name)


def read_net(path: PathLike) -> NetParameter:
    """Read the definition of a net from a prototxt, without upgrading it."""
    net = read_text(path, NetParameter)
    _refuse_other(net, SolverParameter, "expected a net, got a solver", path)
    return net


def read_solver(path: PathLike) -> SolverParameter:
    """Read the definition of a solver from a prototxt, without upgrading it."""
    solver = read_text(path, SolverParameter)
    _refuse_other(solver, NetParameter, "expected a solver, got a net", path)
    return solver


def _refuse_other(message: Message, other: type[Message], problem: str, path: PathLike) -> None:
    """Refuse a message most of whose fields belong to another type of message."""
    names = [unknown.field for unknown in unknown_fields(message)]
    if len(names) > len(message.ListFields()) and all(name in other.DESCRIPTOR.fields_by_name for name in names):
        raise FileError(problem, code="wrong-format", file=path)


def write_text(message: Message, path: PathLike) -> None:
    """Write a message in text format."""
    text = format_text(message)
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


# Binary.


def read_binary(path: PathLike, cls: type[M]) -> tuple[M, BlobStore]:
    """Read a message from a binary file, and the values of its blobs; an error in the file names the byte."""
    name = os.fspath(path)
    with _open(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(4096)
        if not head:
            raise FileError("is empty", code="empty", file=name)
        problem = recognise_format(head)
        if problem:
            raise FileError(f"expected a binary {cls.DESCRIPTOR.name}, got {problem}", code="wrong-format", file=name)
        try:
            return _read_hollow(file, size, name, cls)
        except ParseError as error:
            error.hint = error.hint or guess_content(head, cls.DESCRIPTOR.name)
            raise


def _read_hollow(file: BinaryIO, size: int, name: str, cls: type[M]) -> tuple[M, BlobStore]:
    def read(start: int, count: int) -> bytes:
        file.seek(start)
        return file.read(count)

    def read_into(start: int, array: Array) -> None:
        file.seek(start)
        view = array.data
        while view:
            count = file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                problem = f"byte {start}: the file was truncated while it was read"
                raise ParseError(problem, code="damaged-file", file=name)
            view, start = view[count:], start + count

    store = BlobStore()
    window = FileWindow(read, size, name)
    hollow = Hollow(window, store.key)
    content = hollow.message(cls.DESCRIPTOR)
    message = cls()
    try:
        message.MergeFromString(content)
    except DecodeError as error:
        raise ParseError(f"is not a {cls.DESCRIPTOR.name}: {error}", code="wrong-format", file=name) from None
    if not message.IsInitialized():
        missing = ", ".join(missing_fields(message))
        raise ParseError(f"lacks the required field {missing}", code="field-missing", file=name)
    if not message.ListFields() and not hollow.payloads:
        raise ParseError(f"has no field of a {cls.DESCRIPTOR.name}", code="wrong-format", file=name)

    for index, payload in enumerate(hollow.payloads):
        store.put(store.key(index), fill(payload, read_into, name))
    return message, store


def write_binary(message: Message, path: PathLike, store: BlobStore | None = None) -> None:
    """Write a message with the bytes that Caffe would write; `store` has the values of a hollow message's blobs."""
    spliced = splice(message, store)
    if spliced.size > SIZE_LIMIT:
        problem = f"{spliced.size} bytes exceed the {SIZE_LIMIT} that protobuf, and so Caffe, can read"
        raise FileError(problem, code="too-large", file=path, hint="HDF5 has no such limit")
    with atomic_path(path) as partial, partial.open("wb") as file:
        for part in spliced.parts:
            file.write(part if isinstance(part, bytes) else part.view(np.uint8).data)


# Snapshots.


def is_hdf5(path: PathLike) -> bool:
    """Whether a file is HDF5, judged by its content."""
    with _open(path) as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def read_weights_h5(path: PathLike) -> dict[str, list[Array | None]]:
    """Read the blobs of every layer from an HDF5 snapshot, in Caffe's order.

    A blob that the file omits because another layer owns it (shared weights) is None.
    """
    from caffe_compat.formats import snapshots

    with _hdf5(path) as file:
        return snapshots.read_weights(file, os.fspath(path))


def write_weights_h5(
    path: PathLike,
    mapping: Mapping[str, Sequence[Array | None]],
    diffs: Mapping[str, Sequence[Array | None]] | None = None,
) -> None:
    """Write the blobs of every layer as Caffe's HDF5 snapshot; None is a blob that another layer owns."""
    from caffe_compat.formats import snapshots

    snapshots.require_names(mapping, os.fspath(path))
    with new_hdf5(path) as writer:
        writer.do(lambda file: snapshots.write_weights(file, mapping, diffs))


def read_solverstate(path: PathLike) -> SolverSnapshot:
    """Read a solver's state from a binary or an HDF5 file."""
    if is_hdf5(path):
        from caffe_compat.formats import snapshots

        with _hdf5(path) as file:
            return SolverSnapshot(*snapshots.read_state(file, os.fspath(path)))
    state, store = read_binary(path, SolverState)
    history = []
    for index, blob in enumerate(state.history):
        try:
            history.append(store.data(blob))
        except FileError as error:
            raise ParseError(error.problem, code=error.code, file=path, field=f"history[{index}]") from None
    return SolverSnapshot(state.iter, state.learned_net, state.current_step, history)


def write_solverstate(snapshot: SolverSnapshot, path: PathLike, fmt: str = "BINARYPROTO") -> None:
    """Write a solver's state; `fmt` is ``"BINARYPROTO"`` or ``"HDF5"``, the identifiers of `snapshot_format`."""
    if fmt == "HDF5":
        from caffe_compat.formats import snapshots

        values = (snapshot.iter, snapshot.learned_net, snapshot.current_step, snapshot.history)
        with new_hdf5(path) as writer:
            writer.do(lambda file: snapshots.write_state(file, *values))
        return
    if fmt != "BINARYPROTO":
        hint = "use BINARYPROTO or HDF5"
        raise FileError("unknown snapshot format", code="name-unknown", field="fmt", value=fmt, hint=hint)
    state, store = SolverState(), BlobStore()
    state.iter = snapshot.iter
    state.learned_net = snapshot.learned_net
    state.current_step = snapshot.current_step
    for array in snapshot.history:
        store.attach(state.history.add(), array)
    write_binary(state, path, store)


# Opening.


@contextlib.contextmanager
def _open(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file for reading, unbuffered; a pipe, which cannot seek, is read into memory first."""
    require_regular(path)
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            yield file if file.seekable() else io.BytesIO(file.read())
    except IsADirectoryError:
        raise FileError("is a folder, expected a file", code="wrong-format", file=path) from None
    except OSError as error:
        code: Code = "file-missing" if isinstance(error, FileNotFoundError) else "file-unreadable"
        raise FileError(f"cannot be read: {error.strerror or error}", code=code, file=path) from error


@contextlib.contextmanager
def _hdf5(path: PathLike) -> Iterator[h5py.File]:
    from caffe_compat.formats.hdf5_reader import open_hdf5

    if not is_hdf5(path):
        raise FileError("is not an HDF5 file", code="wrong-format", file=path)
    try:
        with open_hdf5(path) as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"the HDF5 file is damaged: {error}", code="damaged-file", file=path) from error
