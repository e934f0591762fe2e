"""Keep the ids of faces from frame to frame, through misses and cuts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from caffe_compat.errors import DataError
from lq_emotion.faces.face import Face, Image

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_REACH = 0.75  # of a face's width, between where it is expected and where it is
_REACH_PER_MISS = 0.05  # added with each frame without it
_MAX_SCALE = 1.6  # ratio of widths between two detections
_LIKENESS_WEIGHT = 0.5  # relative to the overlap, which goes from 0 to 1
_RETURN_REACH = 1.0  # of a face's width, from where it was lost
_RETURN_LIKENESS = 0.7  # measured: five people of one photograph 0 to .77 in pairs, one man in 6 s of video .57 to .98
_SETTLING = 0.2  # part of the newest detection in a face's mean appearance
_STEADY = 0.5  # part of the newest step in a face's velocity
_THUMBNAIL = (12, 12)
_REMEMBERED = 64  # faces that may return
_CUT = 0.35  # part of the pixels that change their level between two frames of different scenes
_LEVELS, _BLOCKS, _SAMPLES = 16, 2, 64  # of gray; of the frame, each way; rows and columns looked at


class Followed(NamedTuple):
    """A face that is followed through a video, as it was detected last.

    `id` counts from 1, in the order of first appearance; `detected` is true if the face was detected in this frame.
    """

    face: Face
    id: int
    detected: bool


@dataclass(frozen=True)
class _Track:
    """A face that is followed: its velocity in pixels a frame, its mean appearance, frames since it was detected."""

    id: int
    face: Face
    velocity: Doubles
    appearance: Singles
    misses: int = 0

    @property
    def expected(self) -> Face:
        right, down = (self.velocity * (self.misses + 1)).tolist()
        return replace(self.face, x=self.face.x + right, y=self.face.y + down)


class Identities:
    """Gives the faces of successive frames their ids.

    A face is reported for `hold` frames without detection, not beyond a cut. It keeps its id if it is near where its
    last step would bring it, in about its size; of several, the pairs with the largest sum of overlap and likeness are
    chosen (Hungarian method). The likeness of two faces is the correlation of their thumbnails, 12 x 12 pixels in
    colour, less the difference of their mean colours. A cut is noticed from the gray levels of the frame's quarters.
    After a cut, or longer than `hold` without detection, a face gets its old id if it comes back within a face's width
    of where it was, in about its size and with a likeness of at least 0.7; otherwise a new one: this is no face
    recognition. The last 64 lost faces may come back, so that memory stays constant.
    """

    def __init__(self, *, hold: int = 12) -> None:
        if hold < 0:
            raise DataError("expected a number of frames", code="out-of-range", field="hold", value=hold)
        self._hold = hold
        self._tracks: list[_Track] = []
        self._lost: deque[_Track] = deque(maxlen=_REMEMBERED)
        self._levels: Doubles | None = None
        self._ids = 0

    def update(self, faces: Sequence[Face], image: Image) -> list[Followed]:
        """Return the faces of the next frame, (H, W, 3) uint8, by id, with those held."""
        if self._is_cut(image):
            self._lost.extend(self._tracks)
            self._tracks = []
        appearances = [_appearance(image, face) for face in faces]
        matches = self._match(faces, appearances)
        tracks = []
        for position, number in matches.items():
            track, face = self._tracks[number], faces[position]
            step = (_centre(face) - _centre(track.face)) / (track.misses + 1)
            velocity = (1 - _STEADY) * track.velocity + _STEADY * step
            appearance = (1 - _SETTLING) * track.appearance + _SETTLING * appearances[position]
            tracks.append(_Track(track.id, face, velocity, appearance))
        for position, track in enumerate(self._tracks):
            if position not in matches.values():
                missed = replace(track, misses=track.misses + 1)
                (tracks if missed.misses <= self._hold else self._lost).append(missed)
        for position, (face, appearance) in enumerate(zip(faces, appearances, strict=True)):
            if position not in matches:
                tracks.append(self._begun(face, appearance))
        self._tracks = sorted(tracks, key=lambda track: track.id)
        return [Followed(track.face, track.id, detected=track.misses == 0) for track in self._tracks]

    def _is_cut(self, image: Image) -> bool:
        """Compare the gray levels of each quarter of the frame, (blocks, levels), with those of the frame before."""
        rows, columns = (np.arange(_SAMPLES) * side // _SAMPLES for side in image.shape[:2])
        level = image[rows[:, None], columns].sum(axis=2, dtype=np.int64) * _LEVELS // (3 * 256)
        block = np.arange(_SAMPLES) * _BLOCKS // _SAMPLES
        cell = (block[:, None] * _BLOCKS + block) * _LEVELS + level
        levels = np.bincount(cell.ravel(), minlength=_BLOCKS**2 * _LEVELS) / _SAMPLES**2
        previous, self._levels = self._levels, levels
        return previous is not None and float(abs(levels - previous).sum()) / 2 > _CUT

    def _match(self, faces: Sequence[Face], appearances: Sequence[Singles]) -> dict[int, int]:
        """Return the track of each face that has one."""
        if not faces or not self._tracks:
            return {}
        gains = np.zeros((len(faces), len(self._tracks)))
        for row, (face, appearance) in enumerate(zip(faces, appearances, strict=True)):
            for column, track in enumerate(self._tracks):
                expected, reach = track.expected, _REACH + _REACH_PER_MISS * track.misses
                likeness = _likeness((face, appearance), (expected, track.appearance), reach)
                if likeness is not None:
                    gains[row, column] = 1 + overlap(face, expected) + _LIKENESS_WEIGHT * likeness
        pairs = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
        return {int(row): int(column) for row, column in pairs if gains[row, column] > 0}

    def _begun(self, face: Face, appearance: Singles) -> _Track:
        """Return the track of the lost face that this one plausibly is, else a new one."""
        plausible: list[tuple[float, _Track]] = []
        for track in self._lost:
            likeness = _likeness((face, appearance), (track.face, track.appearance), _RETURN_REACH)
            if likeness is not None and likeness >= _RETURN_LIKENESS:
                plausible.append((likeness, track))
        if not plausible:
            self._ids += 1
            return _Track(self._ids, face, np.zeros(2), appearance)
        _, track = max(plausible, key=lambda pair: pair[0])
        self._lost = deque((other for other in self._lost if other.id != track.id), _REMEMBERED)
        return replace(track, face=face, velocity=np.zeros(2), misses=0)


def _centre(face: Face) -> Doubles:
    return np.array([face.x + face.width / 2, face.y + face.height / 2])


def overlap(a: Face, b: Face) -> float:
    """Return the intersection's part of the union."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    common = max(across, 0.0) * max(down, 0.0)
    return common / max(a.width * a.height + b.width * b.height - common, 1e-9)


def _appearance(image: Image, face: Face) -> Singles:
    """Return a thumbnail of a face, from 0 to 1; zeros if the face is outside the image."""
    height, width = image.shape[:2]
    left, right = (int(np.clip(side, 0, width)) for side in (face.x, face.x + face.width))
    top, bottom = (int(np.clip(side, 0, height)) for side in (face.y, face.y + face.height))
    if right <= left or bottom <= top:
        return np.zeros((*_THUMBNAIL, 3), np.float32)
    thumbnail = cv2.resize(image[top:bottom, left:right], _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(thumbnail / np.float32(255), np.float32)


def _likeness(one: tuple[Face, Singles], other: tuple[Face, Singles], reach: float) -> float | None:
    """Return the correlation of two appearances less the difference of their colours, which goes from 0 to 1.

    Faces that are not at about the same place, within `reach` of their width, and of about the same size have none.
    """
    small, large = sorted([one[0].width, other[0].width])
    if not (abs(_centre(one[0]) - _centre(other[0])).max() <= reach * large and large < _MAX_SCALE * small):
        return None
    a, b = one[1], other[1]
    colour = float(abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))).max())
    a, b = a - a.mean(), b - b.mean()
    return float(np.vdot(a, b)) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-6) - colour
