"""The authors' ``generate_train.m``: shuffled patches of blurred and sharp pictures to train the SR net on.

A picture's Y is cropped to a multiple of ``scale``, shrunk by it and enlarged again: the input. Patches of the input
and the centres of the same patches of the sharp Y are taken row by row, all pictures' patches are shuffled by one
``randperm``, and full chunks are written; what does not fill a chunk is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from matlab_ports._support.errors import PortError
from matlab_ports._support.writing import atomic_path, clear_disk_errors, require_folder
from matlab_ports.im2double import im2double
from matlab_ports.imread import imread
from matlab_ports.imresize import imresize
from matlab_ports.modcrop import modcrop
from matlab_ports.randstream import RandStream
from matlab_ports.rgb2ycbcr import rgb2ycbcr
from matlab_ports.store2hdf5 import hdf5_file, store2hdf5

Single = npt.NDArray[np.float32]
Gray = Literal["error", "repeat"]
_T = TypeVar("_T")


class Written(NamedTuple):
    """What a run wrote."""

    savepath: Path
    images: int
    patches: int  # found
    written: int  # of them, in the file
    position: int  # where the random stream stands now


class _Picture(NamedTuple):
    """Input and label of a whole picture, as they will be stored, and the top left corners of its patches."""

    im_input: Single
    im_label: Single
    corners: npt.NDArray[np.intp]


def generate_train(
    folder: str | Path = "Train",
    savepath: str | Path = "train_h5/train_lr12.h5",
    *,
    size_input: int = 32,
    size_label: int = 16,
    scale: int = 12,
    stride: int = 14,
    chunksz: int = 128,
    stream: RandStream | None = None,
    pattern: str | Sequence[str] = "*.bmp",
    gray: Gray = "error",
) -> Written:
    """Write ``/data`` (N, 1, size_input, size_input) and ``/label`` (N, 1, size_label, size_label) as MATLAB does.

    Parameters
    ----------
    folder
        Where the pictures are; they are taken in the order of their names (t1, t10, t11, ..., t2, ...).
    savepath
        The HDF5 file, in a folder that exists. It appears complete or not at all.
    size_input, size_label, scale, stride, chunksz
        The script's settings.
    stream
        The random stream; by default that of a MATLAB just started. Hand the same one to the next script of a session.
    pattern
        Which files of `folder` are pictures; several patterns are taken together.
    gray
        What to do with a gray picture: ``error`` as in MATLAB, whose rgb2ycbcr takes it for a colormap, or ``repeat``
        its plane three times.

    Returns
    -------
    Written

    Raises
    ------
    PortError
        Names the file or the setting that is wrong, and what would work.
    """
    stream = RandStream() if stream is None else stream
    savepath = Path(savepath)
    padding = _padding(size_input, size_label, scale, stride, chunksz)
    require_folder(savepath)
    paths = _pictures_in(Path(folder), pattern)
    pictures = [_read(path, size_input, scale, stride, gray) for path in _progress(paths, "pictures")]
    ends = np.cumsum([len(picture.corners) for picture in pictures])
    count = int(ends[-1])
    if count < chunksz:
        raise PortError(
            f"{count} patches do not fill one chunk of {chunksz}",
            where=folder,
            hint="give more or larger pictures, or a smaller stride or chunksz",
        )
    order = stream.randperm(count) - 1
    chosen = [  # counted from the picture's last patch: below zero
        (pictures[i], number - ends[i]) for i, number in zip(np.searchsorted(ends, order, "right"), order, strict=True)
    ]
    chunks = [chosen[start : start + chunksz] for start in range(0, count - chunksz + 1, chunksz)]
    batches = (_cut(chunk, size_input, size_label, padding) for chunk in _progress(chunks, "chunks"))
    size = 4 * count * (size_input**2 + size_label**2)
    _write(savepath, batches, chunksz, size)
    return Written(savepath, len(paths), count, len(chunks) * chunksz, stream.position)


def _cut(
    chosen: Sequence[tuple[_Picture, int]], size_input: int, size_label: int, padding: int
) -> tuple[Single, Single]:
    """The patches `chosen`, as (picture, number in it), samples last."""
    data = np.empty((size_input, size_input, 1, len(chosen)), np.float32, order="F")
    label = np.empty((size_label, size_label, 1, len(chosen)), np.float32, order="F")
    for sample, (picture, number) in enumerate(chosen):
        x, y = picture.corners[number]
        data[:, :, 0, sample] = picture.im_input[x : x + size_input, y : y + size_input]
        x, y = x + padding, y + padding
        label[:, :, 0, sample] = picture.im_label[x : x + size_label, y : y + size_label]
    return data, label


def _write(savepath: Path, batches: Iterator[tuple[Single, Single]], chunksz: int, size: int) -> None:
    """The script's loop over ``store2hdf5``, into a file that gets its name at the end."""
    totalct = 0
    with clear_disk_errors(savepath), atomic_path(savepath, size) as temporary, hdf5_file(temporary) as file:
        for batchdata, batchlabs in batches:
            startloc = {"dat": (1, 1, 1, totalct + 1), "lab": (1, 1, 1, totalct + 1)}
            curr_dat_sz, _ = store2hdf5(file, batchdata, batchlabs, totalct == 0, startloc, chunksz)
            totalct = curr_dat_sz[-1]


def _padding(size_input: int, size_label: int, scale: int, stride: int, chunksz: int) -> int:
    """Where a label begins in its patch; refuses settings MATLAB would stop at half way."""
    settings = {
        "size_input": size_input,
        "size_label": size_label,
        "scale": scale,
        "stride": stride,
        "chunksz": chunksz,
    }
    for name, value in settings.items():
        if value < 1:
            raise PortError(f"{value} is not a positive whole number", where=name)
    if size_label > size_input or (size_input - size_label) % 2:
        raise PortError(
            f"a label of {size_label} has no place in the middle of an input of {size_input}",
            where="size_label",
            hint="make it smaller than size_input by an even number",
        )
    return (size_input - size_label) // 2


def _pictures_in(folder: Path, pattern: str | Sequence[str]) -> list[Path]:
    """``dir(fullfile(folder, pattern))``."""
    if not folder.is_dir():
        raise PortError("no such folder", where=folder)
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    matching = {path for one in patterns for path in folder.glob(one)}
    paths = sorted(path for path in matching if path.is_file() and not path.name.startswith("."))
    if not paths:
        problem = f"holds no {', '.join(patterns)}"
        raise PortError(problem, where=folder, hint="name the pictures' folder, or another pattern")
    return paths


def _read(path: Path, size_input: int, scale: int, stride: int, gray: Gray) -> _Picture:
    """One picture's input and label, single as ``h5write`` stores them, and its patches' corners in their order."""
    image = imread(path)
    if image.ndim == 2:
        if gray != "repeat":
            raise PortError(
                f"is a gray picture ({image.shape[0]} x {image.shape[1]}), which rgb2ycbcr refuses",
                where=path,
                hint="convert it to RGB, or choose gray=repeat",
            )
        image = np.repeat(image[:, :, None], 3, axis=2)
    luma: npt.NDArray[Any] = rgb2ycbcr(image)[:, :, 0]
    im_label = modcrop(im2double(luma), scale)
    hei, wid = im_label.shape
    if 0 in (hei, wid):
        raise PortError(f"{luma.shape[0]} x {luma.shape[1]} is smaller than scale {scale}", where=path)
    im_input = imresize(imresize(im_label, 1 / scale, "bicubic"), (hei, wid), "bicubic")
    x, y = (np.arange(0, length - size_input + 1, stride) for length in (hei, wid))
    corners = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    return _Picture(im_input.astype(np.float32), im_label.astype(np.float32), corners)


def _progress(items: Sequence[_T], what: str) -> Iterable[_T]:
    """A bar on a terminal, nothing elsewhere."""
    bar: Iterable[_T] = tqdm(items, desc=what, disable=None, leave=False)
    return bar
