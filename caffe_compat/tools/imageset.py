"""Store images in a database of Datums and compute the mean of such a database: convert_imageset, compute_image_mean.

Facts from BVLC Caffe 9b89154, tools/convert_imageset.cpp, tools/compute_image_mean.cpp and util/io.cpp: a line of the
list is a name, a space and a label; the key is the line number in eight digits, an underscore and the name; an image
that cannot be read is skipped; an encoded file with the right suffix that is not resized is stored byte for byte, in
colour even with --gray; sums are in single precision, in the order of the records.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from caffe_compat.data.c_random import Mersenne, shuffled
from caffe_compat.data.database import new_database, open_database
from caffe_compat.data.datum import datum_image
from caffe_compat.data.decode import AS_STORED, COLOR, GRAY, channels_first, decode, map_in_threads, resize
from caffe_compat.data.source import Origin
from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.formats.files import read_bytes
from caffe_compat.formats.image_size import open_image, size_problem
from caffe_compat.schema import caffe_pb2 as pb

Report = Callable[[str], None]
_BATCH = 64  # images decoded at a time, at most,
_BATCH_BYTES = 1 << 28  # and bytes of their pixels, unless one image has more
_REPORT_INTERVAL = {"convert": 1000, "mean": 10000}


@dataclass(frozen=True)
class Options:
    """The form in which images are stored."""

    gray: bool = False
    resize: tuple[int, int] | None = None
    """(height, width), or None."""
    encode: str = ""
    """Store images encoded in this format ("jpg", "png"); "" for raw pixels."""
    keep_encoding: bool = False
    """Store images encoded in the format of their suffix."""
    check_size: bool = False
    """Refuse images that differ in size."""
    strict: bool = False
    """Refuse an image that cannot be read instead of skipping it."""


def read_image_list(path: str | PathLike[str]) -> list[tuple[str, int]]:
    """Read the (name, label) pairs of a list; names may contain spaces."""
    text = read_bytes(path).decode("utf-8", "surrogateescape")
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.rstrip().rpartition(" ")
        if not name or not re.fullmatch(r"[-+]?\d{1,9}", label):
            raise DataError(
                "line has no label", code="syntax", file=path, line=number, value=line[:80], hint="write NAME LABEL"
            )
        pairs.append((name, int(label)))
    if not pairs:
        raise DataError("list is empty", code="empty", file=path)
    return pairs


def convert_imageset(
    root: str,
    lines: Sequence[tuple[str, int]],
    target: str | PathLike[str],
    options: Options = Options(),
    *,
    backend: str = "lmdb",
    shuffle_seed: int | None = None,
    report: Report = lambda _line: None,
) -> int:
    """Store images, (name, label) `lines` below `root`, as Datums in a new database; return their number."""
    if options.resize and (problem := size_problem(options.resize[1], options.resize[0])):
        raise DataError(problem, code="too-large", field="resize", value=options.resize)
    if shuffle_seed is not None:
        report("Shuffling data")
        order = shuffled(np.arange(len(lines)), Mersenne(shuffle_seed))
        lines = [lines[index] for index in order]
    report(f"A total of {len(lines)} images.")
    stored = 0
    size: tuple[int, ...] | None = None
    with new_database(target, backend) as database:
        for batch in _batches(root, lines, options):
            for (number, (name, _)), result in zip(batch, map_in_threads(_reader(root, options), batch), strict=True):
                if isinstance(result, CaffeCompatError):
                    if options.strict:
                        raise result
                    report(f"{result}: skipped")
                    continue
                datum, shape = result
                if options.check_size and size not in (None, shape):
                    problem = f"image has shape {shape}, earlier images have {size}"
                    hint = "pass --resize_height and --resize_width"
                    raise DataError(problem, code="shape-mismatch", value=name, hint=hint)
                size = shape
                database.put(f"{number:08d}_{name}".encode("utf-8", "surrogateescape"), datum)
                stored += 1
                if stored % _REPORT_INTERVAL["convert"] == 0:
                    report(f"Processed {stored} files.")
        if not stored:
            first = lines[0][0] if lines else None
            raise DataError("no image could be read", code="empty", value=first, hint=f"the root folder is {root!r}")
    if stored % _REPORT_INTERVAL["convert"]:
        report(f"Processed {stored} files.")
    return stored


_Line = tuple[int, tuple[str, int]]
_Result = tuple[bytes, tuple[int, ...]]


def _batches(root: str, lines: Sequence[tuple[str, int]], options: Options) -> Iterator[list[_Line]]:
    """Yield the numbered lines in runs whose images fit in memory together."""
    batch: list[_Line] = []
    total = 0
    for line in enumerate(lines):
        size = _pixel_bytes(_locate(root, line[1][0]), options)
        if batch and (len(batch) == _BATCH or total + size > _BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(line)
        total += size
    yield batch


def _pixel_bytes(path: Path, options: Options) -> int:
    """Return the bytes of a decoded and resized image by its header; `_BATCH_BYTES` if Pillow cannot read it."""
    try:
        with open_image(path) as image:
            return 3 * max(image.width * image.height, math.prod(options.resize or (0,)))
    except (CaffeCompatError, OSError, SyntaxError, ValueError):
        return _BATCH_BYTES


def _reader(root: str, options: Options) -> Callable[[_Line], _Result | CaffeCompatError]:
    def read(line: _Line) -> _Result | CaffeCompatError:
        _, (name, label) = line
        try:
            return _datum(_locate(root, name), label, options)
        except CaffeCompatError as error:
            return error

    return read


def _locate(root: str, name: str) -> Path:
    path = Path(root + name)
    return path if path.exists() else Path(root) / name


def _datum(path: Path, label: int, options: Options) -> _Result:
    """Return a serialised Datum and the shape of its image."""
    content = read_bytes(path)
    origin = Origin("", path)
    image = decode(content, GRAY if options.gray else COLOR, origin)
    if options.resize:
        image = resize(image, options.resize[1], options.resize[0])
    shape = image.shape
    coding = options.encode or (path.suffix[1:].lower() if options.keep_encoding else "")
    datum = pb.Datum(label=label)
    if coding:
        same = {"jpeg": "jpg"}.get(path.suffix[1:].lower(), path.suffix[1:].lower()) == coding.lower()
        datum.data = content if same and not options.resize else _encoded(image, coding, path)
        datum.encoded = True
    else:
        datum.channels, datum.height, datum.width = image.shape[2], *image.shape[:2]
        datum.data = channels_first(image).tobytes()
        datum.encoded = False
    return datum.SerializeToString(), shape


def _encoded(image: npt.NDArray[np.uint8], coding: str, path: Path) -> bytes:
    try:
        done, content = cv2.imencode(f".{coding}", image)
    except cv2.error:
        done = False
    if not done:
        problem = "OpenCV cannot encode this format"
        hint = "use jpg or png"
        raise DataError(problem, code="unsupported", file=path, field="encode_type", value=coding, hint=hint)
    return content.tobytes()


def records(path: str | PathLike[str], backend: str = "lmdb") -> Iterator[tuple[Origin, pb.Datum]]:
    """Yield every record of a database once, in key order."""
    path = Path(path)
    if not path.exists():
        raise DataError("database does not exist", code="file-missing", file=path)
    with open_database(path, backend.upper(), Origin("", path)) as database:
        first, seen = database.key(), False
        while not seen or database.key() != first:
            seen = True
            key, value = database.take()
            origin = Origin("", path, what=f"record {key.decode('utf-8', 'replace')!r}")
            try:
                yield origin, pb.Datum.FromString(value)
            except DecodeError:
                raise origin.error("not a Datum", code="damaged-file") from None


def compute_image_mean(
    path: str | PathLike[str], *, backend: str = "lmdb", double: bool = False, report: Report = lambda _line: None
) -> npt.NDArray[np.float32]:
    """Compute the mean image of a database: float32, (channels, height, width).

    `double` sums in double precision: Caffe's single precision loses digits beyond about 65,000 images.
    """
    total: npt.NDArray[np.float64] | npt.NDArray[np.float32] | None = None
    count = 0
    for origin, datum in records(path, backend):
        image = datum_image(datum, AS_STORED, origin)
        if total is None:
            if datum.encoded:
                report("Decoding Datum")
            report("Starting iteration")
            total = np.zeros(image.shape, np.float64 if double else np.float32)
        if image.shape != total.shape:
            problem = f"image has shape {image.shape}, the first has {total.shape}"
            hint = "use convert_imageset --resize_height and --resize_width"
            raise origin.error(problem, code="shape-mismatch", hint=hint)
        total += image
        count += 1
        if count % _REPORT_INTERVAL["mean"] == 0:
            report(f"Processed {count} files.")
    assert total is not None  # open_database refuses an empty database
    if count % _REPORT_INTERVAL["mean"]:
        report(f"Processed {count} files.")
    return (total / total.dtype.type(count)).astype(np.float32)


def channel_means(mean: npt.NDArray[np.float32]) -> list[float]:
    """Return the mean of each channel, summed in single precision as in Caffe."""
    sums = np.add.accumulate(mean.reshape(mean.shape[0], -1), axis=1, dtype=np.float32)[:, -1]
    return [float(value) for value in sums / np.float32(mean[0].size)]
