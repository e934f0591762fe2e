"""Pictures to a database of Datums, and the mean of such a database: convert_imageset and compute_image_mean.

Facts from BVLC Caffe 9b89154, tools/convert_imageset.cpp, tools/compute_image_mean.cpp and util/io.cpp: a line of the
list is a name, a space, a label; keys are the line's number in eight digits, an underscore and the name; a picture that
cannot be read is left out; a coded file of the right name that is not resized is stored byte for byte, in colour even
where --gray asks for none; sums are single precision, in the order of the records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from caffe_compat.data.database import open_database
from caffe_compat.data.datum import picture_of
from caffe_compat.data.decode import AS_STORED, COLOR, GRAY, channels_first, decode, resized, side_by_side
from caffe_compat.data.mt19937 import Mersenne, shuffled
from caffe_compat.data.origin import At
from caffe_compat.data.write_db import new_database
from caffe_compat.errors import DataError
from caffe_compat.formats.image_size import too_many
from caffe_compat.schema import caffe_pb2 as pb

Told = Callable[[str], None]
_AT_ONCE = 64
_REPORT = {"convert": 1000, "mean": 10000}


@dataclass(frozen=True)
class Options:
    """How pictures are stored.

    Attributes
    ----------
    gray : read them as grayscale.
    resize : (height, width), or None.
    encode : store them coded, in this format ("jpg", "png"); "" for raw bytes.
    keep_encoding : store them coded in the format that their names tell.
    check_size : refuse pictures of different sizes.
    strict : refuse a picture that cannot be read, instead of leaving it out.
    """

    gray: bool = False
    resize: tuple[int, int] | None = None
    encode: str = ""
    keep_encoding: bool = False
    check_size: bool = False
    strict: bool = False


def read_image_list(path: str | PathLike[str]) -> list[tuple[str, int]]:
    """Return the (name, label) pairs of a list; names may hold spaces.

    Raises
    ------
    DataError
        It cannot be read, is empty, or a line has no label.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path) from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.rstrip().rpartition(" ")
        if not name or not re.fullmatch(r"[-+]?\d{1,9}", label):
            raise DataError("has no label", file=path, line=number, value=line[:80], hint="write NAME LABEL")
        found.append((name, int(label)))
    if not found:
        raise DataError("the list is empty", file=path)
    return found


def convert_imageset(
    root: str,
    lines: Sequence[tuple[str, int]],
    target: str | PathLike[str],
    options: Options = Options(),
    *,
    backend: str = "lmdb",
    shuffle_seed: int | None = None,
    told: Told = lambda _line: None,
) -> int:
    """Store pictures as Datums.

    Parameters
    ----------
    root : put before every name, as Caffe does; a folder without its slash works too.
    lines : (name, label) pairs, see :func:`read_image_list`.
    target : the database to make.
    backend : "lmdb" or "leveldb".
    shuffle_seed : shuffle as Caffe does, from this seed; None keeps the order.
    told : called with a line for the log.

    Returns
    -------
    How many pictures were stored.

    Raises
    ------
    DataError
        Nothing could be stored, or, where `options` ask for it, a picture cannot be read or differs in size; the size
        to resize to has too many pixels.
    """
    if options.resize and (problem := too_many(options.resize[1], options.resize[0])):
        raise DataError(problem, field="resize", value=options.resize)
    if shuffle_seed is not None:
        told("Shuffling data")
        order = shuffled(np.arange(len(lines)), Mersenne(shuffle_seed))
        lines = [lines[index] for index in order]
    told(f"A total of {len(lines)} images.")
    stored = 0
    size: tuple[int, ...] | None = None
    with new_database(target, backend) as database:
        for start in range(0, len(lines), _AT_ONCE):
            some = list(enumerate(lines[start : start + _AT_ONCE], start))
            for (number, (name, _)), made in zip(some, side_by_side(_maker(root, options), some), strict=True):
                if isinstance(made, DataError):
                    if options.strict:
                        raise made
                    told(f"{made}: left out")
                    continue
                datum, shape = made
                if options.check_size and size not in (None, shape):
                    problem = f"has the size {shape}, the ones before {size}"
                    raise DataError(problem, value=name, hint="--resize_height and --resize_width")
                size = shape
                database.put(f"{number:08d}_{name}".encode("utf-8", "surrogateescape"), datum)
                stored += 1
                if stored % _REPORT["convert"] == 0:
                    told(f"Processed {stored} files.")
        if not stored:
            raise DataError(
                "not one picture could be read", value=lines[0][0] if lines else None, hint=f"root is {root!r}"
            )
    if stored % _REPORT["convert"]:
        told(f"Processed {stored} files.")
    return stored


_Made = tuple[bytes, tuple[int, ...]]


def _maker(root: str, options: Options) -> Callable[[tuple[int, tuple[str, int]]], _Made | DataError]:
    def make(item: tuple[int, tuple[str, int]]) -> _Made | DataError:
        _, (name, label) = item
        try:
            return _datum(_found(root, name), label, options)
        except DataError as error:
            return error

    return make


def _found(root: str, name: str) -> Path:
    path = Path(root + name)
    return path if path.exists() else Path(root) / name


def _datum(path: Path, label: int, options: Options) -> _Made:
    """Return a serialised Datum, and the shape of its picture."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path) from None
    at = At("", path)
    picture = decode(content, GRAY if options.gray else COLOR, at)
    if options.resize:
        picture = resized(picture, options.resize[1], options.resize[0])
    shape = picture.shape
    coding = options.encode or (path.suffix[1:].lower() if options.keep_encoding else "")
    datum = pb.Datum(label=label)
    if coding:
        same = {"jpeg": "jpg"}.get(path.suffix[1:].lower(), path.suffix[1:].lower()) == coding.lower()
        datum.data = content if same and not options.resize else _coded(picture, coding, path)
        datum.encoded = True
    else:
        datum.channels, datum.height, datum.width = picture.shape[2], *picture.shape[:2]
        datum.data = channels_first(picture).tobytes()
        datum.encoded = False
    return datum.SerializeToString(), shape


def _coded(picture: npt.NDArray[np.uint8], coding: str, path: Path) -> bytes:
    try:
        done, content = cv2.imencode(f".{coding}", picture)
    except cv2.error:
        done = False
    if not done:
        raise DataError(
            "OpenCV has no such format of pictures", file=path, field="encode_type", value=coding, hint="jpg, png"
        )
    return content.tobytes()


def records(path: str | PathLike[str], backend: str = "lmdb") -> Iterator[tuple[At, pb.Datum]]:
    """Yield every record of a database once, in the order of its keys.

    Raises
    ------
    DataError
        It cannot be read, or a record is no Datum.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("no such database", file=place)
    with open_database(place, backend.upper(), At("", place)) as database:
        first, seen = database.key(), False
        while not seen or database.key() != first:
            seen = True
            key, value = database.take()
            at = At("", place, what=f"record {key.decode('utf-8', 'replace')!r}")
            try:
                yield at, pb.Datum.FromString(value)
            except DecodeError:
                raise at.error("is no Datum") from None


def compute_image_mean(
    path: str | PathLike[str], *, backend: str = "lmdb", double: bool = False, told: Told = lambda _line: None
) -> npt.NDArray[np.float32]:
    """Return the mean picture of a database: float32, (channels, height, width).

    Parameters
    ----------
    backend : "lmdb" or "leveldb".
    double : add up in double precision. Caffe's single precision loses digits beyond some 65,000 pictures.
    told : called with a line for the log.

    Raises
    ------
    DataError
        It cannot be read, or a picture has another size than the first.
    """
    total: npt.NDArray[np.float64] | npt.NDArray[np.float32] | None = None
    count = 0
    for at, datum in records(path, backend):
        picture = picture_of(datum, AS_STORED, at)
        if total is None:
            if datum.encoded:
                told("Decoding Datum")
            told("Starting iteration")
            total = np.zeros(picture.shape, np.float64 if double else np.float32)
        if picture.shape != total.shape:
            raise at.error(
                f"has the size {picture.shape}, the first {total.shape}", hint="convert_imageset --resize_..."
            )
        total += picture
        count += 1
        if count % _REPORT["mean"] == 0:
            told(f"Processed {count} files.")
    assert total is not None  # open_database refuses an empty one
    if count % _REPORT["mean"]:
        told(f"Processed {count} files.")
    return (total / total.dtype.type(count)).astype(np.float32)


def channel_means(mean: npt.NDArray[np.float32]) -> list[float]:
    """Return the mean value of each channel, added up in single precision as Caffe does."""
    sums = np.add.accumulate(mean.reshape(mean.shape[0], -1), axis=1, dtype=np.float32)[:, -1]
    return [float(value) for value in sums / np.float32(mean[0].size)]
