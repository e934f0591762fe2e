"""Draw the eight emotions of RAVDESS, and FER+'s contempt, with brows, lids, nose and mouth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from lq_emotion.datasets.synthetic.face import Image, fill, stroke
from lq_emotion.datasets.synthetic.person import Person


@dataclass(frozen=True)
class Features:
    """The features of a face, 0 at rest; most lie between -1 and 1.

    Attributes
    ----------
    inner_brow, outer_brow : ends of the brows, raised or lowered.
    frown : brows drawn together.
    upper_lid : wide eyes, or half-closed ones.
    lower_lid : raised.
    nose : wrinkled.
    upper_lip : raised.
    corners : corners of the mouth, raised or lowered.
    one_sided : part of `corners` that one side lacks.
    width : width of the mouth.
    jaw : dropped.
    press : lips pressed together.
    teeth : visible in the open mouth.
    """

    inner_brow: float = 0.0
    outer_brow: float = 0.0
    frown: float = 0.0
    upper_lid: float = 0.0
    lower_lid: float = 0.0
    nose: float = 0.0
    upper_lip: float = 0.0
    corners: float = 0.0
    one_sided: float = 0.0
    width: float = 0.0
    jaw: float = 0.0
    press: float = 0.0
    teeth: float = 0.0

    def at(self, level: float, *, talk: float = 0.0, blink: float = 0.0) -> Features:
        """Return the features at a level from 0, at rest, to 1, while the mouth moves and the eyes blink."""
        scaled = Features(**{field.name: level * getattr(self, field.name) for field in fields(self)})
        lid = scaled.upper_lid - (1.4 + scaled.upper_lid) * blink
        return replace(scaled, jaw=scaled.jaw + (1 - 0.5 * scaled.jaw) * talk, upper_lid=lid)


EMOTIONS = {
    "neutral": Features(),
    "calm": Features(upper_lid=-0.45, corners=0.28, inner_brow=0.15, outer_brow=0.1),
    "happy": Features(corners=1.0, width=0.7, lower_lid=0.7, jaw=0.25, teeth=1.0, outer_brow=0.15),
    "sad": Features(inner_brow=1.0, outer_brow=-0.5, upper_lid=-0.4, corners=-1.0, width=-0.2),
    "angry": Features(inner_brow=-1.0, outer_brow=0.25, frown=1.0, lower_lid=0.5, press=1.0, corners=-0.25),
    "fearful": Features(
        inner_brow=1.0, outer_brow=0.3, frown=0.7, upper_lid=0.9, corners=-0.4, width=0.7, jaw=0.35, teeth=1.0
    ),
    "disgust": Features(
        inner_brow=-0.5, outer_brow=-0.3, lower_lid=0.9, upper_lid=-0.35, nose=1.0, upper_lip=1.0, corners=-0.5
    ),
    "surprised": Features(inner_brow=1.0, outer_brow=1.1, upper_lid=1.0, jaw=1.0, width=-0.5),
    "contempt": Features(corners=0.8, one_sided=1.0, upper_lid=-0.25, press=0.4),
}


def draw_emotion(person: Person, features: Features) -> Image:
    """Draw brows, eyes, nose and mouth onto the head: (SIDE, SIDE, 3) uint8."""
    canvas = person.head.copy()
    _nose(canvas, person, features)
    for side in (-1, 1):
        _eye(canvas, person, features, side)
        _brow(canvas, person, features, side)
    _mouth(canvas, person, features)
    return canvas


def _eye(canvas: Image, person: Person, features: Features, side: int) -> None:
    x, y, r = 0.5 + side * person.eye_gap, person.eye_level, person.eye_size
    opening = max(0.50 + 0.36 * features.upper_lid, 0.0)
    upper, lower = y - r * opening, y + r * 0.42 * min(1 - 0.75 * features.lower_lid, 2 * opening)
    turn = np.linspace(0, np.pi, 9)
    top = np.column_stack([x - r * np.cos(turn), y + (upper - y) * np.sin(turn)])
    bottom = np.column_stack([x + r * np.cos(turn), y + (lower - y) * np.sin(turn)])
    if opening > 0.08:
        fill(canvas, np.concatenate([top, bottom]), tuple(0.6 * c + 0.4 * 232 for c in person.skin))
        height, iris = min((lower - upper) / 2, r * 0.42), np.linspace(0, 2 * np.pi, 14)
        middle = (upper + lower) / 2
        fill(canvas, np.column_stack([x + 0.42 * r * np.cos(iris), middle + height * np.sin(iris)]), person.iris)
    stroke(canvas, top, 0.0085, tuple(0.35 * c for c in person.skin))
    stroke(canvas, bottom, 0.004 + 0.004 * features.lower_lid, tuple(0.65 * c for c in person.skin))


def _brow(canvas: Image, person: Person, features: Features, side: int) -> None:
    x, y = 0.5 + side * person.eye_gap, person.eye_level - person.brow_level
    along = np.linspace(-1, 1, 9)  # from the nose outwards
    lift = 0.034 * (features.inner_brow * (1 - along) + features.outer_brow * (1 + along)) / 2
    rows = y - lift - 0.012 * (1 - along**2) + 0.006 * (1 + along)
    columns = x + side * (0.062 * along - 0.016 * features.frown * (1 - along) / 2)
    colour = tuple(min(0.8 * h, 0.45 * s) for h, s in zip(person.hair, person.skin, strict=True))
    stroke(canvas, np.column_stack([columns, rows]), person.brow_weight, colour)
    if features.frown > 0.3:  # a fold between the brows
        fold = [(0.5 + side * 0.016, y - 0.012), (0.5 + side * 0.012, y + 0.03)]
        stroke(canvas, fold, 0.004, _shade(person, 0.35 * features.frown))


def _nose(canvas: Image, person: Person, features: Features) -> None:
    bridge, tip = person.eye_level + 0.02, person.eye_level + person.nose
    if features.nose > 0.2:
        for step in (0.0, 0.022, 0.044):
            wrinkle = [(0.465, bridge + step + 0.008), (0.5, bridge + step), (0.535, bridge + step + 0.008)]
            stroke(canvas, wrinkle, 0.005, _shade(person, 0.4 * features.nose))
        for side in (-1, 1):
            fold = [
                (0.5 + side * 0.045, tip - 0.012),
                (0.5 + side * 0.085, tip + 0.035),
                (0.5 + side * 0.1, tip + 0.075),
            ]
            stroke(canvas, fold, 0.006, _shade(person, 0.4 * features.nose))


def _mouth(canvas: Image, person: Person, features: Features) -> None:
    half = person.mouth_width * (1 + 0.35 * features.width)
    along = np.linspace(-1, 1, 15)
    bow, columns = 1 - along**2, 0.5 + half * along
    side = np.where(along > 0, 1.0, 1 - features.one_sided)
    lift = 0.046 * features.corners * side
    middle = person.mouth_level + 0.35 * 0.046 * features.corners - lift * along**2 - 0.012 * features.upper_lip * bow
    gap = 0.085 * max(features.jaw, 0) + 0.018 * features.upper_lip
    weight = person.lip_weight * (1 - 0.75 * features.press)
    inner_top = middle - (0.25 * gap + 0.008 * features.upper_lip) * bow
    inner_bottom = middle + gap * bow
    upper = inner_top - weight * bow * (0.75 + 0.25 * np.cos(4 * along)) - 0.4 * weight * features.upper_lip * bow
    lower = inner_bottom + 1.25 * weight * bow
    fill(canvas, _ring(columns, upper, lower), person.lips)
    if gap > 0.004:
        fill(canvas, _ring(columns, inner_top, inner_bottom), (48, 22, 22))
        if features.teeth > 0.3 or features.upper_lip > 0.3:
            depth = np.minimum(inner_bottom - inner_top, 0.022)
            fill(canvas, _ring(columns[1:-1], inner_top[1:-1], (inner_top + depth)[1:-1]), (232, 228, 220))
    else:
        stroke(canvas, np.column_stack([columns, middle]), 0.0055 + 0.003 * features.press, _lips(person, 0.4))
    if features.corners > 0.15:  # folds from the nose to the raised corners
        for sign, share in ((-1, 1 - features.one_sided), (1, 1.0)):
            if share > 0.2:
                fold = [
                    (0.5 + sign * 0.062, person.mouth_level - 0.08),
                    (0.5 + sign * (half + 0.016), middle[0] - 0.012),
                ]
                stroke(canvas, fold, 0.005, _shade(person, 0.3 * features.corners))


def _ring(columns: npt.NDArray[np.float64], top: npt.ArrayLike, bottom: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.column_stack([np.r_[columns, columns[::-1]], np.r_[np.asarray(top), np.asarray(bottom)[::-1]]])


def _shade(person: Person, darker: float) -> tuple[float, ...]:
    return tuple((1 - darker) * c for c in person.skin)


def _lips(person: Person, gain: float) -> tuple[float, ...]:
    return tuple(gain * c for c in person.lips)
