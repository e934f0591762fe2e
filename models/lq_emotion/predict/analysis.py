"""Analyse frames: faces with ids, conditions and estimates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lq_emotion.faces.boxfiles import Boxes
from lq_emotion.faces.face import Face, FaceDetector, Image
from lq_emotion.faces.identities import Followed, Identities
from lq_emotion.nets.known.loading import LoadedModel
from lq_emotion.quality import Calibration, Trust
from lq_emotion.quality.measures import Condition, RecentBits, measure
from lq_emotion.video.frames import Frame

_BATCH = 8  # frames at a time
_BATCH_PIXELS = 1 << 24  # of all frames at a time: 48 MiB


@dataclass(frozen=True, eq=False)
class Estimate:
    """A net's estimate of a face."""

    values: npt.NDArray[np.float32]
    """(k,), of the dimensions, or the probabilities of the classes."""
    trust: Trust | None
    """None for a net without a calibration."""


class Estimator:
    """A net with its crop, preprocessing and calibration, by default the one next to its weights, if there is one.

    A calibration that is damaged, or was made with other weights, is refused.
    """

    def __init__(self, model: LoadedModel, calibration: Calibration | None = None) -> None:
        self.model = model
        self.calibration = calibration or Calibration.of_weights(model.weights)

    def __call__(self, crops: Sequence[Image], conditions: Sequence[Condition]) -> list[Estimate]:
        """Return an estimate for each face, from crops as `model.crop` cuts them and the conditions in the frame."""
        values = self.model.estimates(crops)
        if self.calibration is None:
            return [Estimate(row, None) for row in values]
        trusts = self.calibration.judge(values, conditions)
        return [Estimate(row, trust) for row, trust in zip(values, trusts, strict=True)]


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A face in a frame."""

    followed: Followed
    condition: Condition
    estimates: tuple[Estimate, ...]
    """One per net."""


class Analysis:
    """Find, follow and judge the faces of one source.

    With `follow` a face has the same id in consecutive frames; images of a folder have nothing to do with each other.
    With `alone` frames are taken one at a time: those of live sources, whose next frame is a while away.
    """

    def __init__(
        self, detector: FaceDetector | Boxes, estimators: Sequence[Estimator], *, follow: bool = True, alone: bool
    ) -> None:
        self._detector, self._estimators, self._alone = detector, estimators, alone
        self._identities = Identities() if follow else None
        self._recent_bits = RecentBits()

    def __call__(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, tuple[SeenFace, ...]]]:
        """Yield each frame with its faces; frames are taken in batches, as many as `_BATCH_PIXELS` allow."""
        batch: list[Frame] = []
        pixels = 0
        for frame in frames:
            height, width = frame.image.shape[:2]
            pixels += height * width
            if batch and pixels > _BATCH_PIXELS:
                yield from self._judge(batch)
                batch, pixels = [], height * width
            batch.append(frame)
            if self._alone or len(batch) == _BATCH:
                yield from self._judge(batch)
                batch, pixels = [], 0
        if batch:
            yield from self._judge(batch)

    def _judge(self, frames: list[Frame]) -> list[tuple[Frame, tuple[SeenFace, ...]]]:
        if isinstance(self._detector, Boxes):
            faces = [self._detector.at(frame.time) for frame in frames]
        else:
            faces = self._detector([frame.image for frame in frames])
        visible = [self._visible(frame, seen) for frame, seen in zip(frames, faces, strict=True)]
        conditions = [condition for seen in visible for _, condition in seen]
        estimates = []
        for estimator in self._estimators:
            cut = estimator.model.crop.cut
            crops = [cut(frame.image, f.face) for frame, seen in zip(frames, visible, strict=True) for f, _ in seen]
            estimates.append(iter(estimator(crops, conditions)))
        return [
            (frame, tuple(SeenFace(*one, tuple(map(next, estimates))) for one in seen))
            for frame, seen in zip(frames, visible, strict=True)
        ]

    def _visible(self, frame: Frame, faces: Sequence[Face]) -> list[tuple[Followed, Condition]]:
        """Return the faces of the next frame with their ids; an expected face may have left the image."""
        height, width = frame.image.shape[:2]
        bits = self._recent_bits(frame.bits, height * width)
        followed: Sequence[Followed]
        if self._identities is None:
            followed = [Followed(face, number, detected=True) for number, face in enumerate(faces, 1)]
        else:
            followed = self._identities.update(faces, frame.image)
        visible = []
        for one in followed:
            x, y, face = one.face.x, one.face.y, one.face
            if x < width - 1 and y < height - 1 and x + face.width > 1 and y + face.height > 1:
                visible.append((one, measure(frame.image, face, bits)))
        return visible
