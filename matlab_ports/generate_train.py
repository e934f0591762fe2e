"""The authors' ``generate_train.m``: cut patches of blurred and sharp images for training the SR net.

An image's Y is cropped to a multiple of ``scale``, downsampled by it and upsampled again: the input. Patches of the
input, and the centres of the same patches of the sharp Y, are cut row by row. One ``randperm`` shuffles the patches of
all images, and full chunks are written; patches that do not fill a chunk are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from matlab_ports._support.errors import PortError
from matlab_ports._support.files import atomic_path, report_write_errors, require_folder
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
    """The result of a run.

    Attributes
    ----------
    savepath : the file.
    images : number of images.
    patches : number of patches cut from them.
    written : number of patches in the file.
    position : position of the random stream after the run.
    """

    savepath: Path
    images: int
    patches: int
    written: int
    position: int


class _Image(NamedTuple):
    """Input and label of an image, as they will be stored, and the top left corners of its patches."""

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
        Folder of the images, which are sorted by name (t1, t10, t11, ..., t2, ...).
    savepath
        The HDF5 file, in a folder that exists. It appears complete or not at all.
    size_input, size_label, scale, stride, chunksz
        The script's settings.
    stream
        The random stream; by default that of a fresh MATLAB. Pass the same stream to the next script of a session.
    pattern
        Glob pattern, or several, of the images in `folder`.
    gray
        How to treat a gray image: ``error`` as in MATLAB, whose rgb2ycbcr takes it for a colormap, or ``repeat`` its
        plane three times.

    Returns
    -------
    Written

    Raises
    ------
    PortError
        A file or setting cannot be used.
    """
    stream = RandStream() if stream is None else stream
    savepath = Path(savepath)
    padding = _padding(size_input, size_label, scale, stride, chunksz)
    require_folder(savepath)
    paths = _list_images(Path(folder), pattern)
    images = [_read(path, size_input, scale, stride, gray) for path in _progress(paths, "images")]
    ends = np.cumsum([len(image.corners) for image in images])
    count = int(ends[-1])
    if count < chunksz:
        problem = f"{count} patches do not fill one chunk of {chunksz}"
        hint = "use more or larger images, or a smaller stride or chunksz"
        raise PortError(problem, code="wrong-count", file=folder, field="chunksz", value=chunksz, hint=hint)
    order = stream.randperm(count) - 1
    patches = [  # counted from the image's last patch: negative numbers
        (images[i], number - ends[i]) for i, number in zip(np.searchsorted(ends, order, "right"), order, strict=True)
    ]
    chunks = [patches[start : start + chunksz] for start in range(0, count - chunksz + 1, chunksz)]
    batches = (_cut(chunk, size_input, size_label, padding) for chunk in _progress(chunks, "chunks"))
    size = 4 * count * (size_input**2 + size_label**2)
    _write(savepath, batches, chunksz, size)
    return Written(savepath, len(paths), count, len(chunks) * chunksz, stream.position)


def _cut(
    patches: Sequence[tuple[_Image, int]], size_input: int, size_label: int, padding: int
) -> tuple[Single, Single]:
    """Cut patches, given as pairs of image and index; samples last."""
    data = np.empty((size_input, size_input, 1, len(patches)), np.float32, order="F")
    label = np.empty((size_label, size_label, 1, len(patches)), np.float32, order="F")
    for sample, (image, number) in enumerate(patches):
        x, y = image.corners[number]
        data[:, :, 0, sample] = image.im_input[x : x + size_input, y : y + size_input]
        x, y = x + padding, y + padding
        label[:, :, 0, sample] = image.im_label[x : x + size_label, y : y + size_label]
    return data, label


def _write(savepath: Path, batches: Iterator[tuple[Single, Single]], chunksz: int, size: int) -> None:
    """Run the script's loop over ``store2hdf5`` on a file that gets its name at the end."""
    totalct = 0
    with report_write_errors(savepath), atomic_path(savepath, size) as temporary, hdf5_file(temporary) as file:
        for batchdata, batchlabs in batches:
            startloc = {"dat": (1, 1, 1, totalct + 1), "lab": (1, 1, 1, totalct + 1)}
            curr_dat_sz, _ = store2hdf5(file, batchdata, batchlabs, totalct == 0, startloc, chunksz)
            totalct = curr_dat_sz[-1]


def _padding(size_input: int, size_label: int, scale: int, stride: int, chunksz: int) -> int:
    """Return the offset of a label in its patch; refuse settings at which MATLAB would fail half way."""
    settings = {"size_input": size_input, "size_label": size_label, "scale": scale, "stride": stride}
    for name, value in {**settings, "chunksz": chunksz}.items():
        if value < 1:
            raise PortError("must be at least 1", code="out-of-range", field=name, value=value)
    if size_label > size_input or (size_input - size_label) % 2:
        problem, hint = f"a label cannot be centred in an input of {size_input}", "use size_input minus an even number"
        raise PortError(problem, code="mismatch", field="size_label", value=size_label, hint=hint)
    return (size_input - size_label) // 2


def _list_images(folder: Path, pattern: str | Sequence[str]) -> list[Path]:
    """List the images as ``dir(fullfile(folder, pattern))`` does."""
    if not folder.is_dir():
        raise PortError("no such folder", code="file-missing", file=folder)
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    matching = {path for glob in patterns for path in folder.glob(glob)}
    paths = sorted(path for path in matching if path.is_file() and not path.name.startswith("."))
    if not paths:
        problem, hint = f"contains no {', '.join(patterns)}", "name the folder of the images, or another pattern"
        raise PortError(problem, code="file-missing", file=folder, field="pattern", hint=hint)
    return paths


def _read(path: Path, size_input: int, scale: int, stride: int, gray: Gray) -> _Image:
    """Read an image: input and label, single as ``h5write`` stores them, and the corners of its patches in order."""
    image = imread(path)
    if image.ndim == 2:
        if gray != "repeat":
            problem = f"is a gray image ({image.shape[0]} x {image.shape[1]}), which rgb2ycbcr refuses"
            raise PortError(problem, code="wrong-format", file=path, hint="convert it to RGB, or use gray=repeat")
        image = np.repeat(image[:, :, None], 3, axis=2)
    luma: npt.NDArray[Any] = rgb2ycbcr(image)[:, :, 0]
    im_label = modcrop(im2double(luma), scale)
    hei, wid = im_label.shape
    if 0 in (hei, wid):
        problem = f"the image, {luma.shape[0]} x {luma.shape[1]}, is smaller than scale"
        raise PortError(problem, code="mismatch", file=path, field="scale", value=scale)
    im_input = imresize(imresize(im_label, 1 / scale, "bicubic"), (hei, wid), "bicubic")
    x, y = (np.arange(0, length - size_input + 1, stride) for length in (hei, wid))
    corners = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    return _Image(im_input.astype(np.float32), im_label.astype(np.float32), corners)


def _progress(items: Sequence[_T], description: str) -> Iterable[_T]:
    """Show a progress bar on a terminal."""
    bar: Iterable[_T] = tqdm(items, desc=description, disable=None, leave=False)
    return bar
