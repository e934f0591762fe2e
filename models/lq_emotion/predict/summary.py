"""What is remembered of a source for its page, in constant memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from lq_emotion.faces.face import Image
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.predict.analysis import SeenFrame

Doubles = npt.NDArray[np.float64]
_SHEET = 24  # crops
_SIDE = 96  # pixels
_REASONS = 1000  # different ones
_BINS = 4000  # of all faces together


class Timeline:
    """Means of values over bins of time, whose width doubles whenever there are too many.

    Sums are Python's floats: thousands of small arrays between those of the frames would keep the heap from shrinking.
    """

    def __init__(self) -> None:
        self._width = 0.02
        self._bins: dict[tuple[int, int], tuple[int, tuple[float, ...]]] = {}

    def add(self, face: int, at: float, values: Sequence[float]) -> None:
        """Add the values of a face at a time."""
        self._put((face, int(at / self._width)), 1, tuple(values))
        while len(self._bins) > _BINS:
            self._width *= 2
            old, self._bins = self._bins, {}
            for (owner, place), (count, total) in old.items():
                self._put((owner, place // 2), count, total)

    def of(self, face: int) -> tuple[Doubles, Doubles]:
        """Return times (n,) and mean values (n, k) of a face."""
        places = sorted(place for owner, place in self._bins if owner == face)
        counts, totals = zip(*(self._bins[face, place] for place in places), strict=True)
        return (np.array(places) + 0.5) * self._width, np.array(totals) / np.array(counts)[:, None]

    @property
    def width(self) -> float:
        """Width of a bin."""
        return self._width

    def _put(self, key: tuple[int, int], count: int, total: tuple[float, ...]) -> None:
        before, sums = self._bins.get(key, (0, (0.0,) * len(total)))
        self._bins[key] = before + count, tuple(map(sum, zip(sums, total, strict=True)))


class Sheet:
    """Crops at even distances: every k-th frame with a face, where k doubles whenever there are too many."""

    def __init__(self) -> None:
        self._step, self._count = 1, 0
        self.crops: list[tuple[SeenFrame, Image]] = []

    def add(self, seen: SeenFrame) -> None:
        """Take the first face of a frame into account."""
        if self._count % self._step == 0:
            crop = FaceCrop(margin=0.15).cut(seen.frame.image, seen.faces[0].face)
            side = (_SIDE, _SIDE)
            small = np.asarray(cv2.resize(crop, side, interpolation=cv2.INTER_AREA), np.uint8)
            self.crops.append((_without_image(seen), small))
            if len(self.crops) > 2 * _SHEET:
                self.crops, self._step = self.crops[::2], 2 * self._step
        self._count += 1

    def chosen(self) -> list[tuple[SeenFrame, Image]]:
        """Return at most 24 of the crops, the first and the last among them."""
        if not self.crops:
            return []
        places = np.unique(np.linspace(0, len(self.crops) - 1, _SHEET).round().astype(int))
        return [self.crops[place] for place in places]


@dataclass(eq=False)
class Summary:
    """Counts, a thinned timeline and a thinned sheet of faces.

    Attributes
    ----------
    frames, empty : frames, and those without a face.
    faces, held : rows with a face, and those whose face was not detected in the frame.
    seconds : time of the last frame.
    smallest, largest : shorter side of a face in pixels.
    by_id : rows of each face.
    trusted : per net, rows that are trusted; None without a calibration.
    reasons : why others are not, with the net's number.
    """

    frames: int = 0
    empty: int = 0
    faces: int = 0
    held: int = 0
    seconds: float = math.nan
    smallest: float = math.inf
    largest: float = 0.0
    by_id: Counter[int] = field(default_factory=Counter)
    trusted: Counter[int] = field(default_factory=Counter)
    reasons: Counter[tuple[int, str]] = field(default_factory=Counter)
    timeline: Timeline = field(default_factory=Timeline)
    sheet: Sheet = field(default_factory=Sheet)

    def add(self, seen: SeenFrame) -> None:
        """Take a frame into account."""
        frame = seen.frame
        self.frames += 1
        self.empty += not seen.faces
        self.seconds = frame.time
        for face in seen.faces:
            self.faces += 1
            self.held += not face.detected
            self.smallest = min(self.smallest, face.condition.size)
            self.largest = max(self.largest, face.condition.size)
            self.by_id[face.id] += 1
            for number, estimate in enumerate(face.estimates):
                if estimate.trust is not None:
                    self.trusted[number] += estimate.trust.trusted
                    reason = (number, estimate.trust.why)
                    if estimate.trust.why and (reason in self.reasons or len(self.reasons) < _REASONS):
                        self.reasons[reason] += 1
            values = [value for estimate in face.estimates for value in estimate.values.tolist()]
            at = float(frame.index) if math.isnan(frame.time) else frame.time
            self.timeline.add(face.id, at, values)
        if seen.faces:
            self.sheet.add(seen)


def _without_image(seen: SeenFrame) -> SeenFrame:
    return SeenFrame(replace(seen.frame, image=np.empty((0, 0, 3), np.uint8)), seen.faces)
