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
    """A net's estimate of a face.

    Attributes
    ----------
    values : (k,) float32, of the dimensions, or the probabilities of the classes.
    trust : None for a net without a calibration.
    """

    values: npt.NDArray[np.float32]
    trust: Trust | None


class Estimator:
    """A net with its crop, preprocessing and calibration.

    Parameters
    ----------
    model : the net.
    calibration : by default the one next to its weights, if there is one.

    Raises
    ------
    FileError
        The calibration is damaged, or was made with other weights.
    """

    def __init__(self, model: LoadedModel, calibration: Calibration | None = None) -> None:
        self.model = model
        self.calibration = calibration or Calibration.beside(model.weights)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    def __call__(self, crops: Sequence[Image], conditions: Sequence[Condition]) -> list[Estimate]:
        """Return an estimate for each face.

        Parameters
        ----------
        crops : as `cut` returns them.
        conditions : the faces were seen under.
        """
        values = self.model.estimates(crops)
        if self.calibration is None:
            return [Estimate(row, None) for row in values]
        trusts = self.calibration.judge(values, conditions)
        return [Estimate(row, trust) for row, trust in zip(values, trusts, strict=True)]

    def cut(self, image: Image, face: Face) -> Image:
        """Cut a face out of a frame for the net."""
        return self.model.crop.cut(image, face)


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A face in a frame.

    Attributes
    ----------
    id : the same for the same face in all frames of a video.
    detected : found in this frame, rather than expected there from the frames around it.
    face : box, score, landmarks.
    condition : it was seen under.
    estimates : one per net.
    """

    id: int
    detected: bool
    face: Face
    condition: Condition
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame and its faces."""

    frame: Frame
    faces: tuple[SeenFace, ...]


def found(detector: FaceDetector | Boxes, frames: Sequence[Frame]) -> list[list[Face]]:
    """Return the faces of each frame."""
    if isinstance(detector, Boxes):
        return [detector.at(frame.time) for frame in frames]
    return detector([frame.image for frame in frames])


class Analysis:
    """Find, follow and judge the faces of one source.

    Parameters
    ----------
    detector : finds the faces of images, or the boxes of a video.
    estimators : the nets.
    follow : give a face the same id in consecutive frames; images of a folder have nothing to do with each other.
    alone : take one frame at a time: of live sources, whose next frame is a while away.
    """

    def __init__(
        self, detector: FaceDetector | Boxes, estimators: Sequence[Estimator], *, follow: bool = True, alone: bool
    ) -> None:
        self._detector, self._estimators, self._alone = detector, tuple(estimators), alone
        self._identities = Identities() if follow else None
        self._recent_bits = RecentBits()

    def __call__(self, frames: Iterable[Frame]) -> Iterator[SeenFrame]:
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

    def _judge(self, frames: list[Frame]) -> Iterator[SeenFrame]:
        visible: list[tuple[int, Followed, Condition]] = []
        for number, (frame, faces) in enumerate(zip(frames, found(self._detector, frames), strict=True)):
            height, width = frame.image.shape[:2]
            bits = self._recent_bits(frame.bits, height * width)
            followed = self._follow(faces, frame.image)
            visible += (
                (number, item, measure(frame.image, item.face, bits)) for item in _visible(followed, frame.image)
            )
        estimates = [self._estimates(estimator, frames, visible) for estimator in self._estimators]
        seen: list[list[SeenFace]] = [[] for _ in frames]
        for place, (number, item, condition) in enumerate(visible):
            judged = tuple(values[place] for values in estimates)
            seen[number].append(SeenFace(item.id, item.detected, item.face, condition, judged))
        for frame, faces_seen in zip(frames, seen, strict=True):
            yield SeenFrame(frame, tuple(faces_seen))

    def _follow(self, faces: Sequence[Face], image: Image) -> Sequence[Followed]:
        """Return the faces of the next frame with their ids, those that were missed too."""
        if self._identities is None:
            return [Followed(face, number, detected=True) for number, face in enumerate(faces, 1)]
        return self._identities.update(faces, image)

    @staticmethod
    def _estimates(
        estimator: Estimator, frames: Sequence[Frame], visible: Sequence[tuple[int, Followed, Condition]]
    ) -> list[Estimate]:
        crops = [estimator.cut(frames[number].image, item.face) for number, item, _ in visible]
        return estimator(crops, [condition for *_, condition in visible])


def _visible(followed: Sequence[Followed], image: Image) -> Iterator[Followed]:
    """Yield the faces with at least one pixel in the image: a face that is expected may have left it."""
    height, width = image.shape[:2]
    for item in followed:
        face = item.face
        if face.x < width - 1 and face.y < height - 1 and face.x + face.width > 1 and face.y + face.height > 1:
            yield item
