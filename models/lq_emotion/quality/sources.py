"""Recordings to calibrate on: labelled ones as AVEC lays them out, and video files without labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.fingerprints import fingerprint, named_hashes
from lq_emotion.crops.recording import boxes_of
from lq_emotion.datasets.avec.gold import labels_at, load_gold_standard
from lq_emotion.datasets.avec.layout import DIMENSIONS, Dimension, Recording, find_recordings
from lq_emotion.datasets.avec.times import frame_times
from lq_emotion.faces.boxfiles import Boxes
from lq_emotion.faces.face import Image
from lq_emotion.faces.track import BoxSettings
from lq_emotion.quality.samples import FaceTrack, Source
from lq_emotion.quality.settings import Reading
from lq_emotion.video.container import read_frames
from lq_emotion.video.encode import Frames
from matlab_ports.videoreader import VideoReader

Doubles = npt.NDArray[np.float64]


def labelled_sources(
    root: Path, dimensions: Sequence[str], reading: Reading, names: Collection[str] = ()
) -> list[Source]:
    """Return the labelled recordings of a tree, by default those that are not named for training."""
    unknown = [name for name in dimensions if name not in DIMENSIONS]
    if unknown:
        hint = "recordings are labelled with valence and arousal"
        raise DataError("no labels for this output", code="unsupported", field="model", value=unknown[0], hint=hint)
    by_dimension = [find_recordings(root, dimension=cast("Dimension", name)) for name in dimensions]
    usable = [
        records
        for records in zip(*by_dimension, strict=True)
        if records[0].video and records[0].frame_time and all(record.labelled for record in records)
    ]
    chosen = [records for records in usable if (records[0].name in names if names else records[0].partition != "train")]
    missing = sorted(set(names) - {records[0].name for records in chosen})
    if missing or not chosen:
        value = missing[0] if missing else None
        hint = f"there are {', '.join(records[0].name for records in usable) or 'none with video, times and labels'}"
        raise DataError("no such recording", code="name-unknown", field="names", value=value, file=root, hint=hint)
    return [_labelled(records, reading) for records in chosen]


def _labelled(records: tuple[Recording, ...], reading: Reading) -> Source:
    first = records[0]
    boxes = reading.boxes_of(first.name) or first.boxes
    files = [first.video, first.frame_time, boxes, *(path for one in records for path in (one.gold, one.ratings))]
    identity = fingerprint([named_hashes(files), reading.frames, reading.delay])
    return Source(first.name, identity, partial(_read_labelled, records, boxes, reading))


def _read_labelled(records: tuple[Recording, ...], given: Path | None, reading: Reading) -> FaceTrack:
    video, table = records[0].video, records[0].frame_time
    assert video is not None
    assert table is not None
    times = np.asarray(frame_times(table), np.float64)[: reading.frames]
    frames = _read_frames(video, len(times))
    if len(frames) != len(times):
        problem = f"has {len(frames)} frames, its table of times has {len(times)} rows"
        raise DataError(problem, code="wrong-count", file=video)
    labels = [labels_at(load_gold_standard(record), times, reading.delay) for record in records]
    return FaceTrack(frames, _find_boxes(video, times, given), np.stack(labels, axis=1))


def video_sources(videos: Sequence[Path], reading: Reading) -> list[Source]:
    """Return video files without labels, each of another name."""
    names = [video.stem for video in videos]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise DataError("two videos of this name", code="duplicate", field="recordings", value=repeated)
    sources = []
    for video in videos:
        boxes = reading.boxes_of(video.stem)
        identity = fingerprint([named_hashes([video, boxes]), reading.frames])
        sources.append(Source(video.stem, identity, partial(_read_video, video, boxes, reading)))
    return sources


def _read_video(video: Path, given: Path | None, reading: Reading) -> FaceTrack:
    frames = list(read_frames(video, reading.frames))
    times = np.array([frame.time for frame in frames], np.float64)
    boxes = _find_boxes(video, times) if given is None else _largest(Boxes(given), times)
    return FaceTrack(_stacked(video, [frame.image for frame in frames]), boxes)


def _largest(boxes: Boxes, times: Doubles) -> Doubles:
    """Return the box of the largest face at each time, in the form of `FaceTrack`."""
    largest = np.full((len(times), 4), np.nan)
    for row, time in enumerate(times.tolist()):
        if faces := boxes.at(time):
            face = max(faces, key=lambda face: face.width * face.height)
            largest[row] = face.x, face.y, face.width, face.height
    return largest


def _read_frames(video: Path, count: int) -> npt.NDArray[np.uint8]:
    with VideoReader(video) as reader:
        images = [reader.frame().copy() for _ in takewhile(lambda _: reader.advance(), range(count))]
        return _stacked(video, images) if images else np.empty((0, reader.height, reader.width, 3), np.uint8)


def _stacked(video: Path, images: Sequence[Image]) -> Frames:
    first = images[0].shape[:2]
    for number, image in enumerate(images):
        if image.shape[:2] != first:
            (height, width), (old_height, old_width) = image.shape[:2], first
            raise FileError(
                f"frame {number} has {width} x {height} pixels, those before {old_width} x {old_height}; to be coded "
                "again, all need one size", code="shape-mismatch", file=video, value=f"{width} x {height}",
                hint="cut the video where the size changes, or take fewer frames: --frames",
            )  # fmt: skip
    return np.stack(images)


def _find_boxes(video: Path, times: Doubles, given: Path | None = None) -> Doubles:
    """Return boxes in the form of `FaceTrack`; in the files they are 1-based, and zero without a face."""
    boxes = np.array(boxes_of(video, times, BoxSettings(), given=given).bbox, np.float64)
    present = boxes.any(axis=1)
    boxes[:, :2] -= 1
    boxes[~present] = np.nan
    return boxes
