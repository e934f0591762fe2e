"""The inside of the authors' ``prepare_dataset.m``: the faces of one recording; see `matlab_ports.prepare_dataset`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from matlab_ports._recordings.faces import Maker, face_maker
from matlab_ports._support.errors import PortError
from matlab_ports._support.frame_time import frame_time as read_times
from matlab_ports._support.read_ahead import ahead
from matlab_ports._support.writing import require_folder
from matlab_ports.imresize import imresize
from matlab_ports.matfile import FramesWriter
from matlab_ports.videoreader import Backend, VideoReader

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Match = Literal["exact", "grid"]
Luma = Literal["rgb", "plane", "gray"]
_log = logging.getLogger(__name__)

STEP = 0.04  # seconds between two frames of AVEC's recordings and labels
_BATCH = 64  # crops that are degraded and written at once
_AHEAD = 16  # crops the decoder may be ahead


class Prepared(NamedTuple):
    """What became of a recording.

    ``rows`` of the table were looked at, ``kept`` faces are in the file; ``skipped_no_face`` had a zero box,
    ``skipped_small`` one of 100 pixels or less. `unread` frames of the video come after the last row.
    """

    name: str
    rows: int
    kept: int
    skipped_no_face: int
    skipped_small: int
    unread: bool
    save: dict[int, Path]


class _Frames(NamedTuple):
    """What to do with each row's frame: its corners (1-based, inclusive) where it is kept."""

    keep: npt.NDArray[np.bool_]
    corners: npt.NDArray[np.int64]  # rows x (top, bottom, left, right)
    valence: Doubles
    time: Doubles
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
    label: str = "valence",
    more: Mapping[str, npt.ArrayLike] | None = None,
    backend: Backend = "auto",
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Make the crops of one recording.

    Parameters
    ----------
    video
        The recording.
    frame_time
        The table of its frames' times, or the times: seconds, one per frame.
    bbox, bbox_time
        Boxes (T, 4): left, top, width, height, 1-based, zero where there is no face; their times.
    gsd, gsd_time
        Labels and their times.
    save
        Where to: ``{1: HQ.mat}``, and ``3: LR3.mat`` for faces made 1/3 as large and 96 x 96 again. One decoding makes
        all. The folders must exist; files appear complete or not at all.
    imSize
        Side of a crop.
    match
        ``exact``, as the script, or ``grid``: times are equal if they are nearest to the same multiple of 0.04 s.
    smallest
        Boxes must be larger than this, both ways.
    version
        Of the files: see `matlab_ports.matfile.FramesWriter`.
    luma
        ``rgb``: Y through RGB, as the script; ``plane``: Y as the video stores it; ``gray``: as the script, and then
        stretched so that black is 0 and white is 1.
    label
        What the labels are called in the files: ``valence``, as in the script, or ``arousal``.
    more
        Further variables for the files.
    backend, threads
        See `VideoReader`.
    progress
        Called with the number of frames dealt with since the last call.

    Raises
    ------
    PortError
        For anything that cannot be used; nothing is written then.
    """
    path = Path(video)
    paths = {scale: Path(where) for scale, where in save.items()}
    for scale, where in paths.items():
        require_folder(where)
        if not 1 <= scale <= imSize:
            raise PortError(f"{scale} is no factor", where="prepare_dataset: save", hint=f"1 .. {imSize}")
    times = _times(frame_time)
    labels = np.asarray(gsd, dtype=np.float64).reshape(-1), np.asarray(gsd_time, dtype=np.float64).reshape(-1)
    boxes = np.asarray(bbox, dtype=np.float64), np.asarray(bbox_time, dtype=np.float64).reshape(-1)
    planes: Literal["luma", "rgb"] = "luma" if luma == "plane" else "rgb"
    with VideoReader(path, backend=backend, planes=planes, threads=threads) as reader:
        frames = _frames(times, boxes, labels, (reader.height, reader.width), match, smallest, path)
        then = {label: frames.valence, "video_time": frames.time, **(more or {})}
        shape = (imSize, imSize, len(frames.time))
        with ExitStack() as stack:
            files = {
                scale: stack.enter_context(FramesWriter(where, shape=shape, version=version, then=then))
                for scale, where in paths.items()
            }
            crops = stack.enter_context(closing(ahead(_crops(reader, frames), _AHEAD)))
            maker = face_maker(imSize, expected=len(frames.time))
            for made in _batches(_faces(crops, maker, progress)):
                batch = stretched(made) if luma == "gray" else made
                for scale, file in files.items():
                    file.append(degraded(batch, scale).transpose(1, 2, 0))
        unread = reader.skip()
    if unread:
        _log.warning("%s goes on after the last of %d times", path, len(times))
    small = len(times) - len(frames.time) - frames.no_face
    return Prepared(path.stem, len(times), len(frames.time), frames.no_face, small, unread, paths)


def _times(given: str | Path | npt.ArrayLike) -> Doubles:
    if isinstance(given, (str, Path)):
        return read_times(given)
    return np.asarray(given, dtype=np.float64).reshape(-1)


def _frames(
    times: Doubles,
    boxes: tuple[Doubles, Doubles],
    labels: tuple[Doubles, Doubles],
    size: tuple[int, int],
    match: Match,
    smallest: float,
    where: Path,
) -> _Frames:
    """Match rows with boxes and labels; everything that is wrong is told at once."""
    bbox, gsd = boxes[0], labels[0]
    if bbox.ndim != 2 or bbox.shape[1] != 4 or len(bbox) != len(boxes[1]):
        raise PortError(f"bbox {bbox.shape} and its {len(boxes[1])} times are not T x 4 and T", where=where)
    if len(gsd) != len(labels[1]):
        raise PortError(f"{len(gsd)} labels have {len(labels[1])} times", where=where)
    problems: list[str] = []
    of_box = _find(times, boxes[1], match, "bbox", problems)
    of_label = _find(times, labels[1], match, "gsd", problems)
    if problems:
        raise PortError("; ".join(problems), where=where, hint=_HINT[match])
    box, valence = bbox[of_box], gsd[of_label]
    face = box.sum(axis=1) != 0  # as the script asks, not whether all four are zero
    keep = face & (box[:, 2] > smallest) & (box[:, 3] > smallest)
    if not keep.any():
        raise PortError(
            f"no face is kept: {np.count_nonzero(~face)} of {len(times)} boxes are zero, the others not larger than "
            f"{smallest:g} pixels both ways",
            where=where,
        )
    if np.isnan(valence[keep]).any():
        row = int(np.flatnonzero(keep & np.isnan(valence))[0])
        raise PortError(f"the label at {times[row]:g} s is not a number", where=where, hint="mend gsd")
    height, width = size
    x, y, w, h = np.where(keep[:, None], box, 1).T
    left, top = np.maximum(np.ceil(x), 1), np.maximum(np.ceil(y), 1)
    right, bottom = np.minimum(np.ceil(x + w - 1), width), np.minimum(np.ceil(y + h - 1), height)
    outside = np.flatnonzero(keep & ~((left <= right) & (top <= bottom)))  # or not a number
    if len(outside):
        row = int(outside[0])
        raise PortError(
            f"the box at {times[row]:g} s, {box[row].tolist()}, lies outside the frame of {width} x {height}",
            where=where,
        )
    corners = np.stack([top, bottom, left, right], axis=1).astype(np.int64)
    return _Frames(keep, corners, valence[keep], times[keep], int(np.count_nonzero(~face)))


_HINT = {
    "exact": "times must be equal to the last digit; match='grid' compares them on the grid of 0.04 s",
    "grid": "every frame needs a box and a label",
}


def _find(times: Doubles, among: Doubles, match: Match, what: str, problems: list[str]) -> npt.NDArray[np.int64]:
    """For each time its place in `among`; what is missing or there twice goes to `problems`."""
    wanted, there = (values if match == "exact" else np.round(values / STEP) for values in (times, among))
    order = np.argsort(there, kind="stable")
    ranked = there[order]
    first = np.searchsorted(ranked, wanted, "left")
    counts = np.searchsorted(ranked, wanted, "right") - first
    for count, told in ((0, "has no"), (2, "has twice the")):
        found = times[counts == 0] if count == 0 else times[counts > 1]
        if len(found):
            listed = ", ".join(f"{value:.12g}" for value in found[:5])
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            problems.append(f"{what} {told} time {listed}{more}")
    return order[np.minimum(first, len(order) - 1)] if len(order) else np.zeros(len(times), np.int64)


def _crops(reader: VideoReader, frames: _Frames) -> Iterator[npt.NDArray[np.uint8] | None]:
    """Read one frame per row: the part in the box where the face is kept, else None."""
    for keep, (top, bottom, left, right) in zip(frames.keep, frames.corners, strict=True):
        if not reader.skip():
            raise PortError(
                f"has {reader.frames_read} frames, its table of times {len(frames.keep)} rows",
                where=reader.path,
                hint="one row per frame is expected; is the video complete?",
            )
        yield reader.picture()[top - 1 : bottom, left - 1 : right].copy() if keep else None


def _faces(
    crops: Iterator[npt.NDArray[np.uint8] | None], maker: Maker, progress: Callable[[int], None] | None
) -> Iterator[Singles]:
    """Gray faces of the crops that are kept."""
    for crop in crops:
        if crop is not None:
            yield maker(crop)
        if progress:
            progress(1)


def _batches(faces: Iterator[Singles]) -> Iterator[Singles]:
    while batch := list(islice(faces, _BATCH)):
        yield np.stack(batch)


def stretched(luminance: Singles) -> Singles:
    """Make Y, 16/255 .. 235/255, gray, 0 .. 1."""
    return (luminance * np.float32(255) - np.float32(16)) / np.float32(219)


def degraded(faces: Singles, scale: float) -> Singles:
    """Make faces (n, H, W) 1/scale as large and as large as before again, in their own class, as the script does."""
    if scale == 1:
        return faces
    small = imresize(faces, 1 / scale, axes=(1, 2))
    return imresize(small, faces.shape[1:], axes=(1, 2))
