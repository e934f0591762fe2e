"""The only module that opens model files: prototxt, caffemodel, binaryproto, solverstate, and the HDF5 snapshot forms.

Text gives a message; a binary file gives a hollow message and a :class:`BlobStore` with its arrays. Nothing is upgraded
here (:mod:`caffe_compat.definition.upgrade` does that). A file is written beside its final name, and renamed when
complete.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias, TypeVar

import h5py
import numpy as np
from google.protobuf.message import DecodeError, Message

from caffe_compat.errors import FileError, ParseError
from caffe_compat.formats import snapshots
from caffe_compat.formats.atomic import PARTIAL, HDF5Writer, atomic_path, grown_hdf5, new_hdf5
from caffe_compat.formats.blobs import SIZE_LIMIT, Array, BlobStore, blob_shape, fill, splice
from caffe_compat.formats.extras import (
    UnknownField,
    Where,
    all_unknown_fields,
    missing_fields,
    plain,
    refuse_unknown_fields,
    same,
    unknown_fields,
    where,
)
from caffe_compat.formats.hdf5_reader import open_hdf5
from caffe_compat.formats.printer import format_text
from caffe_compat.formats.regular_file import require_regular
from caffe_compat.formats.sniff import is_text, kind_of, looks_like
from caffe_compat.formats.text import parse_text
from caffe_compat.formats.wire import FileWindow, Hollow
from caffe_compat.schema.caffe_pb2 import NetParameter, SolverParameter, SolverState

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
    "read_solverstate_h5",
    "read_text",
    "read_weights_h5",
    "refuse_unknown_fields",
    "same",
    "unknown_fields",
    "where",
    "write_binary",
    "write_solverstate",
    "write_solverstate_h5",
    "write_text",
    "write_weights_h5",
]

PathLike: TypeAlias = str | os.PathLike[str]
M = TypeVar("M", bound=Message)


@dataclass
class SolverSnapshot:
    """What a solver needs, besides the weights, to go on.

    Attributes
    ----------
    iter : iterations done.
    learned_net : path of the weights saved with it; may be empty.
    current_step : steps of the learning-rate policy done.
    history : the solver's own arrays, in Caffe's order.
    """

    iter: int = 0
    learned_net: str = ""
    current_step: int = 0
    history: list[Array] = field(default_factory=list)


# Text.


def read_text(path: PathLike, cls: type[M]) -> M:
    """Return the message in a text file (prototxt).

    Raises
    ------
    FileError
        If the file cannot be read, or is no text.
    ParseError
        If the text does not follow the format: with line, column and field.
    """
    with _opened(path) as file:
        content = file.read()
    name = os.fspath(path)
    problem = kind_of(content[:1024])
    if problem is None and not is_text(content[:4096]):
        problem = "a binary file, perhaps a caffemodel"
    if problem:
        raise FileError(f"this is {problem}; a prototxt is expected", file=name)
    return parse_text(content.decode("utf-8", "surrogateescape"), cls, file=name)


def read_net(path: PathLike) -> NetParameter:
    """Return the net defined in a prototxt, as it is written there."""
    net = read_text(path, NetParameter)
    _refuse_other(net, SolverParameter, "a solver; a net is expected", path)
    return net


def read_solver(path: PathLike) -> SolverParameter:
    """Return the solver defined in a prototxt, as it is written there."""
    solver = read_text(path, SolverParameter)
    _refuse_other(solver, NetParameter, "a net; a solver is expected", path)
    return solver


def _refuse_other(message: Message, other: type[Message], problem: str, path: PathLike) -> None:
    """Refuse a message most of whose fields only another kind of message has."""
    names = [unknown.field for unknown in unknown_fields(message)]
    if len(names) > len(message.ListFields()) and all(name in other.DESCRIPTOR.fields_by_name for name in names):
        raise FileError(f"this is {problem}", file=os.fspath(path))


def write_text(message: Message, path: PathLike) -> None:
    """Write a message in text format."""
    text = format_text(message)
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


# Binary.


def read_binary(path: PathLike, cls: type[M]) -> tuple[M, BlobStore]:
    """Return the message in a binary file, and the values of its blobs.

    Parameters
    ----------
    path : caffemodel, solverstate or binaryproto.
    cls : NetParameter, SolverState, BlobProto or BlobProtoVector.

    Raises
    ------
    ParseError
        If the file is truncated or malformed, or a blob's shape does not fit its values: with byte and message.
    """
    name = os.fspath(path)
    with _opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(4096)
        if not head:
            raise FileError("the file is empty", file=name)
        problem = kind_of(head)
        if problem:
            raise FileError(f"this is {problem}; a binary {cls.DESCRIPTOR.name} is expected", file=name)
        try:
            return _read_hollow(file, size, name, cls)
        except ParseError as error:
            error.hint = error.hint or looks_like(head, cls.DESCRIPTOR.name)
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
                raise ParseError(f"byte {start}: the file became shorter while it was read", file=name)
            view, start = view[count:], start + count

    store = BlobStore()
    window = FileWindow(read, size, name)
    hollow = Hollow(window, store.key)
    content = hollow.message(cls.DESCRIPTOR)
    message = cls()
    try:
        message.MergeFromString(content)
    except DecodeError as error:
        raise ParseError(f"not a {cls.DESCRIPTOR.name}: {error}", file=name) from None
    if not message.IsInitialized():
        missing = ", ".join(missing_fields(message))
        raise ParseError(f"required field missing: {missing}", file=name)
    if not message.ListFields() and not hollow.payloads:
        raise ParseError(f"nothing in this file belongs to a {cls.DESCRIPTOR.name}", file=name)

    for index, payload in enumerate(hollow.payloads):
        store.put(store.key(index), fill(payload, read_into, name))
    return message, store


def write_binary(message: Message, path: PathLike, store: BlobStore | None = None) -> None:
    """Write a message as Caffe writes it, byte for byte.

    Parameters
    ----------
    message : may be hollow.
    store : holds the values of a hollow message's blobs.

    Raises
    ------
    FileError
        If the file would exceed protobuf's 2 GiB (nothing is written then), or cannot be written.
    """
    spliced = splice(message, store)
    if spliced.size > SIZE_LIMIT:
        problem = f"{spliced.size} bytes exceed the {SIZE_LIMIT} that protobuf, and so Caffe, can read"
        raise FileError(problem, file=os.fspath(path), hint="HDF5 has no such limit")
    with atomic_path(path) as partial, partial.open("wb") as file:
        for part in spliced.parts:
            file.write(part if isinstance(part, bytes) else part.view(np.uint8).data)


# Snapshots.


def is_hdf5(path: PathLike) -> bool:
    """Whether a file is HDF5, whatever its name."""
    with _opened(path) as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def read_weights_h5(path: PathLike) -> dict[str, list[Array | None]]:
    """Return the blobs of every layer in an HDF5 snapshot, in the order Caffe reads them.

    A blob that the file leaves out because another layer owns it (shared weights) is None.
    """
    with _hdf5(path) as file:
        return snapshots.read_weights(file, os.fspath(path))


def write_weights_h5(
    path: PathLike,
    mapping: Mapping[str, Sequence[Array | None]],
    diffs: Mapping[str, Sequence[Array | None]] | None = None,
) -> None:
    """Write the blobs of every layer, and their gradients if given, as Caffe's HDF5 snapshot does.

    Parameters
    ----------
    mapping : blobs by layer name; a layer without blobs has an empty list, a blob owned by another layer is None.
    diffs : the same for gradients.
    """
    snapshots.check_names(mapping, os.fspath(path))
    with new_hdf5(path) as writer:
        writer.do(lambda file: snapshots.write_weights(file, mapping, diffs))


def read_solverstate(path: PathLike) -> SolverSnapshot:
    """Return a solver's state from either form of file."""
    if is_hdf5(path):
        return read_solverstate_h5(path)
    state, store = read_binary(path, SolverState)
    history = []
    for index, blob in enumerate(state.history):
        try:
            history.append(store.data(blob))
        except FileError as error:
            raise ParseError(error.problem, file=os.fspath(path), field=f"history[{index}]") from None
    return SolverSnapshot(state.iter, state.learned_net, state.current_step, history)


def read_solverstate_h5(path: PathLike) -> SolverSnapshot:
    """Return a solver's state from its HDF5 form."""
    with _hdf5(path) as file:
        return SolverSnapshot(*snapshots.read_state(file, os.fspath(path)))


def write_solverstate(snapshot: SolverSnapshot, path: PathLike, fmt: str = "BINARYPROTO") -> None:
    """Write a solver's state.

    Parameters
    ----------
    fmt : ``"BINARYPROTO"`` or ``"HDF5"``, the identifiers of `snapshot_format`.
    """
    if fmt == "HDF5":
        write_solverstate_h5(snapshot, path)
        return
    if fmt != "BINARYPROTO":
        raise FileError("unknown snapshot format", value=fmt, hint="BINARYPROTO or HDF5")
    state, store = SolverState(), BlobStore()
    state.iter = snapshot.iter
    state.learned_net = snapshot.learned_net
    state.current_step = snapshot.current_step
    for array in snapshot.history:
        store.attach(state.history.add(), array)
    write_binary(state, path, store)


def write_solverstate_h5(snapshot: SolverSnapshot, path: PathLike) -> None:
    """Write a solver's state in its HDF5 form."""
    state = (snapshot.iter, snapshot.learned_net, snapshot.current_step, snapshot.history)
    with new_hdf5(path) as writer:
        writer.do(lambda file: snapshots.write_state(file, *state))


# Opening.


@contextlib.contextmanager
def _opened(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file to read, unbuffered; what cannot be sought in (a pipe) is read first."""
    name = os.fspath(path)
    require_regular(path)
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            yield file if file.seekable() else io.BytesIO(file.read())
    except IsADirectoryError:
        raise FileError("this is a folder; a file is expected", file=name) from None
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror or error}", file=name) from error


@contextlib.contextmanager
def _hdf5(path: PathLike) -> Iterator[h5py.File]:
    name = os.fspath(path)
    if not is_hdf5(path):
        raise FileError("this is no HDF5 file", file=name)
    try:
        with open_hdf5(path) as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"this HDF5 file is damaged: {error}", file=name) from error
