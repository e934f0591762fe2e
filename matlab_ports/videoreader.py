"""MATLAB's ``VideoReader``: the frames of a video in order, one by one, as RGB uint8.

One picture per coded frame: nothing is repeated to fill gaps between the times, nothing is left out.

Two backends decode with the same library: PyAV, where it is installed (the extra ``video``), and OpenCV. How colours
come out of it depends on the platform in MATLAB too: one or two levels between any two of the three are normal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports.imread import MOST_PIXELS

Bytes = npt.NDArray[np.uint8]
Backend = Literal["auto", "av", "opencv"]
Planes = Literal["rgb", "luma"]


class _Decoder(Protocol):
    """What a backend does."""

    height: int
    width: int
    rate: float

    def advance(self) -> bool:
        """Decode the next frame; False at the end."""
        ...

    def picture(self) -> Bytes:
        """Return the frame decoded last."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class VideoReader:
    """A video to be read frame by frame; close it, or use it in a ``with`` block.

    Parameters
    ----------
    path
        The file, of any kind the backend knows.
    backend
        ``av``, ``opencv``, or ``auto``: PyAV where it is installed.
    planes
        ``rgb``: (H, W, 3). ``luma``: (H, W), the stored Y in 16 .. 235 without the way over RGB and back; PyAV only.
    threads
        Of the decoder; by default what it thinks best.

    Attributes
    ----------
    height, width
        Of a frame.
    rate
        Frames per second, as the file says; 0 where it does not.
    frames_read
        How many frames were read or skipped.

    Raises
    ------
    PortError
        No such file, no video, or a backend that is not there.
    """

    def __init__(
        self, path: str | Path, *, backend: Backend = "auto", planes: Planes = "rgb", threads: int | None = None
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise PortError("is a folder" if self.path.is_dir() else "no such file", where=self.path)
        if not self.path.stat().st_size:
            raise PortError("is empty", where=self.path, hint="copy it again")
        if backend not in ("auto", "av", "opencv"):
            raise PortError(f"{backend!r} is unknown", where="VideoReader: backend", hint="auto, av or opencv")
        av = None if backend == "opencv" else _pyav(required=backend == "av" or planes == "luma")
        self._decoder: _Decoder = _OpenCV(self.path) if av is None else _PyAV(self.path, av, planes, threads)
        if av is None and planes == "luma":
            self.close()
            raise PortError(
                "OpenCV gives no luma plane", where="VideoReader: planes", hint="install PyAV: pip install av"
            )
        self.height, self.width, self.rate = self._decoder.height, self._decoder.width, self._decoder.rate
        if not 0 < self.height * self.width <= MOST_PIXELS:
            self.close()
            size = f"declares frames of {self.width} x {self.height}"
            raise PortError(size, where=self.path, hint=f"1 to {MOST_PIXELS} pixels are read")
        self.frames_read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Bytes]:
        while self.skip():
            yield self.picture()

    def skip(self) -> bool:
        """Decode a frame without making a picture of it; False where there is none any more.

        Raises
        ------
        PortError
            If the file is damaged there.
        """
        try:
            there = self._decoder.advance()
        except _Damaged as damage:
            raise PortError(
                f"is damaged at frame {self.frames_read + 1} ({damage})", where=self.path, hint="copy it again"
            ) from None
        self.frames_read += there
        return there

    def read(self) -> Bytes:
        """Return the next frame, as ``readFrame`` does.

        Raises
        ------
        PortError
            If there is none any more.
        """
        if not self.skip():
            raise PortError(f"ends after {self.frames_read} frames", where=self.path)
        return self.picture()

    def picture(self) -> Bytes:
        """Return the frame that was read or skipped last.

        Raises
        ------
        PortError
            If the file is damaged there.
        """
        try:
            return self._decoder.picture()
        except _Damaged as damage:
            raise PortError(f"is damaged at frame {self.frames_read} ({damage})", where=self.path) from None

    def close(self) -> None:
        """Let go of the file."""
        self._decoder.close()


class _Damaged(Exception):  # noqa: N818 (it is turned into an error that names the file)
    pass


def _pyav(*, required: bool) -> ModuleType | None:
    try:
        import av
    except ImportError:
        if required:
            raise PortError("PyAV is not installed", where="VideoReader", hint="pip install av") from None
        return None
    return av


class _PyAV:
    def __init__(self, path: Path, av: ModuleType, planes: Planes, threads: int | None) -> None:
        try:
            self._container = av.open(str(path), metadata_errors="ignore")
        except av.FFmpegError as error:
            raise PortError(f"cannot be read as a video ({error.strerror})", where=path, hint="copy it again") from None
        if not self._container.streams.video:
            self._container.close()
            raise PortError("holds no video", where=path)
        stream = self._container.streams.video[0]
        if stream.codec_context is None:
            self._container.close()
            raise PortError("is coded in a way that has no decoder here", where=path, hint="code it as H.264")
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        stream.thread_type = "AUTO"
        if threads is not None:
            stream.codec_context.thread_count = threads
        self._error = av.FFmpegError
        self.height, self.width = stream.codec_context.height, stream.codec_context.width
        self.rate = float(stream.average_rate or 0)
        self._frames: Iterator[Any] = self._container.decode(stream)
        self._frame: Any = None
        self._picture: Callable[[Any], Bytes] = _luma if planes == "luma" else _rgb

    def advance(self) -> bool:
        try:
            self._frame = next(self._frames, None)
        except self._error as error:
            raise _Damaged(error.strerror) from None
        if self._frame is not None and self._frame.is_corrupt:
            raise _Damaged("parts of it are missing")
        return self._frame is not None

    def picture(self) -> Bytes:
        return self._picture(self._frame)

    def close(self) -> None:
        self._container.close()


def _rgb(frame: Any) -> Bytes:
    picture: Bytes = frame.to_ndarray(format="rgb24")
    return picture


def _luma(frame: Any) -> Bytes:
    """Return plane 0 of a planar YUV frame; anything else, and full range, is converted first."""
    full = frame.format.name.startswith("yuvj") or frame.color_range == 2
    if full or not (frame.format.name.startswith("yuv") and frame.format.components[0].bits == 8):
        frame = frame.reformat(format="yuv420p", dst_color_range="MPEG")
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width].copy()


class _OpenCV:
    def __init__(self, path: Path) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what it has to say comes as errors
        import cv2

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise PortError("cannot be read as a video", where=path, hint="copy it again")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.rate = float(self._capture.get(cv2.CAP_PROP_FPS))

    def advance(self) -> bool:
        return bool(self._capture.grab())

    def picture(self) -> Bytes:
        there, frame = self._capture.retrieve()
        if not there:
            raise _Damaged("no picture")
        return np.ascontiguousarray(frame[:, :, ::-1])

    def close(self) -> None:
        self._capture.release()
