"""Draw a person with an expression into a frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lq_emotion.datasets.synthetic.person import SIDE, Person
from lq_emotion.datasets.synthetic.signals import ABSENT, BEHIND, HAND, VISIBLE

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Colour = tuple[float, ...]
DARK, TEETH = (48, 22, 22), (232, 228, 220)  # colours in the open mouth
_SHIFT = 4  # cv2's fixed point: positions in sixteenths of a pixel
FACE = 0.69  # side of a face's box as a fraction of the canvas, about that of a cascade's boxes
_CENTRE = 0.515  # of that box, from the top of the canvas


class Expression(NamedTuple):
    """The expression of a face at one time; see `signals.Signals`."""

    valence: float
    talk: float
    blink: float
    gaze: tuple[float, float]
    arousal: float = 0.0


class Pose(NamedTuple):
    """The pose of a head: offset right and down in face widths, relative size, angle in radians."""

    right: float
    down: float
    size: float
    angle: float


class Scene:
    """A person in front of a background, in frames of `size` rows and columns; `rng` draws background and noise."""

    def __init__(self, person: Person, rng: np.random.Generator, size: tuple[int, int]) -> None:
        import cv2

        self._cv2, self._person, self._size = cv2, person, size
        rows, columns = size
        gray = rng.uniform(50, 190, (5, 6, 1))
        small = np.asarray(gray + rng.normal(0, 16, (5, 6, 3)), np.float32)
        ground = np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC), np.float32)
        grain = cv2.GaussianBlur(rng.standard_normal((rows, columns)).astype(np.float32), (0, 0), 2)
        self._ground = np.asarray(np.clip(ground + 10 * grain[..., None], 0, 255), np.uint8)
        noise = np.asarray(2.2 * rng.standard_normal((rows + 32, columns + 32)), np.float32)
        # red, green and blue interleaved: NumPy is slow on a last axis of three values
        self._noise = np.repeat(noise, 3, axis=1)
        self._ramp = np.repeat(np.linspace(-1, 1, columns, dtype=np.float32), 3)
        self._warped, self._alpha = np.empty((rows, columns, 3), np.uint8), np.empty((rows, columns), np.float32)
        self._lit = np.empty((rows, 3 * columns), np.float32)
        self._rng = rng

    def draw(
        self, expression: Expression, pose: Pose, light: tuple[float, float], *, occlusion: int = VISIBLE
    ) -> Image:
        """Draw a frame, (rows, columns, 3) RGB uint8.

        `light` is the gain, and how much brighter the right side is; `occlusion`: see `signals.Signals`.
        """
        head = None
        if occlusion != ABSENT:
            head = self._person.back if occlusion == BEHIND else draw_features(self._person, expression)
            if occlusion == HAND:
                _hand(head, self._person)
        return self.draw_head(head, pose, light)

    def draw_head(self, head: Image | None, pose: Pose, light: tuple[float, float]) -> Image:
        """Draw a frame with a head, (SIDE, SIDE, 3) as `draw_features` returns it, or without; see `draw`."""
        cv2, person = self._cv2, self._person
        rows, columns = self._size
        frame = self._ground
        if head is not None:
            matrix = self._matrix(pose)
            warped, alpha = (
                cv2.warpAffine(layer, matrix, (columns, rows), layer_out, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
                for layer, layer_out in ((head, self._warped), (person.alpha, self._alpha))
            )
            frame = cv2.blendLinear(warped, self._ground, alpha, 1 - alpha)
        gain, direction = light
        down, right = self._rng.integers(0, 32, 2)
        noise = self._noise[down : down + rows, 3 * right : 3 * (right + columns)]
        across = np.asarray(gain * (1 + 0.25 * direction * self._ramp), np.float32)
        np.multiply(frame.reshape(rows, -1), across, out=self._lit)
        return np.asarray(cv2.add(self._lit, noise, dtype=cv2.CV_8U)).reshape(rows, columns, 3)

    def box(self, pose: Pose) -> tuple[float, float, float, float]:
        """Return the true box of the face: left, top, width, height in 1-based pixels."""
        centre = self._matrix(pose) @ np.array([SIDE / 2, _CENTRE * SIDE, 1])
        side = FACE * SIDE * self._scale(pose)
        return float(centre[0] - side / 2 + 1), float(centre[1] - side / 2 + 1), side, side

    def _scale(self, pose: Pose) -> float:
        return 0.8 * min(self._size) / SIDE * pose.size

    def _matrix(self, pose: Pose) -> npt.NDArray[np.float64]:
        scale = self._scale(pose)
        cos, sin = scale * np.cos(pose.angle), scale * np.sin(pose.angle)
        width = FACE * SIDE * scale
        x = self._size[1] / 2 + pose.right * width
        y = self._size[0] * 0.52 + pose.down * width
        middle = np.array([SIDE / 2, _CENTRE * SIDE])
        turn = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([turn, np.array([x, y]) - turn @ middle])


def draw_features(person: Person, expression: Expression) -> Image:
    """Draw brows, eyes and mouth onto the head: (SIDE, SIDE, 3) uint8."""
    canvas = person.head.copy()
    for side in (-1, 1):
        _eye(canvas, person, expression, side)
        _brow(canvas, person, expression, side)
    _mouth(canvas, person, expression)
    return canvas


def _points(points: npt.ArrayLike) -> list[npt.NDArray[np.int32]]:
    scaled = np.asarray(points, np.float64) * SIDE * (1 << _SHIFT)
    return [np.asarray(np.round(scaled), np.int32)]


def lids(x: float, y: float, r: float, upper: float, lower: float) -> tuple[Points, Points]:
    """Return the upper and the lower lid of an eye, (9, 2) each."""
    turn = np.linspace(0, np.pi, 9)
    top = np.column_stack([x - r * np.cos(turn), y + (upper - y) * np.sin(turn)])
    return top, np.column_stack([x + r * np.cos(turn), y + (lower - y) * np.sin(turn)])


def ellipse(centre: tuple[float, float], width: float, height: float, *, count: int = 14) -> Points:
    """Return points on an ellipse, (count, 2); `width` and `height` are its half axes."""
    turn = np.linspace(0, 2 * np.pi, count)
    return np.column_stack([centre[0] + width * np.cos(turn), centre[1] + height * np.sin(turn)])


def ring(columns: Points, top: Points, bottom: Points) -> Points:
    """Return the polygon between two lines with these columns, (2 n, 2)."""
    return np.column_stack([np.r_[columns, columns[::-1]], np.r_[top, bottom[::-1]]])


def shade(colour: Colour, gain: float) -> Colour:
    """Return a colour, darker by a factor."""
    return tuple(gain * c for c in colour)


def brow_colour(person: Person) -> Colour:
    """Return the colour of the brows: that of the hair, but darker than the skin."""
    return tuple(min(0.8 * h, 0.45 * s) for h, s in zip(person.hair, person.skin, strict=True))


def fill(canvas: Image, points: npt.ArrayLike, colour: Colour) -> None:
    """Fill a polygon, its points as fractions of the canvas."""
    import cv2

    cv2.fillPoly(canvas, _points(points), colour, lineType=cv2.LINE_AA, shift=_SHIFT)


def _eye(canvas: Image, person: Person, expression: Expression, side: int) -> None:
    """Draw an eye: an almond, wide for high arousal; a smile narrows it from below, a frown from above."""
    x, y, r = 0.5 + side * person.eye_gap, person.eye_level, person.eye_size
    width = 0.46 + 0.22 * expression.arousal - 0.10 * max(expression.valence, 0) - 0.06 * max(-expression.valence, 0)
    opening = (1 - expression.blink) * width
    upper = y - r * opening * (1 - 0.18 * max(-expression.valence, 0))
    lower = y + r * opening * (0.75 - 0.35 * max(expression.valence, 0))
    top, bottom = lids(x, y, r, upper, lower)
    if expression.blink < 0.9:
        fill(canvas, np.concatenate([top, bottom]), tuple(0.72 * c + 0.28 * 225 for c in person.skin))
        centre = (x + 0.35 * r * expression.gaze[0], (upper + lower) / 2 + 0.1 * r * expression.gaze[1])
        fill(canvas, ellipse(centre, 0.44 * r, min((lower - upper) / 2, r * 0.5)), person.iris)
    stroke(canvas, top, 0.0085, shade(person.skin, 0.35))
    stroke(canvas, bottom, 0.004, shade(person.skin, 0.7))


def _brow(canvas: Image, person: Person, expression: Expression, side: int) -> None:
    """Draw a brow: contracted for low valence, round for high valence, raised by arousal."""
    valence, x = expression.valence, 0.5 + side * person.eye_gap
    y = person.eye_level - person.brow_level - 0.008 * valence - 0.02 * expression.arousal
    along = np.linspace(-1, 1, 7)  # from the nose outwards
    inner = 0.022 * min(valence, 0) - 0.004 * max(valence, 0)
    arch = 0.012 + 0.008 * max(valence, 0)
    rows = y - inner * (1 - along) / 2 - arch * (1 - along**2) + 0.006 * (1 + along)
    columns = x + side * (along * 0.062 + 0.008 * min(valence, 0))
    stroke(canvas, np.column_stack([columns, rows]), person.brow_weight, brow_colour(person))


def _mouth(canvas: Image, person: Person, expression: Expression) -> None:
    """Draw the mouth: corners up or down with valence, open in speech, teeth in a broad smile."""
    half = person.mouth_width * (1 + 0.20 * max(expression.valence, 0) - 0.05 * max(-expression.valence, 0))
    lift = 0.034 * expression.valence
    along = np.linspace(-1, 1, 13)
    middle = person.mouth_level + 0.4 * lift - lift * along**2
    gap = 0.030 * expression.talk + 0.016 * max(expression.valence - 0.45, 0)
    bow = 1 - along**2
    columns = 0.5 + half * along
    weight = person.lip_weight
    upper = middle - gap * bow * 0.5 - weight * bow * (0.75 + 0.25 * np.cos(4 * along))
    lower = middle + gap * bow + 1.25 * weight * bow
    fill(canvas, ring(columns, upper, lower), person.lips)
    if gap > 0.004:
        top = middle - gap * bow * 0.5
        fill(canvas, ring(columns, top, middle + gap * bow), DARK)
        if expression.valence > 0.45:
            fill(canvas, ring(columns, top, middle + gap * bow * 0.3)[2:-2], TEETH)
    stroke(canvas, np.column_stack([columns, middle]), 0.0055, shade(person.lips, 0.45))
    if expression.valence > 0.15:  # folds from the nose to the corners
        for side in (-1, 1):
            fold = [(0.5 + side * 0.062, person.mouth_level - 0.075), (0.5 + side * (half + 0.012), middle[0] - 0.01)]
            stroke(canvas, fold, 0.004, shade(person.skin, 1 - 0.22 * expression.valence))


def _hand(canvas: Image, person: Person) -> None:
    """Draw a hand in front of the face, fingers up."""
    skin, edge = shade(person.skin, 0.86), shade(person.skin, 0.6)
    fingers = ((0.355, 0.40), (0.445, 0.335), (0.545, 0.34), (0.64, 0.41))
    for right, top in fingers:
        for weight, colour in ((0.108, edge), (0.097, skin)):
            stroke(canvas, [(0.5 + 0.85 * (right - 0.5), 0.64), (right, top)], weight, colour)
    for margin, colour in ((0.005, edge), (0.0, skin)):
        stroke(canvas, [(0.38, 0.76), (0.285, 0.61)], 0.09 + 2 * margin, colour)
        fill(canvas, ellipse((0.5, 0.72), 0.175 + margin, 0.125 + margin, count=40), colour)


def stroke(canvas: Image, points: npt.ArrayLike, weight: float, colour: Colour) -> None:
    """Draw a line; points and weight as fractions of the canvas."""
    import cv2

    thickness = max(1, round(weight * SIDE))
    cv2.polylines(
        canvas, _points(points), isClosed=False, color=colour, thickness=thickness, lineType=cv2.LINE_AA, shift=_SHIFT
    )
