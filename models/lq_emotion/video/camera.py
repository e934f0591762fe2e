"""The frames of a camera, read by OpenCV."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from caffe_compat.errors import CaffeCompatError, DataError
from lq_emotion.video.frames import Frame, Selection


class Camera:
    """A camera, numbered from 0; see `frames.Source`.

    Frames have the time at which they arrived; `start` and `end` of the selection count from the first frame.
    """

    def __init__(
        self, number: int, selection: Selection | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._selection, self._clock = selection or Selection(), clock
        self.name, self.clock, self.live = f"camera:{number}", "arrival", True
        self.count: int | None = None
        self.problem: CaffeCompatError | None = None
        self._capture = _open(number)
        if not self._capture.isOpened():
            problem = "no such camera, or another program uses it"
            raise DataError(problem, code="file-missing", field="source", value=self.name)
        rate = float(self._capture.get(5))  # cv2.CAP_PROP_FPS
        self.rate = rate if math.isfinite(rate) and rate > 0 else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        selection, until, first, index = self._selection, self._selection.until, None, 0
        while True:
            success, frame = self._capture.read()
            now = self._clock()
            first = now if first is None else first
            if not success:
                problem = f"vanished after {index} frames, {now - first:.1f} s"
                self.problem = DataError(problem, code="interrupted", field="source", value=self.name)
                return
            if now - first > until:
                return
            if index % selection.every == 0 and now - first >= selection.start:
                yield Frame(index, now - first, np.ascontiguousarray(frame[:, :, ::-1]))
            index += 1


def _open(number: int) -> Any:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2.VideoCapture(number)
