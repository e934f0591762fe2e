"""The two ends of the link: what the robot does to a frame before it is coded, and what is estimated of it beyond."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from caffe_compat.errors import DataError, FileError
from lq_emotion.faces.face import Face, FaceDetector
from lq_emotion.faces.identities import overlap
from lq_emotion.predict.analysis import Analysis
from lq_emotion.predict.instruments import Instruments
from lq_emotion.quality.measures import RecentBits, measure
from lq_emotion.studies.cloud_robotics.link.loopback import Answer, Prepare, Traffic, loop_back
from lq_emotion.studies.cloud_robotics.link.table import Content, OperatingPoint
from lq_emotion.video.container import Video
from lq_emotion.video.degrade import thinned
from lq_emotion.video.frames import Frame, Image

_SAME = 0.8  # overlap down to which the box of a face stays where it was: a box that trembles doubles the bits


def send_video(
    video: Path, point: OperatingPoint, kbps: float, instruments: Instruments, *, frames: int, patience: float
) -> Traffic:
    """Play the camera of a robot with the first `frames` frames of a video, over a loopback; see `loop_back`."""
    if instruments.detector is None:
        hint = "name a detector: the frames that are searched may be smaller than those that boxes belong to"
        raise DataError("boxes cannot be used", code="unsupported", field="--detector", hint=hint)
    with Video(str(video)) as source:
        if source.rate and source.rate < 0.99 * point.fps:
            problem, hint = f"has {source.rate:g} frames per second", f"{point.name} needs {point.fps:g}"
            raise FileError(problem, code="out-of-range", file=video, hint=hint)
        _warm(point, instruments)
        images: Iterator[Image] = (image for _, image in islice(thinned(source, point.fps), frames))
        traffic = loop_back(
            images, point, kbps, prepare=robot(point, instruments, instruments.detector),
            answer=beyond(point, instruments, instruments.detector), patience=patience,
        )  # fmt: skip
        if source.problem is not None:
            raise source.problem
    if not traffic.captured:
        raise FileError("contains no frames", code="empty", file=video)
    return traffic


def _warm(point: OperatingPoint, instruments: Instruments) -> None:
    """Have the nets ready before the first frame, as those of a robot at work are."""
    blank = np.zeros((point.height, point.width, 3), np.uint8)
    whole = Face(0, 0, point.width, point.height, 1.0)
    if instruments.detector is not None:
        instruments.detector([blank])
    for estimator in instruments.estimators:
        estimator([estimator.model.crop.cut(blank, whole)], [measure(blank, whole)])


def robot(point: OperatingPoint, instruments: Instruments, detector: FaceDetector) -> Prepare:
    """Return what the robot does: shrink the frame, or find the most certain face, cut it out and shrink that."""
    size = (point.width, point.height)

    def frame(image: Image) -> Image:
        height, width = image.shape[:2]
        if width < point.width or height < point.height:
            problem = f"frames of {width} x {height} are smaller than those to send"
            raise DataError(problem, code="shape-mismatch", field="video", hint=f"{point.name} is wanted")
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    held: Face | None = None

    def face(image: Image) -> Image | None:
        nonlocal held
        (faces,) = detector([image])
        if not faces:
            return None
        if held is None or overlap(held, faces[0]) < _SAME:
            held = faces[0]
        crop = instruments.estimators[0].model.crop.cut(image, held)
        return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)

    return face if point.content is Content.FACE else frame


def beyond(point: OperatingPoint, instruments: Instruments, detector: FaceDetector) -> Answer:
    """Return what answers: predict's analysis of whole frames, or its nets alone on faces that the robot cut out."""
    analysis = Analysis(detector, instruments.estimators, alone=True)
    recent = RecentBits()

    def frame(received: Frame | None) -> int:
        return 0 if received is None else sum(len(faces) for _, faces in analysis([received]))

    def face(received: Frame | None) -> int:
        if received is None:
            return 0
        whole = Face(0, 0, point.width, point.height, 1.0)
        condition = measure(received.image, whole, recent(received.bits, point.width * point.height))
        for estimator in instruments.estimators:
            estimator([received.image], [condition])
        return 1

    return face if point.content is Content.FACE else frame
