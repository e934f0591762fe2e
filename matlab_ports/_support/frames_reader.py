"""Read the frames of a video in a MAT-file a few at a time; the whole video is never in memory.

In a file of any version, frames lie one after the other, columns first as MATLAB orders them. Uncompressed frames
(``-v6``, and ``-v7.3`` without filters) are read from their place. Deflated frames are inflated once, piece by piece,
into an unnamed scratch file that disappears when it is closed.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from matlab_ports._support import mat5, mat73
from matlab_ports._support.errors import PortError
from matlab_ports._support.files import require_file

Array = npt.NDArray[Any]
_PIECE = 1 << 22  # bytes inflated at once
_HINT = "write the file again"


class Frames:
    """The frames of one variable, H x W x T; made by `open_frames`, closed by ``with`` or `close`.

    Attributes
    ----------
    path
        The file.
    shape
        (H, W, T).
    dtype
        The variable's class.
    """

    def __init__(
        self, path: Path, name: str, file: io.BufferedIOBase, offset: int, stored: np.dtype[Any], dtype: np.dtype[Any]
    ) -> None:
        self.path, self.name, self.dtype = path, name, dtype
        self._file, self._offset, self._stored = file, offset, stored
        self._local = threading.local()
        self.shape = (0, 0, 0)

    def _with_shape(self, shape: tuple[int, ...]) -> Self:
        if len(shape) not in (2, 3) or 0 in shape[:2]:
            size = " x ".join(map(str, shape))
            problem = f"has shape {size}, expected H x W x T"
            raise PortError(problem, code="shape-mismatch", file=self.path, field=self.name)
        self.shape = (*shape, 1)[:3]  # type: ignore[assignment]  # MATLAB drops a last dimension of 1
        return self

    def __len__(self) -> int:
        return self.shape[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def take(self, indices: npt.ArrayLike) -> Array:
        """Return frames, (H, W, n) of the variable's class, column-major, by 0-based indices in any order."""
        numbers = np.asarray(indices, dtype=np.int64).reshape(-1).tolist()
        height, width, _ = self.shape
        frames = np.empty((height, width, len(numbers)), self.dtype, order="F")
        for place, index in enumerate(numbers):
            self.read_into(index, frames[:, :, place])
        return frames

    def read_into(self, index: int, out: Array) -> None:
        """Read one frame, 0-based, into an array (H, W) of any type, which converts it while it is in the cache."""
        height, width, count = self.shape
        if not 0 <= index < count:
            problem = f"frame {index} is out of range 0 to {count - 1}"
            raise PortError(problem, code="out-of-range", file=self.path, field=self.name)
        try:
            frame, target = self._local.frame
        except AttributeError:  # this thread's first frame
            frame = np.empty((width, height), self._stored)
            target = frame.reshape(-1).view(np.uint8).data
            self._local.frame = frame, target
        if _read_at(self.path, self._file.fileno(), target, self._offset + index * len(target)) != len(target):
            raise PortError("truncated", code="damaged-file", file=self.path, field=self.name, hint=_HINT)
        out.T[...] = frame


def _read_at(path: Path, descriptor: int, target: memoryview, place: int) -> int:
    """Fill `target` with the bytes from `place` on; a memory map would count as memory of this process."""
    done = 0
    while done < len(target):
        try:
            count = os.preadv(descriptor, [target[done:]], place + done)
        except OSError as error:
            raise PortError(f"cannot be read: {error.strerror}", code="file-unreadable", file=path) from None
        if not count:
            break
        done += count
    return done


def open_frames(path: str | Path, name: str = "video", *, scratch: str | Path | None = None) -> Frames:
    """Open the frames of a video in a MAT-file of version 5 or later.

    Parameters
    ----------
    path, name
        The file and its variable: real numbers, H x W x T.
    scratch
        Folder for an inflated copy of a deflated variable; by default the system's folder of temporary files.

    Returns
    -------
    Frames
        A context manager.

    Raises
    ------
    PortError
        The file cannot be read, lacks the variable, or the variable is not an array of frames.
    """
    path = Path(path)
    require_matfile(path)
    folder = None if scratch is None else Path(scratch)
    if mat73.is_hdf5(path):
        return _open_73(path, name, folder)
    names = []
    for variable in mat5.variables(path):
        if variable.name == name:
            break
        names.append(variable.name)
    else:
        raise unknown_variables(path, [name], names)
    if variable.dtype is None or variable.dtype == bool or variable.is_complex:
        raise PortError("expected an array of real numbers, H x W x T", code="wrong-type", file=path, field=name)
    stored = variable.stored or variable.dtype
    if not variable.compressed:
        end = variable.offset + math.prod(variable.shape) * stored.itemsize
        if end > variable.nbytes:
            raise PortError("damaged", code="damaged-file", file=path, field=name, hint=_HINT)
        # buffering would read ahead of every frame
        file: Any = path.open("rb", buffering=0)
        offset = variable.start + variable.offset
    else:
        size = math.prod(variable.shape) * stored.itemsize
        file, offset = _inflate_to_scratch(path, folder, mat5.inflate(path, variable), size), 0
    return _checked(Frames(path, name, file, offset, stored, variable.dtype), variable.shape)


def _checked(frames: Frames, shape: tuple[int, ...]) -> Frames:
    try:
        return frames._with_shape(shape)
    except PortError:
        frames.close()
        raise


def _open_73(path: Path, name: str, folder: Path | None) -> Frames:
    with open_hdf5(path) as source:
        names = mat73.variable_names(source)
        if name not in names:
            raise unknown_variables(path, [name], names)
        video = mat73.require_dataset(source, name)
        if video.dtype.kind == "V" or "MATLAB_empty" in video.attrs or mat73.stored_class(video) in ("char", "logical"):
            raise PortError("expected an array of real numbers, H x W x T", code="wrong-type", file=path, field=name)
        if not video.shape:
            raise PortError("is a number, expected H x W x T", code="shape-mismatch", file=path, field=name)
        offset = video.id.get_offset()
        if offset is None:  # in chunks, or deflated
            step = max(1, _PIECE // max(1, video.dtype.itemsize * math.prod(video.shape[1:])))
            if video.chunks:
                step = max(video.chunks[0], step // video.chunks[0] * video.chunks[0])
            pieces = (video[start : start + step].tobytes() for start in range(0, len(video), step))
            file: Any = _inflate_to_scratch(path, folder, pieces, int(video.nbytes))
            offset = 0
        else:
            file = path.open("rb", buffering=0)
        dtype = video.dtype.newbyteorder("=")
        return _checked(Frames(path, name, file, offset, video.dtype, dtype), video.shape[::-1])


def _inflate_to_scratch(path: Path, folder: Path | None, pieces: Iterator[bytes], size: int) -> Any:
    """Write pieces of `size` bytes in all into an unnamed file."""
    file: Any = None
    try:
        _require_room(folder, size)
        file = tempfile.TemporaryFile(dir=folder, prefix=f".{path.stem}-")  # noqa: SIM115
        for piece in pieces:
            file.write(piece)
        file.flush()
    except BaseException as error:
        if file is not None:
            with suppress(OSError):  # from flushing its buffer
                file.close()
        if isinstance(error, OSError):
            problem = f"cannot be inflated in {folder or tempfile.gettempdir()}: {error.strerror or error}"
            hint = "free disk space, or save the recording with -v6"
            raise PortError(problem, code="file-unwritable", file=path, hint=hint) from None
        raise
    return file


def _require_room(folder: Path | None, size: int) -> None:
    room = shutil.disk_usage(folder or tempfile.gettempdir()).free
    if size > room:
        raise OSError(f"needs {size} bytes, {room} are free")


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; errors of the library become a `PortError`."""
    try:
        with h5py.File(path) as file:
            yield file
    except PortError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # the last two for types it cannot map
        raise PortError(f"damaged -v7.3 file: {error}", code="damaged-file", file=path, hint=_HINT) from None


def require_matfile(path: Path) -> None:
    """Refuse a path that is not a MAT-file of version 5 or later."""
    require_file(path)
    with path.open("rb") as file:
        first = file.read(mat5.HEADER)
    has_header = len(first) == mat5.HEADER and first[-4:] in (b"\x00\x01IM", b"\x01\x00MI", b"\x00\x02IM")
    if not has_header and not mat73.is_hdf5(path):
        hint = "write it with MATLAB's save"
        raise PortError("is not a MAT-file of version 5, 6, 7 or 7.3", code="wrong-format", file=path, hint=hint)


def unknown_variables(path: Path, names: Sequence[str], available: Sequence[str]) -> PortError:
    """Return the error for variables that a file lacks."""
    problem, hint = f"has no variable {', '.join(names)}", f"it contains {', '.join(available) or 'none'}"
    return PortError(problem, code="field-missing", file=path, hint=hint)
