"""Answers of a net on recordings that are degraded step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.fingerprints import file_sha256, fingerprint
from lq_emotion.common.journal import Journal
from lq_emotion.faces.face import Face, Image
from lq_emotion.nets.known.loading import LoadedModel
from lq_emotion.quality.conformal import Samples
from lq_emotion.quality.measures import MEASURES, RecentBits, measure, table
from lq_emotion.quality.settings import Grid
from lq_emotion.video.degrade import degrade
from lq_emotion.video.encode import Frames, versions

Doubles = npt.NDArray[np.float64]
_VERSION = 1  # of the stored samples


class FaceTrack(NamedTuple):
    """The frames of one recording, with a face in each or none."""

    frames: Frames
    """(T, H, W, 3) uint8, red first."""
    boxes: Doubles
    """(T, 4) float64: left, top, width, height in pixels, 0-based; NaN without a face."""
    labels: Doubles | None = None
    """(T, k) float64, NaN where a frame has none; None without labels."""


class Source(NamedTuple):
    """A recording that is read when its turn comes."""

    name: str
    identity: str
    """Fingerprint of its files and of how they are read."""
    read: Callable[[], FaceTrack]


def answer(model: LoadedModel, images: Sequence[Image], faces: Sequence[Face]) -> Doubles:
    """Return a net's estimates for one face in each image, (n, k) float64."""
    crops = [model.crop.cut(image, face) for image, face in zip(images, faces, strict=True)]
    return model.estimates(crops).astype(np.float64)


def degraded_answers(model: LoadedModel, clip: FaceTrack, grid: Grid) -> Samples:
    """Return the answers on one clip at every scale and QP; its recording has number 0.

    Frames without a face, or without a label where the clip has labels, are coded with the others and left out then.
    """
    used = np.isfinite(clip.boxes).all(axis=1)
    if clip.labels is not None:
        used &= np.isfinite(clip.labels).all(axis=1)
    rows = np.flatnonzero(used)
    if not len(rows):
        outputs = len(model.outputs.names)
        return Samples(*np.zeros((3, 0)), *(np.zeros((0, k)) for k in (len(MEASURES), outputs, outputs)))
    images = [clip.frames[row] for row in rows]
    truth = answer(model, images, _faces(clip, rows)) if clip.labels is None else clip.labels[rows]
    parts = [_one(model, clip, rows, truth, scale, qp, grid.codec) for scale in grid.scales for qp in grid.qps]
    return join(parts, renumber=False)


def _faces(clip: FaceTrack, rows: npt.NDArray[np.intp], scale: float = 1) -> list[Face]:
    boxes = (clip.boxes[rows] / scale).tolist()
    return [Face(x, y, width, height, math.nan) for x, y, width, height in boxes]


def _one(
    model: LoadedModel, clip: FaceTrack, rows: npt.NDArray[np.intp], truth: Doubles, scale: float, qp: int, codec: str
) -> Samples:
    low = degrade(clip.frames, scale=scale, qp=qp, codec=codec)
    recent, pixels = RecentBits(), low.frames.shape[1] * low.frames.shape[2]
    bits = [recent(float(count), pixels) for count in low.bits]
    faces, images = _faces(clip, rows, scale), [low.frames[row] for row in rows]
    conditions = [measure(image, face, bits[row]) for image, face, row in zip(images, faces, rows, strict=True)]
    count = len(rows)
    return Samples(
        np.zeros(count, np.int64), np.full(count, float(scale)), np.full(count, float(qp)),
        table(conditions), answer(model, images, faces), truth,
    )  # fmt: skip


def join(parts: Sequence[Samples], *, renumber: bool = True) -> Samples:
    """Join samples; with `renumber`, each part becomes a recording of its own."""
    recording = [np.full(len(part), place) if renumber else part.recording for place, part in enumerate(parts)]
    names = ("scale", "qp", "values", "answers", "truth")
    rest = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return Samples(np.concatenate(recording).astype(np.int64), *rest)


def collect(model: LoadedModel, sources: Sequence[Source], grid: Grid, folder: Path) -> Iterator[tuple[str, Samples]]:
    """Yield the samples of each recording; those that an earlier call stored in the folder are read from there."""
    journal = Journal(folder / "journal.json", root=folder)
    # the whole of what the answers depend on
    net = [file_sha256(model.weights), repr(model.crop), repr(model.preprocessing)]
    common = [_VERSION, grid.to_json(), versions(), *net]
    for source in sources:
        path, made_from = folder / f"{source.name}.npz", fingerprint([common, source.identity])
        if journal.is_done(source.name, made_from):
            yield source.name, _load(path)
            continue
        samples = degraded_answers(model, source.read(), grid)
        _store(samples, path)
        journal.note(source.name, made_from, [path])
        yield source.name, samples


def _store(samples: Samples, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, **vars(samples))


def _load(path: Path) -> Samples:
    with np.load(path) as file:
        return Samples(**{name: file[name] for name in file.files})
