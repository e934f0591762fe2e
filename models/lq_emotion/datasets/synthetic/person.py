"""A synthetic person: the features of a face that do not depend on its expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 320  # pixels of the canvas on which a head is drawn
Image = npt.NDArray[np.uint8]
_SKIN_COLOURS = ((236, 204, 182), (224, 182, 150), (198, 152, 118), (160, 114, 84), (118, 80, 60), (242, 216, 200))
_HAIR_COLOURS = ((40, 28, 22), (72, 48, 30), (120, 84, 48), (168, 132, 84), (90, 88, 88), (28, 26, 30))


@dataclass(frozen=True)
class Person:
    """The appearance of a person; lengths are fractions of the canvas, colours are RGB."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    lips: tuple[float, float, float]
    iris: tuple[float, float, float]
    width: float
    height: float
    eye_gap: float
    eye_level: float
    eye_size: float
    brow_level: float
    brow_weight: float
    nose: float
    mouth_level: float
    mouth_width: float
    lip_weight: float
    fringe: float
    beard: float
    head: Image
    """(SIDE, SIDE, 3), without eyes, brows and mouth."""
    back: Image
    """(SIDE, SIDE, 3), from behind."""
    alpha: npt.NDArray[np.float32]


def make_person(rng: np.random.Generator) -> Person:
    """Return a random person."""
    skin = np.clip(np.array(_SKIN_COLOURS[rng.integers(len(_SKIN_COLOURS))]) * rng.uniform(0.93, 1.05), 0, 250)
    hair = np.minimum(np.array(_HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))]) * rng.uniform(0.8, 1.2), 0.7 * skin)
    measures: dict[str, Any] = {
        "skin": tuple(skin),
        "hair": tuple(hair),
        "lips": tuple(np.clip(skin * [0.86, 0.55, 0.55] * rng.uniform(0.85, 1.05), 0, 255)),
        "iris": tuple(rng.uniform(20, 90, 3)),
        "width": rng.uniform(0.255, 0.295),
        "height": rng.uniform(0.35, 0.385),
        "eye_gap": rng.uniform(0.105, 0.125),
        "eye_level": rng.uniform(0.43, 0.455),
        "eye_size": rng.uniform(0.043, 0.054),
        "brow_level": rng.uniform(0.058, 0.075),
        "brow_weight": rng.uniform(0.011, 0.02),
        "nose": rng.uniform(0.115, 0.145),
        "mouth_level": rng.uniform(0.685, 0.715),
        "mouth_width": rng.uniform(0.092, 0.115),
        "lip_weight": rng.uniform(0.012, 0.021),
        "fringe": rng.uniform(0.0, 0.06),
        "beard": float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.1, 0.35)])),
    }
    head, back, alpha = _head(rng, measures)
    return Person(**measures, head=head, back=back, alpha=alpha)


def _head(rng: np.random.Generator, m: dict[str, Any]) -> tuple[Image, Image, npt.NDArray[np.float32]]:
    """Draw what does not move: hair, neck, and skin with its shading and texture; return head, back and alpha."""
    import cv2

    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    skin, hair = np.array(m["skin"], np.float32), np.array(m["hair"], np.float32)

    def ellipse(cx: float, cy: float, rx: float, ry: float, soft: float) -> npt.NDArray[np.float32]:
        distance = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
        return np.asarray(np.clip((1 - distance) / soft, 0, 1), np.float32)[..., None]

    skull = ellipse(0.5, 0.44, m["width"] + 0.045, m["height"] + 0.03, 0.04)
    face = ellipse(0.5, 0.53, m["width"], m["height"], 0.03)
    neck = np.asarray((np.abs(x - 0.5) < 0.13) & (y > 0.75), np.float32)[..., None]
    shirt = np.asarray(y > 0.94 + 0.25 * (np.abs(x - 0.5) - 0.1).clip(-0.06, 0.06), np.float32)[..., None]
    texture = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 1.2)
    coarse = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 14) * 30
    strands = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), sigmaX=1, sigmaY=9) * 8
    roundness = 1.06 - 0.42 * ((x - 0.5) / m["width"]) ** 2 - 0.16 * ((y - 0.5) / m["height"]) ** 2
    shade = np.clip(roundness + 0.022 * texture + 0.012 * coarse, 0.3, 1.3)[..., None]
    for side in (-1, 1):  # dark sockets and bright cheeks, which cascades detect
        at = 0.5 + side * m["eye_gap"]
        shade = shade * (1 - 0.40 * ellipse(at, m["eye_level"] - 0.008, 0.095, 0.068, 0.9))
        shade = shade * (1 + 0.16 * ellipse(at + side * 0.02, 0.57, 0.085, 0.06, 1.0))
        shade = shade * (1 - 0.13 * ellipse(0.5 + side * 0.05, m["eye_level"] + m["nose"], 0.028, 0.05, 1.0))
    shade = shade * (1 + 0.16 * ellipse(0.5, m["eye_level"] + 0.05, 0.03, 0.11, 1.0))
    shade = shade * (1 - 0.20 * ellipse(0.5, m["eye_level"] + m["nose"] + 0.028, 0.055, 0.018, 1.0))
    shade = shade * (1 - m["beard"] * ellipse(0.5, 0.8, 0.24, 0.17, 0.5))
    locks = hair * np.clip(1 + 0.10 * strands, 0.5, 1.6)[..., None]
    fringe = np.asarray(y < 0.255 + m["fringe"] + 0.02 * np.sin(x * 40), np.float32)[..., None]
    behind = np.maximum(skull, face)
    back = locks * behind + skin * 0.75 * neck * (1 - behind)
    painted = (locks * skull + skin * 0.75 * neck * (1 - skull)) * (1 - face) + skin * shade * face
    over = fringe * skull
    painted = painted * (1 - over) + locks * over
    colour = np.array(rng.uniform(30, 190, 3), np.float32)
    painted, back = (image * (1 - shirt) + colour * shirt for image in (painted, back))
    alpha = np.maximum.reduce([skull, face, neck, shirt])
    return _bytes(painted), _bytes(back), np.asarray(alpha, np.float32)


def _bytes(image: npt.NDArray[Any]) -> Image:
    return np.asarray(np.clip(image + 0.5, 0, 255), np.uint8)
