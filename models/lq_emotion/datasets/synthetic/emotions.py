"""Draw the eight emotions of RAVDESS, and FER+'s contempt, with brows, lids, nose and mouth."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from lq_emotion.datasets.synthetic.face import DARK, TEETH, Image, brow_colour, ellipse, fill, lids, ring, shade, stroke
from lq_emotion.datasets.synthetic.person import Person


@dataclass(frozen=True)
class Features:
    """The features of a face, 0 at rest; most are between -1 and 1."""

    inner_brow: float = 0.0
    outer_brow: float = 0.0
    """Ends of the brows, raised or lowered, as `inner_brow`."""
    frown: float = 0.0
    """Brows drawn together."""
    upper_lid: float = 0.0
    """Wide eyes, or half-closed ones."""
    lower_lid: float = 0.0
    """Raised."""
    nose: float = 0.0
    """Wrinkled."""
    upper_lip: float = 0.0
    """Raised."""
    corners: float = 0.0
    """Corners of the mouth, raised or lowered."""
    one_sided: float = 0.0
    """Part of `corners` that one side lacks."""
    width: float = 0.0
    """Of the mouth."""
    jaw: float = 0.0
    """Dropped."""
    press: float = 0.0
    """Lips pressed together."""
    teeth: float = 0.0
    """Visible in the open mouth."""

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
    top, bottom = lids(x, y, r, upper, lower)
    if opening > 0.08:
        fill(canvas, np.concatenate([top, bottom]), tuple(0.6 * c + 0.4 * 232 for c in person.skin))
        height = min((lower - upper) / 2, r * 0.42)
        fill(canvas, ellipse((x, (upper + lower) / 2), 0.42 * r, height), person.iris)
    stroke(canvas, top, 0.0085, shade(person.skin, 0.35))
    stroke(canvas, bottom, 0.004 + 0.004 * features.lower_lid, shade(person.skin, 0.65))


def _brow(canvas: Image, person: Person, features: Features, side: int) -> None:
    x, y = 0.5 + side * person.eye_gap, person.eye_level - person.brow_level
    along = np.linspace(-1, 1, 9)  # from the nose outwards
    lift = 0.034 * (features.inner_brow * (1 - along) + features.outer_brow * (1 + along)) / 2
    rows = y - lift - 0.012 * (1 - along**2) + 0.006 * (1 + along)
    columns = x + side * (0.062 * along - 0.016 * features.frown * (1 - along) / 2)
    stroke(canvas, np.column_stack([columns, rows]), person.brow_weight, brow_colour(person))
    if features.frown > 0.3:  # a fold between the brows
        fold = [(0.5 + side * 0.016, y - 0.012), (0.5 + side * 0.012, y + 0.03)]
        stroke(canvas, fold, 0.004, shade(person.skin, 1 - 0.35 * features.frown))


def _nose(canvas: Image, person: Person, features: Features) -> None:
    bridge, tip = person.eye_level + 0.02, person.eye_level + person.nose
    if features.nose > 0.2:
        for step in (0.0, 0.022, 0.044):
            wrinkle = [(0.465, bridge + step + 0.008), (0.5, bridge + step), (0.535, bridge + step + 0.008)]
            stroke(canvas, wrinkle, 0.005, shade(person.skin, 1 - 0.4 * features.nose))
        for side in (-1, 1):
            offsets = ((0.045, -0.012), (0.085, 0.035), (0.1, 0.075))
            fold = [(0.5 + side * right, tip + down) for right, down in offsets]
            stroke(canvas, fold, 0.006, shade(person.skin, 1 - 0.4 * features.nose))


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
    fill(canvas, ring(columns, upper, lower), person.lips)
    if gap > 0.004:
        fill(canvas, ring(columns, inner_top, inner_bottom), DARK)
        if features.teeth > 0.3 or features.upper_lip > 0.3:
            depth = np.minimum(inner_bottom - inner_top, 0.022)
            fill(canvas, ring(columns[1:-1], inner_top[1:-1], (inner_top + depth)[1:-1]), TEETH)
    else:
        stroke(canvas, np.column_stack([columns, middle]), 0.0055 + 0.003 * features.press, shade(person.lips, 0.4))
    if features.corners > 0.15:  # folds from the nose to the raised corners
        for sign, share in ((-1, 1 - features.one_sided), (1, 1.0)):
            if share > 0.2:
                upper_end = (0.5 + sign * 0.062, person.mouth_level - 0.08)
                fold = [upper_end, (0.5 + sign * (half + 0.016), middle[0] - 0.012)]
                stroke(canvas, fold, 0.005, shade(person.skin, 1 - 0.3 * features.corners))
