"""Write the frames of a video file at their own times, complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import FileError
from caffe_compat.formats.files import atomic_path
from lq_emotion.video.encode import COLOUR, Frames, load_av, video_frame

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
MPEG_CLOCK = Fraction(1, 90_000)  # seconds, of which all usual rates are parts
_RGB = "rgb24"
_BT601, _LIMITED = 6, 1  # FFmpeg's AVCOL_SPC_SMPTE170M and AVCOL_RANGE_MPEG


@dataclass(frozen=True, kw_only=True)
class FileCoding:
    """Coding of a video file.

    Attributes
    ----------
    encoder, options : FFmpeg's name of an encoder, and its options.
    tick : unit of time in seconds.
    rate : stated frames per second; None leaves it to FFmpeg.
    pixel_format : format of the coded frames.
    converter : ``opencv`` turns frames into 4:2:0, in a tenth of the time that ``ffmpeg`` takes for it.
    tagged : true if the file states that its colours are BT.601, 16-235.
    threads : threads of the encoder; None leaves it to FFmpeg.
    container : options of the container.
    """

    encoder: str = "libx264"
    options: Mapping[str, str]
    tick: Fraction = MPEG_CLOCK
    rate: Fraction | None = None
    pixel_format: str = COLOUR
    converter: str = "opencv"
    tagged: bool = False
    threads: int | None = None
    container: Mapping[str, str] = field(default_factory=dict)


class VideoWriter:
    """Takes the frames of a video file; see `write_video`.

    Attributes
    ----------
    frames, bits : numbers written so far; bits are complete once the file is.
    size : rows and columns, of the first frame; None before it.
    last : time of the last frame in ticks; -1 before the first.
    """

    def __init__(self, av: Any, container: Any, coding: FileCoding) -> None:
        self._av, self._container, self._coding = av, container, coding
        self._stream: Any = container.add_stream(coding.encoder, rate=coding.rate, options=dict(coding.options))
        self._stream.pix_fmt = coding.pixel_format
        context = self._stream.codec_context
        context.time_base = coding.tick
        if coding.threads is not None:
            context.thread_count = coding.threads
        if coding.tagged:
            context.colorspace, context.color_range = _BT601, _LIMITED
        self.frames, self.bits, self.last = 0, 0, -1
        self.size: tuple[int, int] | None = None

    def write(self, image: Frames, tick: int) -> None:
        """Write a frame, (H, W, 3) uint8 of even sides, red first, at a time in ticks."""
        if self.size is None:
            self.size = self._stream.height, self._stream.width = image.shape[0], image.shape[1]
        if self._coding.converter == "opencv":
            frame = video_frame(self._av, np.ascontiguousarray(image), COLOUR)
        else:
            frame = self._av.VideoFrame.from_ndarray(image, format=_RGB)
        frame.pts, frame.time_base = tick, self._coding.tick
        if self._coding.tagged:
            frame.color_range, frame.colorspace = _LIMITED, _BT601
        self._mux(self._stream.encode(frame))
        self.frames, self.last = self.frames + 1, tick

    def finish(self) -> None:
        """Write the frames that the encoder still has."""
        if self.frames:
            self._mux(self._stream.encode())

    def _mux(self, packets: list[Any]) -> None:
        self.bits += sum(8 * packet.size for packet in packets)
        self._container.mux(packets)


@contextmanager
def write_video(path: Path, coding: FileCoding) -> Iterator[VideoWriter]:
    """Give a writer of a video, .mp4, .mov or .mkv; FFmpeg's errors become a FileError that names the file."""
    av = load_av()
    with atomic_path(path) as partial:
        try:
            kind = CONTAINERS[path.suffix.lower()]
            with av.open(str(partial), "w", format=kind, options=dict(coding.container)) as container:
                writer = VideoWriter(av, container, coding)
                yield writer
                writer.finish()
        except av.FFmpegError as error:  # not all of which are OSErrors
            problem = f"cannot be written: {error.strerror or error}"
            raise FileError(problem, code="file-unwritable", file=path) from None
