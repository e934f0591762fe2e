"""Read stacks of frames in MAT-files a few frames at a time: a whole video is never held.

Frames lie one after the other in a file of any version (columns first, as MATLAB orders them). Where they lie there as
they are, in ``-v6`` and in ``-v7.3`` without compression, they are read from their place; deflated ones are inflated
once, piece by piece, into a scratch file that has no name and goes when it is closed.
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

Array = npt.NDArray[Any]
_PIECE = 1 << 22


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
            raise PortError(f"{self.name} is {size}, not H x W x T", where=self.path)
        self.shape = (*shape, 1)[:3]  # type: ignore[assignment]  # MATLAB drops a last dimension of 1
        return self

    def __len__(self) -> int:
        return self.shape[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def take(self, indices: npt.ArrayLike) -> Array:
        """Read frames.

        Parameters
        ----------
        indices
            0-based, in any order, any number of times.

        Returns
        -------
        numpy.ndarray
            (H, W, n) of the variable's class, columns first in memory as in the file.

        Raises
        ------
        PortError
            If the file does not hold a frame any more.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1).tolist()
        height, width, _ = self.shape
        frames = np.empty((height, width, len(wanted)), self.dtype, order="F")
        for place, index in enumerate(wanted):
            self.read_into(index, frames[:, :, place])
        return frames

    def read_into(self, index: int, out: Array) -> None:
        """Read one frame, 0-based, into an array H x W of any type: converted while it is in the cache."""
        height, width, count = self.shape
        if not 0 <= index < count:
            raise PortError(f"no frame {index}, {self.name} has {count}", where=self.path)
        try:
            frame, target = self._local.frame
        except AttributeError:  # the first one in this thread
            frame = np.empty((width, height), self._stored)
            target = frame.reshape(-1).view(np.uint8).data
            self._local.frame = frame, target
        if _read_at(self.path, self._file.fileno(), target, self._offset + index * len(target)) != len(target):
            raise PortError(f"{self.name} is cut off", where=self.path, hint="make it again")
        out.T[...] = frame


def _read_at(path: Path, descriptor: int, target: memoryview, place: int) -> int:
    """Fill `target` from `place` on; a memory map would count as memory of this process."""
    done = 0
    while done < len(target):
        try:
            got = os.preadv(descriptor, [target[done:]], place + done)
        except OSError as error:
            raise PortError(f"cannot be read ({error.strerror})", where=path) from None
        if not got:
            break
        done += got
    return done


def open_frames(path: str | Path, name: str = "video", *, scratch: str | Path | None = None) -> Frames:
    """Open a stack of frames in a MAT-file of any version since 5.

    Parameters
    ----------
    path, name
        The file and its variable: real numbers, H x W x T.
    scratch
        Where to inflate a deflated variable to; by default where the system keeps temporary files.

    Returns
    -------
    Frames
        A context manager.

    Raises
    ------
    PortError
        If the file cannot be read, or has no such variable, or that is no stack of frames.
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
        raise missing(path, [name], names)
    if variable.dtype is None or variable.dtype == bool or variable.is_complex:
        raise PortError(f"{name} is no array of real numbers", where=path)
    stored = variable.stored or variable.dtype
    if not variable.compressed:
        end = variable.offset + math.prod(variable.shape) * stored.itemsize
        if end > variable.nbytes:
            raise PortError(f"{name} is damaged", where=path, hint="make it again")
        # buffering would read ahead of every frame
        file: Any = path.open("rb", buffering=0)
        offset = variable.start + variable.offset
    else:
        size = math.prod(variable.shape) * stored.itemsize
        file, offset = _scratch(path, folder, mat5.inflate(path, variable), size), 0
    return _checked(Frames(path, name, file, offset, stored, variable.dtype), variable.shape)


def _checked(frames: Frames, shape: tuple[int, ...]) -> Frames:
    try:
        return frames._with_shape(shape)
    except PortError:
        frames.close()
        raise


def _open_73(path: Path, name: str, folder: Path | None) -> Frames:
    with hdf5(path) as source:
        names = mat73.names_of(source)
        if name not in names:
            raise missing(path, [name], names)
        video = mat73.dataset_of(source, name)
        if video.dtype.kind == "V" or "MATLAB_empty" in video.attrs or mat73.kind_of(video) in ("char", "logical"):
            raise PortError(f"{name} is no array of real numbers, H x W x T", where=path)
        if not video.shape:
            raise PortError(f"{name} is a number, not H x W x T", where=path)
        offset = video.id.get_offset()
        if offset is None:  # in chunks, or deflated
            step = max(1, _PIECE // max(1, video.dtype.itemsize * math.prod(video.shape[1:])))
            if video.chunks:
                step = max(video.chunks[0], step // video.chunks[0] * video.chunks[0])
            pieces = (video[start : start + step].tobytes() for start in range(0, len(video), step))
            file: Any = _scratch(path, folder, pieces, int(video.nbytes))
            offset = 0
        else:
            file = path.open("rb", buffering=0)
        dtype = video.dtype.newbyteorder("=")
        return _checked(Frames(path, name, file, offset, video.dtype, dtype), video.shape[::-1])


def _scratch(path: Path, folder: Path | None, pieces: Iterator[bytes], size: int) -> Any:
    """An unnamed file of pieces that come to `size` bytes."""
    file: Any = None
    try:
        _require_room(folder, size)
        file = tempfile.TemporaryFile(dir=folder, prefix=f".{path.stem}-")  # noqa: SIM115
        for piece in pieces:
            file.write(piece)
        file.flush()
    except BaseException as error:
        if file is not None:
            with suppress(OSError):  # what is left in its buffer
                file.close()
        if isinstance(error, OSError):
            raise PortError(
                f"cannot be inflated in {folder or tempfile.gettempdir()} ({error.strerror or error})",
                where=path,
                hint="make room, or save it with -v6",
            ) from None
        raise
    return file


def _require_room(folder: Path | None, size: int) -> None:
    room = shutil.disk_usage(folder or tempfile.gettempdir()).free
    if size > room:
        raise OSError(f"{size} bytes are needed, {room} are free")


@contextmanager
def hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file open for reading; what the library says about a damaged one as the ports' error."""
    try:
        with h5py.File(path) as file:
            yield file
    except PortError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # the last two for types it cannot map
        raise PortError(f"a -v7.3 file that cannot be read ({error})", where=path, hint="make it again") from None


def require_matfile(path: Path) -> None:
    """Refuse what is no MAT-file of version 5 or later."""
    if not path.is_file():
        raise PortError("is a folder" if path.is_dir() else "no such file", where=path)
    if not path.stat().st_size:
        raise PortError("is empty", where=path, hint="make it again")
    with path.open("rb") as file:
        first = file.read(mat5.HEADER)
    known = len(first) == mat5.HEADER and first[-4:] in (b"\x00\x01IM", b"\x01\x00MI", b"\x00\x02IM")
    if not known and not mat73.is_hdf5(path):
        raise PortError("not a MAT-file of version 5, 6, 7 or 7.3", where=path, hint="write it with MATLAB's save")


def missing(path: Path, names: Sequence[str], there: Sequence[str]) -> PortError:
    """The error for variables that are not there."""
    return PortError(f"has no variable {', '.join(names)}; it holds {', '.join(there) or 'none'}", where=path)
