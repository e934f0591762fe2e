"""MATLAB's ``VideoReader``: read the frames of a video in order, as RGB uint8.

Every coded frame is read once: none is repeated to fill gaps between the times, none is left out.

Two backends decode with the same library: PyAV, where installed (the extra ``video``), and OpenCV. In MATLAB, colours
depend on the platform; a difference of one or two levels between any two of the three is normal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports._support.files import require_file
from matlab_ports.imread import MAX_PIXELS

Bytes = npt.NDArray[np.uint8]
Backend = Literal["auto", "av", "opencv"]
Planes = Literal["rgb", "luma"]


class VideoReader:
    """A video that is read frame by frame; close it, or use it in a ``with`` block.

    Parameters
    ----------
    path
        The file, in any format that the backend supports.
    backend
        ``av``, ``opencv``, or ``auto``: PyAV where installed.
    planes
        ``rgb``: (H, W, 3). ``luma``: (H, W), the stored Y in 16 to 235, without conversion to RGB; PyAV only.
    threads
        Threads of the decoder; by default its own choice.

    Attributes
    ----------
    height, width
        Size of a frame in pixels.
    rate
        Frames per second according to the file; 0 if unknown.
    frames_read
        Number of frames decoded so far.

    Raises
    ------
    PortError
        The file is missing or not a video, or the backend is not installed.
    """

    def __init__(
        self, path: str | Path, *, backend: Backend = "auto", planes: Planes = "rgb", threads: int | None = None
    ) -> None:
        self.path = Path(path)
        require_file(self.path)
        if backend not in ("auto", "av", "opencv"):
            hint = "use auto, av or opencv"
            raise PortError("unknown backend", code="name-unknown", field="backend", value=backend, hint=hint)
        av = None if backend == "opencv" else _pyav(required=backend == "av" or planes == "luma")
        self._decoder: _PyAV | _OpenCV = _OpenCV(self.path) if av is None else _PyAV(self.path, av, planes, threads)
        if av is None and planes == "luma":
            self.close()
            problem, hint = "OpenCV cannot read the luma plane", "install PyAV: pip install av"
            raise PortError(problem, code="conflict", field="planes", value=planes, hint=hint)
        self.height, self.width, self.rate = self._decoder.height, self._decoder.width, self._decoder.rate
        if not 0 < self.height * self.width <= MAX_PIXELS:
            self.close()
            problem = f"declares frames of {self.width} x {self.height}, expected 1 to {MAX_PIXELS} pixels"
            raise PortError(problem, code="too-large", file=self.path)
        self.frames_read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Bytes]:
        while self.advance():
            yield self.frame()

    def advance(self) -> bool:
        """Decode the next frame without converting it; return False at the end.

        Raises
        ------
        PortError
            The file is damaged at this frame.
        """
        try:
            decoded = self._decoder.advance()
        except _DamagedFrameError as damage:
            raise self._damaged(self.frames_read + 1, damage) from None
        self.frames_read += decoded
        return decoded

    def read(self) -> Bytes:
        """Return the next frame, as ``readFrame`` does.

        Raises
        ------
        PortError
            The video has ended.
        """
        if not self.advance():
            raise PortError(f"ends after {self.frames_read} frames", code="out-of-range", file=self.path)
        return self.frame()

    def frame(self) -> Bytes:
        """Return the frame decoded last.

        Raises
        ------
        PortError
            The file is damaged at this frame.
        """
        try:
            return self._decoder.frame()
        except _DamagedFrameError as damage:
            raise self._damaged(self.frames_read, damage) from None

    def _damaged(self, number: int, damage: _DamagedFrameError) -> PortError:
        problem = f"damaged at frame {number}: {damage}"
        return PortError(problem, code="damaged-file", file=self.path, hint="copy it again")

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()


class _DamagedFrameError(Exception):
    """A frame that cannot be decoded; `VideoReader` adds its number and the file."""


def _pyav(*, required: bool) -> ModuleType | None:
    try:
        import av
    except ImportError:
        if required:
            hint = "pip install av"
            raise PortError("PyAV is not installed", code="dependency-missing", field="backend", hint=hint) from None
        return None
    return av


class _PyAV:
    def __init__(self, path: Path, av: ModuleType, planes: Planes, threads: int | None) -> None:
        try:
            self._container = av.open(str(path), metadata_errors="ignore")
        except av.FFmpegError as error:
            problem = f"cannot be read as a video: {error.strerror}"
            raise PortError(problem, code="damaged-file", file=path, hint="copy it again") from None
        if not self._container.streams.video:
            self._container.close()
            raise PortError("has no video stream", code="wrong-format", file=path)
        stream = self._container.streams.video[0]
        if stream.codec_context is None:
            self._container.close()
            problem, hint = "no decoder is available for its codec", "convert it to H.264"
            raise PortError(problem, code="unsupported", file=path, hint=hint)
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        stream.thread_type = "AUTO"
        if threads is not None:
            stream.codec_context.thread_count = threads
        self._error = av.FFmpegError
        self.height, self.width = stream.codec_context.height, stream.codec_context.width
        self.rate = float(stream.average_rate or 0)
        self._frames: Iterator[Any] = self._container.decode(stream)
        self._frame: Any = None
        self._convert: Callable[[Any], Bytes] = _luma if planes == "luma" else _rgb

    def advance(self) -> bool:
        try:
            self._frame = next(self._frames, None)
        except self._error as error:
            raise _DamagedFrameError(error.strerror) from None
        if self._frame is not None and self._frame.is_corrupt:
            raise _DamagedFrameError("data is missing")
        return self._frame is not None

    def frame(self) -> Bytes:
        return self._convert(self._frame)

    def close(self) -> None:
        self._container.close()


def _rgb(frame: Any) -> Bytes:
    rgb: Bytes = frame.to_ndarray(format="rgb24")
    return rgb


def _luma(frame: Any) -> Bytes:
    """Return plane 0 of a planar YUV frame; other formats, and full range, are converted first."""
    full = frame.format.name.startswith("yuvj") or frame.color_range == 2
    if full or not (frame.format.name.startswith("yuv") and frame.format.components[0].bits == 8):
        frame = frame.reformat(format="yuv420p", dst_color_range="MPEG")
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width].copy()


class _OpenCV:
    def __init__(self, path: Path) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors are raised instead
        import cv2

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise PortError("cannot be read as a video", code="damaged-file", file=path, hint="copy it again")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.rate = float(self._capture.get(cv2.CAP_PROP_FPS))

    def advance(self) -> bool:
        return bool(self._capture.grab())

    def frame(self) -> Bytes:
        success, frame = self._capture.retrieve()
        if not success:
            raise _DamagedFrameError("cannot be decoded")
        return np.ascontiguousarray(frame[:, :, ::-1])

    def close(self) -> None:
        self._capture.release()
