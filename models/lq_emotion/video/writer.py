"""Write the frames of a video file at their own times, complete or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from caffe_compat.errors import FileError
from caffe_compat.formats.files import atomic_path
from lq_emotion.video.encode import COLOUR, Frames, load_av, video_frame

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
MPEG_CLOCK = Fraction(1, 90_000)  # seconds, of which all usual rates are parts
_BT601, _LIMITED = 6, 1  # FFmpeg's AVCOL_SPC_SMPTE170M and AVCOL_RANGE_MPEG


class VideoWriter:
    """Takes the frames of a video file; see `write_video`."""

    def __init__(self, container: Any, stream: Any, to_frame: Callable[[Frames, int], Any]) -> None:
        self._container, self._stream, self._to_frame = container, stream, to_frame
        self.frames, self.bits = 0, 0  # written so far; bits are complete once the file is
        self.last = -1  # tick of the last frame
        self.size: tuple[int, int] | None = None  # rows and columns, of the first frame

    def write(self, image: Frames, tick: int) -> None:
        """Write a frame, (H, W, 3) uint8 of even sides, red first, at a time in ticks."""
        if self.size is None:
            self.size = self._stream.height, self._stream.width = image.shape[0], image.shape[1]
        self.mux(self._stream.encode(self._to_frame(image, tick)))
        self.frames, self.last = self.frames + 1, tick

    def mux(self, packets: list[Any]) -> None:
        """Write packets of the encoder."""
        self.bits += sum(8 * packet.size for packet in packets)
        self._container.mux(packets)


@contextmanager
def write_video(
    path: Path,
    options: Mapping[str, str],
    *,
    encoder: str = "libx264",
    tick: Fraction = MPEG_CLOCK,
    rate: Fraction | None = None,
    pixel_format: str = COLOUR,
    converter: Literal["opencv", "ffmpeg"] = "opencv",
    tagged: bool = False,
    threads: int | None = None,
    container: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[VideoWriter]:
    """Give a writer of a video, .mp4, .mov or .mkv; FFmpeg's errors become a FileError that names the file.

    `options` are the encoder's, `container` the container's; `tick` is the unit of time in seconds, `rate` the stated
    frames per second. The converter ``opencv`` turns frames into 4:2:0 in a tenth of the time that ``ffmpeg`` takes for
    it. A `tagged` file states that its colours are BT.601, 16-235.
    """
    av = load_av()

    def to_frame(image: Frames, at: int) -> Any:
        if converter == "opencv":
            frame = video_frame(av, np.ascontiguousarray(image), COLOUR)
        else:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = at, tick
        if tagged:
            frame.color_range, frame.colorspace = _LIMITED, _BT601
        return frame

    with atomic_path(path) as partial:
        try:
            kind = CONTAINERS[path.suffix.lower()]
            with av.open(str(partial), "w", format=kind, options=dict(container)) as file:
                stream = file.add_stream(encoder, rate=rate, options=dict(options))
                stream.pix_fmt = pixel_format
                context = stream.codec_context
                context.time_base = tick
                if threads is not None:
                    context.thread_count = threads
                if tagged:
                    context.colorspace, context.color_range = _BT601, _LIMITED
                writer = VideoWriter(file, stream, to_frame)
                yield writer
                if writer.frames:
                    writer.mux(stream.encode())  # the frames that the encoder still has
        except av.FFmpegError as error:  # not all of which are OSErrors
            problem = f"cannot be written: {error.strerror or error}"
            raise FileError(problem, code="file-unwritable", file=path) from None
