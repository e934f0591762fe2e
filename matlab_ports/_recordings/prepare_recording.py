"""Crop the faces of one recording: the body of the authors' ``prepare_dataset.m``."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from matlab_ports._recordings.faces import FaceMaker, choose_face_maker
from matlab_ports._support.errors import PortError
from matlab_ports._support.files import require_folder
from matlab_ports._support.frame_time import frame_time as read_times
from matlab_ports.imresize import imresize
from matlab_ports.matfile import FramesWriter
from matlab_ports.videoreader import Backend, VideoReader

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Match = Literal["exact", "grid"]
Luma = Literal["rgb", "plane", "gray"]
_T = TypeVar("_T")
_log = logging.getLogger(__name__)

STEP = 0.04  # seconds between two frames of AVEC's recordings and labels
_BATCH = 64  # faces that are degraded and written at once
_AHEAD = 16  # crops that the decoder may be ahead


class Prepared(NamedTuple):
    """The result of preparing a recording.

    Attributes
    ----------
    name : the recording's name.
    rows : rows in the table of frame times.
    faces : faces in the file.
    no_face : rows whose box is zero.
    too_small : rows whose box is not larger than the limit.
    unread : whether the video has frames after the last row.
    save : the files by factor.
    """

    name: str
    rows: int
    faces: int
    no_face: int
    too_small: int
    unread: bool
    save: dict[int, Path]


class _Rows(NamedTuple):
    """The rows of the table: which have a usable face, and its corners (1-based, inclusive)."""

    usable: npt.NDArray[np.bool_]
    corners: npt.NDArray[np.int64]  # rows x (top, bottom, left, right)
    labels: Doubles  # of the usable rows, a column for each kind
    time: Doubles  # of the usable rows
    no_face: int


def prepare_recording(
    video: str | Path,
    frame_time: str | Path | npt.ArrayLike,
    *,
    bbox: npt.ArrayLike,
    bbox_time: npt.ArrayLike,
    gsd: npt.ArrayLike,
    gsd_time: npt.ArrayLike,
    save: Mapping[int, str | Path],
    imSize: int = 96,
    match: Match = "exact",
    smallest: float = 100,
    version: str = "-v7",
    luma: Luma = "rgb",
    labels: Sequence[str] = ("valence",),
    variables: Mapping[str, npt.ArrayLike] | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Prepared:
    """Crop the faces of one recording.

    Parameters
    ----------
    video
        The recording.
    frame_time
        The table of its frame times, or the times: (T,) seconds.
    bbox, bbox_time
        Boxes (T, 4): left, top, width, height, 1-based, zero without a face; their times in seconds.
    gsd, gsd_time
        Labels (T,), or (T, k) with a column for each of `labels`, and their times in seconds.
    save
        MAT-files by factor of downsampling: ``{1: HQ.mat, 3: LR3.mat}``. The video is decoded once for all. The folders
        must exist; files appear complete or not at all.
    imSize
        Side of a crop.
    match
        ``exact``, as in the script, or ``grid``: times are equal if they are nearest to the same multiple of 0.04 s.
    smallest
        Boxes must be wider and higher than this, in pixels.
    version
        Of the MAT-files: see `matlab_ports.matfile.FramesWriter`.
    luma
        ``rgb``: Y computed from RGB, as in the script; ``plane``: Y as the video stores it; ``gray``: as in the script,
        then stretched so that black is 0 and white is 1.
    labels
        The names of the labels in the files: ``valence``, as in the script; ``arousal``; both; or none.
    variables
        Further variables for the files.
    backend, threads
        See `VideoReader`.
    progress
        Called with the number of frames processed since the last call.

    Raises
    ------
    PortError
        An input cannot be used. Nothing is written then.
    """
    path = Path(video)
    paths = {scale: Path(target) for scale, target in save.items()}
    for scale, target in paths.items():
        require_folder(target)
        if not 1 <= scale <= imSize:
            problem = f"the factor is out of range 1 to {imSize}"
            raise PortError(problem, code="out-of-range", field="save", value=scale)
    if isinstance(frame_time, (str, Path)):
        times = read_times(frame_time)
    else:
        times = np.asarray(frame_time, dtype=np.float64).reshape(-1)
    gold = np.asarray(gsd, dtype=np.float64).reshape(-1, len(labels)) if labels else np.empty((np.size(gsd_time), 0))
    label_times = np.asarray(gsd_time, dtype=np.float64).reshape(-1)
    boxes = np.asarray(bbox, dtype=np.float64), np.asarray(bbox_time, dtype=np.float64).reshape(-1)
    planes: Literal["luma", "rgb"] = "luma" if luma == "plane" else "rgb"
    with VideoReader(path, backend=backend, planes=planes, threads=threads) as reader:
        rows = _match_rows(times, boxes, (gold, label_times), (reader.height, reader.width), match, smallest, path)
        columns = dict(zip(labels, rows.labels.T, strict=True))
        traces = {**columns, "video_time": rows.time, **(variables or {})}
        shape = (imSize, imSize, len(rows.time))
        with ExitStack() as stack:
            files = {
                scale: stack.enter_context(FramesWriter(target, shape=shape, version=version, variables=traces))
                for scale, target in paths.items()
            }
            crops = stack.enter_context(closing(read_ahead(_crops(reader, rows), _AHEAD)))
            make_face = choose_face_maker(imSize, expected=len(rows.time))
            for batch in _batches(_faces(crops, make_face, progress)):
                faces = stretch_luma(batch) if luma == "gray" else batch
                for scale, file in files.items():
                    file.append(degrade(faces, scale).transpose(1, 2, 0))
        unread = reader.advance()
    if unread:
        _log.warning("%s has more frames than the %d rows of its table of times", path, len(times))
    too_small = len(times) - len(rows.time) - rows.no_face
    return Prepared(path.stem, len(times), len(rows.time), rows.no_face, too_small, unread, paths)


def _match_rows(
    times: Doubles,
    boxes: tuple[Doubles, Doubles],
    labels: tuple[Doubles, Doubles],
    size: tuple[int, int],
    match: Match,
    smallest: float,
    path: Path,
) -> _Rows:
    """Match the rows with boxes and labels; all problems are reported at once."""
    bbox, gsd = boxes[0], labels[0]
    if bbox.ndim != 2 or bbox.shape[1] != 4 or len(bbox) != len(boxes[1]):
        problem = f"has shape {bbox.shape} and {len(boxes[1])} times, expected (T, 4) and T"
        raise PortError(problem, code="shape-mismatch", file=path, field="bbox")
    if len(gsd) != len(labels[1]):
        problem = f"has {len(gsd)} labels and {len(labels[1])} times, expected as many"
        raise PortError(problem, code="wrong-count", file=path, field="gsd")
    problems: list[str] = []
    box_places = _find_times(times, boxes[1], match, "bbox", problems)
    label_places = _find_times(times, labels[1], match, "gsd", problems)
    if problems:
        raise PortError("; ".join(problems), code="mismatch", file=path, hint=_HINTS[match])
    box, values = bbox[box_places], gsd[label_places]
    face = box.sum(axis=1) != 0  # the script's test, not whether all four are zero
    usable = face & (box[:, 2] > smallest) & (box[:, 3] > smallest)
    if not usable.any():
        zeros = f"{np.count_nonzero(~face)} of {len(times)} boxes are zero"
        problem = f"no usable face: {zeros}, the others at most {smallest:g} pixels wide or high"
        raise PortError(problem, code="empty", file=path, field="bbox")
    missing = usable & np.isnan(values).any(axis=1)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise PortError(f"the label at {times[row]:g} s is NaN", code="not-finite", file=path, field="gsd")
    height, width = size
    x, y, w, h = np.where(usable[:, None], box, 1).T
    left, top = np.maximum(np.ceil(x), 1), np.maximum(np.ceil(y), 1)
    right, bottom = np.minimum(np.ceil(x + w - 1), width), np.minimum(np.ceil(y + h - 1), height)
    outside = np.flatnonzero(usable & ~((left <= right) & (top <= bottom)))  # NaN as well
    if len(outside):
        row = int(outside[0])
        problem = f"the box at {times[row]:g} s lies outside the frame of {width} x {height}"
        raise PortError(problem, code="out-of-range", file=path, field="bbox", value=box[row].tolist())
    corners = np.stack([top, bottom, left, right], axis=1).astype(np.int64)
    return _Rows(usable, corners, values[usable], times[usable], int(np.count_nonzero(~face)))


_HINTS = {
    "exact": "times must be equal to the last digit; match='grid' compares them on a grid of 0.04 s",
    "grid": "every frame needs a box and a label",
}


def _find_times(
    times: Doubles, available: Doubles, match: Match, name: str, problems: list[str]
) -> npt.NDArray[np.int64]:
    """Return the place of each time in `available`; times that are missing or repeated are added to `problems`."""
    keys, available_keys = (values if match == "exact" else np.round(values / STEP) for values in (times, available))
    order = np.argsort(available_keys, kind="stable")
    ranked = available_keys[order]
    first = np.searchsorted(ranked, keys, "left")
    counts = np.searchsorted(ranked, keys, "right") - first
    for matching, problem in ((counts == 0, "lacks"), (counts > 1, "repeats")):
        if matching.any():
            listed = ", ".join(f"{value:.12g}" for value in times[matching][:5])
            rest = f" and {np.count_nonzero(matching) - 5} more" if np.count_nonzero(matching) > 5 else ""
            problems.append(f"{name} {problem} time {listed}{rest}")
    return order[np.minimum(first, len(order) - 1)] if len(order) else np.zeros(len(times), np.int64)


def _crops(reader: VideoReader, rows: _Rows) -> Iterator[npt.NDArray[np.uint8] | None]:
    """Read one frame per row, and yield its crop, or None for a row without a usable face."""
    for usable, (top, bottom, left, right) in zip(rows.usable, rows.corners, strict=True):
        if not reader.advance():
            problem = f"has {reader.frames_read} frames, its table of times has {len(rows.usable)} rows"
            hint = "check that the video is complete"
            raise PortError(problem, code="wrong-count", file=reader.path, hint=hint)
        yield reader.frame()[top - 1 : bottom, left - 1 : right].copy() if usable else None


def read_ahead(items: Iterator[_T], depth: int) -> Generator[_T]:
    """Yield the items of an iterator, up to `depth` of them computed in advance in a thread, which `close` ends."""
    entries = ((item,) for item in items)
    with ThreadPoolExecutor(1, "read_ahead") as pool:
        pending = deque(pool.submit(next, entries, None) for _ in range(depth))
        try:
            while (entry := pending.popleft().result()) is not None:
                pending.append(pool.submit(next, entries, None))
                yield entry[0]
        finally:
            for future in pending:
                future.cancel()


def _faces(
    crops: Iterator[npt.NDArray[np.uint8] | None], make_face: FaceMaker, progress: Callable[[int], object] | None
) -> Iterator[Singles]:
    """Turn crops into gray faces; rows without a crop count as progress only."""
    for crop in crops:
        if crop is not None:
            yield make_face(crop)
        if progress:
            progress(1)


def _batches(faces: Iterator[Singles]) -> Iterator[Singles]:
    while batch := list(islice(faces, _BATCH)):
        yield np.stack(batch)


def stretch_luma(luma: Singles) -> Singles:
    """Stretch Y, 16/255 to 235/255, to 0 to 1."""
    return (luma * np.float32(255) - np.float32(16)) / np.float32(219)


def degrade(faces: Singles, scale: float) -> Singles:
    """Downsample faces (n, H, W) by a factor and upsample them again, in their own class, as the script does."""
    if scale == 1:
        return faces
    small = imresize(faces, 1 / scale, axes=(1, 2))
    return imresize(small, faces.shape[1:], axes=(1, 2))
