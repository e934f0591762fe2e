"""The frames with faces, values and trust drawn into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from caffe_compat.formats.files import atomic_path
from lq_emotion.faces.face import Image
from lq_emotion.nets.known.outputs import Labels
from lq_emotion.predict.analysis import Estimate, Estimator, SeenFace
from lq_emotion.video.frames import Frame
from lq_emotion.video.writer import write_video

Draw = Callable[[Frame, Sequence[SeenFace]], None]
_TICKS = 90_000  # a second
_LONGEST = 3600 * _TICKS
_X264 = {"preset": "veryfast", "crf": "21", "x264-params": "mbtree=0"}  # with mbtree the bits differ between runs
_TRUSTED, _UNTRUSTED, _UNKNOWN = (86, 180, 233), (230, 159, 0), (235, 235, 235)  # colour-blind safe


@contextmanager
def video_overlay(path: Path, estimators: Sequence[Estimator]) -> Iterator[Draw]:
    """Write an MP4 (H.264) of the frames at their own times, complete or not at all.

    Frames of another size than the first are resized to it. A frame is shown for an hour at most: MP4 has a limit.
    """
    with write_video(path, _X264, rate=Fraction(_TICKS), converter="ffmpeg") as video:

        def draw(frame: Frame, faces: Sequence[SeenFace]) -> None:
            image = drawn(frame, faces, estimators)
            size = video.size or tuple(side + side % 2 for side in image.shape[:2])
            tick = min(max(video.last + 1, round(frame.time * _TICKS)), video.last + _LONGEST)
            video.write(_fitted(image, size), tick)

        yield draw


@contextmanager
def image_overlays(folder: Path, estimators: Sequence[Estimator]) -> Iterator[Draw]:
    """Write a PNG for each image into a folder, under the image's name."""
    from PIL import Image as Pillow

    folder.mkdir(exist_ok=True)

    def draw(frame: Frame, faces: Sequence[SeenFace]) -> None:
        with atomic_path(folder / f"{frame.name}.png") as partial:
            Pillow.fromarray(drawn(frame, faces, estimators)).save(partial, format="PNG")

    yield draw


def drawn(frame: Frame, faces: Sequence[SeenFace], estimators: Sequence[Estimator]) -> Image:
    """Return a copy of a frame with its faces drawn into it."""
    image = frame.image.copy()
    unit = max(image.shape[0] / 360, 0.5)  # lines and letters grow with the frame
    for face in faces:
        _draw_face(image, face, estimators, unit)
    return image


def caption(estimator: Estimator, estimate: Estimate) -> str:
    """Return a net's estimate in a few words: its most probable class, or its first two dimensions."""
    names, values = estimator.model.outputs.names, estimate.values
    if isinstance(estimator.model.outputs, Labels):
        best = int(values.argmax())
        text = f"{names[best]} {values[best]:.2f}"
    else:
        text = "  ".join(f"{name} {value:+.2f}" for name, value in zip(names[:2], values[:2], strict=True))
    return text if estimate.trust is None or estimate.trust.trusted else f"{text} ?"


def _draw_face(image: Image, seen: SeenFace, estimators: Sequence[Estimator], unit: float) -> None:
    face, number, detected = seen.followed
    trusts = [estimate.trust.trusted for estimate in seen.estimates if estimate.trust is not None]
    colour = _UNKNOWN if not trusts else _TRUSTED if all(trusts) else _UNTRUSTED
    left, top = round(face.x), round(face.y)
    right, bottom_edge = round(face.x + face.width), round(face.y + face.height)
    width = max(1, round((2 if detected else 1) * unit))
    cv2.rectangle(image, (left, top), (right, bottom_edge), colour, width, cv2.LINE_AA)
    for x, y in face.landmarks or ():
        cv2.circle(image, (round(x), round(y)), max(1, round(1.5 * unit)), colour, -1, cv2.LINE_AA)
    lines = [f"{number}", *(caption(net, value) for net, value in zip(estimators, seen.estimates, strict=True))]
    lines = ["  ".join(lines[:2]), *lines[2:]]
    bottom, needed = top - round(4 * unit), round(14 * unit * len(lines))
    if bottom < needed:  # no room above
        bottom = min(bottom_edge + needed, image.shape[0] - round(4 * unit))
    for place, line in enumerate(lines[::-1]):
        at = (max(left, 2), bottom - round(14 * unit * place))
        for ink, stroke in (((0, 0, 0), 3), (colour, 1)):
            width = max(1, round(stroke * unit))
            cv2.putText(image, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * unit, ink, width, cv2.LINE_AA)


def _fitted(image: Image, size: tuple[int, int]) -> Image:
    """Return the image with the size of the coded frames: 4:2:0 needs even sides."""
    height, width = image.shape[:2]
    if 0 <= size[0] - height <= 1 and 0 <= size[1] - width <= 1:
        return np.pad(image, ((0, size[0] - height), (0, size[1] - width), (0, 0)), mode="edge")
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
