"""Write the frames of a video into a MAT-file as they come; the whole video is never in memory."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt
import scipy.io

from matlab_ports._support import mat5, mat73
from matlab_ports._support.errors import PortError
from matlab_ports._support.files import atomic_path, report_write_errors, require_folder

Array = npt.NDArray[Any]
Variables = Mapping[str, Array]
Put = Callable[[Array], object]

VERSIONS = ("-v6", "-v7", "-v7.3")
_TEXT = "MATLAB 5.0 MAT-file, Platform: matlab_ports"  # no date: the same variables give the same bytes
_LEVEL = 3  # of zlib: faster than the usual 6 and hardly larger on images


def require_version(version: str) -> None:
    """Refuse a version that `savemat` does not write."""
    if version not in VERSIONS:
        hint = f"use {', '.join(VERSIONS)}"
        raise PortError("unknown version of MAT-files", code="name-unknown", field="version", value=version, hint=hint)


def encode(variables: Variables, *, compress: bool) -> bytes:
    """Return the bytes of a level 5 file, header included."""
    for name, values in variables.items():
        mat5.require_size(name, values.nbytes)
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, dict(variables), format="5", do_compression=compress, oned_as="row")
    return mat5.header(_TEXT) + buffer.getvalue()[mat5.HEADER :]


class FramesWriter:
    """Write the frames of a video into a MAT-file as they come.

    Parameters
    ----------
    path
        The file, in a folder that exists. It appears, complete, when the ``with`` block succeeds.
    name
        The variable.
    shape
        (H, W, T), T the number of frames to come.
    dtype
        Its class.
    version
        ``-v6`` (frames can be read from their place), ``-v7`` (deflated) or ``-v7.3``.
    variables
        Further variables, written behind the frames; one-dimensional arrays become 1 x N.

    Raises
    ------
    PortError
        The file cannot be written, a block has another size, or the number of frames is not T.
    """

    def __init__(
        self,
        path: str | Path,
        name: str = "video",
        *,
        shape: tuple[int, int, int],
        dtype: npt.DTypeLike = np.float64,
        version: str = "-v6",
        variables: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        self._path, self._name, self._shape = Path(path), name, shape
        self._dtype, self._version = np.dtype(dtype).newbyteorder("<"), version
        self._variables = {key: np.atleast_2d(np.asarray(value)) for key, value in (variables or {}).items()}
        self._count = 0
        self._stack = ExitStack()
        self._put: Put | None = None
        require_version(version)
        require_folder(self._path)
        mat73.class_name(self._dtype, name)
        # MATLAB drops a last dimension of 1
        dimensions = shape[: 2 if shape[2] == 1 else 3]
        self._head = b"" if version == "-v7.3" else mat5.matrix_head(name, dimensions, self._dtype)

    def __enter__(self) -> Self:
        size = 0 if self._version == "-v7" else math.prod(self._shape) * self._dtype.itemsize
        with ExitStack() as stack, report_write_errors(self._path):
            temporary = stack.enter_context(atomic_path(self._path, size))
            self._put = stack.enter_context(self._sink(temporary))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._count != self._shape[2]:
            wrong_count = self._wrong_count()
            self._stack.__exit__(PortError, wrong_count, None)
            raise wrong_count
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with report_write_errors(self._path):
            self._stack.__exit__(None, None, None)

    def append(self, block: npt.ArrayLike) -> None:
        """Add frames: (H, W, n), or one frame (H, W)."""
        frames = np.asarray(block)
        frames = frames[:, :, None] if frames.ndim == 2 else frames
        if frames.ndim != 3 or frames.shape[:2] != self._shape[:2]:
            problem = f"block has shape {np.shape(block)}, expected frames of {self._shape[:2]}"
            raise PortError(problem, code="shape-mismatch", file=self._path)
        self._count += frames.shape[2]
        if self._count > self._shape[2]:
            raise self._wrong_count()
        assert self._put is not None, "append is called inside the with block"
        with report_write_errors(self._path):
            self._put(np.ascontiguousarray(frames.T, self._dtype))

    def _wrong_count(self) -> PortError:
        problem = f"got {self._count} frames, expected {self._shape[2]}"
        return PortError(problem, code="wrong-count", file=self._path)

    def _sink(self, path: Path) -> AbstractContextManager[Put]:
        if self._version == "-v7.3":
            return _hdf5_sink(path, self._name, self._shape, self._dtype, self._variables)
        rest = encode(self._variables, compress=self._version == "-v7")[mat5.HEADER :]
        padding = bytes(-math.prod(self._shape) * self._dtype.itemsize % 8)
        sink = _deflated_sink if self._version == "-v7" else _plain_sink
        return sink(path, self._head, padding, rest)


@contextmanager
def _plain_sink(path: Path, head: bytes, padding: bytes, rest: bytes) -> Iterator[Put]:
    with path.open("r+b") as file:
        file.write(mat5.header(_TEXT) + head)
        yield lambda frames: file.write(frames.data)
        file.write(padding + rest)
        file.truncate()


@contextmanager
def _deflated_sink(path: Path, head: bytes, padding: bytes, rest: bytes) -> Iterator[Put]:
    stream = zlib.compressobj(_LEVEL)
    with path.open("r+b") as file:
        file.write(mat5.header(_TEXT) + bytes(8) + stream.compress(head))
        yield lambda frames: file.write(stream.compress(frames.data))
        file.write(stream.compress(padding) + stream.flush())
        nbytes = file.tell() - mat5.HEADER - 8
        if nbytes >= 2**32:
            problem = f"{nbytes} bytes are too many for version -v7"
            raise PortError(problem, code="too-large", file=path, hint="use version -v7.3")
        file.write(rest)
        file.seek(mat5.HEADER)
        file.write(struct.pack("<II", 15, nbytes))


@contextmanager
def _hdf5_sink(
    path: Path, name: str, shape: tuple[int, int, int], dtype: np.dtype[Any], variables: Variables
) -> Iterator[Put]:
    def create(file: h5py.File) -> None:
        file.create_dataset(name, shape[::-1], dtype).attrs["MATLAB_class"] = np.bytes_(mat73.class_name(dtype, name))

    def write(file: h5py.File, block: Array, start: int) -> None:
        file[name][start : start + len(block)] = block

    with mat73.create(path) as writer:
        writer.do(create)
        done = 0

        def put(block: Array) -> None:
            nonlocal done
            writer.do(lambda file: write(file, block, done))
            done += len(block)

        yield put
        writer.do(partial(mat73.put_all, variables=variables))
    mat73.finish(path)
