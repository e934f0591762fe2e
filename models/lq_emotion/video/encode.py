"""Encode frames and decode them again.

Pixel values of gray frames are not converted: luma is written to and read from plane 0, whatever its nominal range.
(FFmpeg's conversions to and from "gray" rescale between 16-235 and 0-255, which costs several decibels; codecs of the
two formats could then not share a rate-distortion plot.) The crops are luma in 16-235 already. Colour frames become
Y'CbCr 4:2:0 of BT.601, 16-235, as cameras store them.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.video.codecs import Codec, Family, find_codec

Frames = npt.NDArray[np.uint8]
COLOUR = "yuv420p"  # FFmpeg's name of the format of colour frames
_NEUTRAL_CHROMA = 128
# types of NAL units with coded frames; H.264's 2 to 4 are data partitions, today's encoders write 1 and 5
_VCL: Mapping[Family, range] = {"h264": range(1, 6), "hevc": range(32)}


@dataclass(frozen=True)
class Encoded:
    """An encoded video."""

    packets: tuple[bytes, ...] = field(repr=False)
    """The stream, in coding order."""
    decoded: Frames = field(repr=False)
    """(T, H, W) or (T, H, W, 3) uint8, the shape of the input."""
    frame_bits: tuple[int, ...] = field(repr=False)
    """Bits of each frame, in the order in which they are shown; the first one's include the headers."""
    vcl_bits: int | None
    """Bits of coded frames; None for codecs whose NAL units are not counted."""
    by_type: dict[int, int]
    """NAL unit type -> bits; empty for these codecs."""

    @property
    def total_bits(self) -> int:
        """Size of the stream in bits."""
        return 8 * sum(map(len, self.packets))

    @property
    def bpp(self) -> float:
        """Bits per input pixel; padding does not count."""
        return self.total_bits / math.prod(self.decoded.shape[:3])

    @property
    def sha256(self) -> str:
        """SHA-256 of the stream."""
        return hashlib.sha256(b"".join(self.packets)).hexdigest()


def encode(
    frames: Frames, codec: str = "x264", *, qp: int, fps: int = 25, gop: int = 250, preset: str | None = None
) -> Encoded:
    """Encode a video at one quantiser and decode it.

    The same frames and options give the same bits with the same version of the encoder.

    Parameters
    ----------
    frames : (T, H, W) uint8, gray, or (T, H, W, 3), red first; not empty.
    codec : a name in `CODECS`.
    qp : quantiser of all frames: I, P and B.
    fps : frames per second.
    gop : the longest distance between key frames.
    preset : speed preset of x264 and x265, ``medium`` by default.

    Raises
    ------
    DataError
        The frames or options are invalid, PyAV or the encoder is missing, or the encoder fails.
    """
    chosen = find_codec(codec, qp)
    frames = _require_frames(frames)
    if preset and not chosen.preset:
        raise DataError(
            f"{codec} has no presets", code="unsupported", field="preset", value=preset, hint="x264 and x265 have"
        )
    av = load_av()
    coded = padded(frames, chosen.min_side, (1, 2))
    try:
        packets, numbers = zip(*_packets(av, coded, chosen, qp, fps, gop, preset), strict=True)
        decoded = _decode(av, packets, chosen, frames.shape)
    except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        raise DataError(f"{chosen.encoder} failed: {error}", code="invalid", field="codec", value=codec) from None
    frame_bits = np.zeros(len(frames), np.int64)
    np.add.at(frame_bits, np.array(numbers), [8 * len(packet) for packet in packets])
    sizes = tuple(frame_bits.tolist())
    if chosen.family is None:
        return Encoded(packets, decoded, sizes, None, {})
    return Encoded(packets, decoded, sizes, *count_bits(b"".join(packets), chosen.family))


def count_bits(stream: bytes, family: Family) -> tuple[int, dict[int, int]]:
    """Count the bits of a byte stream of H.264 or HEVC: those of coded frames, and all by type of NAL unit.

    The stream (Annex B of both standards) is a sequence of NAL units, each after a start code, which counts. Units of
    the video coding layer (VCL) contain coded frames; the others contain parameter sets and messages, such as x264's
    banner of some 600 bytes, which in a short stream of tiny frames outweighs them.
    """
    by_type: dict[int, int] = {}
    for unit in split_nals(stream):
        header = unit.index(1) + 1
        if header >= len(unit):
            raise DataError("empty NAL unit", code="damaged-file", value=unit.hex())
        unit_type = unit[header] & 31 if family == "h264" else unit[header] >> 1 & 63
        by_type[unit_type] = by_type.get(unit_type, 0) + 8 * len(unit)
    vcl = sum(by_type.get(unit_type, 0) for unit_type in _VCL[family])
    return vcl, dict(sorted(by_type.items()))


def split_nals(stream: bytes) -> list[bytes]:
    """Split a stream into NAL units, each with its start code of three or four bytes."""
    if not stream:
        return []
    starts = []
    position = stream.find(b"\0\0\1")
    while position >= 0:
        # a zero_byte (the standards' term) before a start code belongs to it
        starts.append(position - 1 if position and stream[position - 1] == 0 else position)
        position = stream.find(b"\0\0\1", position + 3)
    if not starts or starts[0] != 0:
        raise DataError(
            "the stream does not begin with a NAL start code", code="wrong-format", value=stream[:8].hex(),
            hint="an Annex B byte stream is expected",
        )  # fmt: skip
    return [stream[start:end] for start, end in pairwise([*starts, len(stream)])]


def coded_side(side: int, min_side: int) -> int:
    """Return the padded width or height: even, as 4:2:0 needs, and at least `min_side`."""
    return max(side + side % 2, min_side)


def padded(frames: Frames, min_side: int, axes: tuple[int, int] = (0, 1)) -> Frames:
    """Return frames whose height and width, their `axes`, are those of `coded_side`; the last pixels are repeated."""
    padding = [(0, 0)] * frames.ndim
    for axis in axes:
        padding[axis] = (0, coded_side(frames.shape[axis], min_side) - frames.shape[axis])
    return np.pad(frames, padding, mode="edge")


def versions() -> dict[str, str]:
    """Return the versions that the bits depend on: PyAV bundles its encoders."""
    av = load_av()
    return {"av": str(av.__version__), "libavcodec": ".".join(map(str, av.library_versions["libavcodec"]))}


def load_av() -> Any:
    """Return PyAV, or raise DataError if it is not installed."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only; the default prints pages to stderr
    try:
        import av
    except ImportError:
        raise DataError(
            "PyAV, which reads and writes video, is not installed",
            code="dependency-missing", hint="pip install 'caffe-compat[video]'",
        ) from None  # fmt: skip
    return av


def _require_frames(frames: Frames) -> Frames:
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.shape[3:] not in ((), (3,)) or frames.ndim < 3 or 0 in frames.shape:
        raise DataError(
            f"frames are {frames.shape} {frames.dtype}, expected (T, H, W) or (T, H, W, 3) uint8, not empty",
            code="wrong-type" if frames.dtype != np.uint8 else "shape-mismatch", field="frames",
        )  # fmt: skip
    return frames


def _packets(
    av: Any, frames: Frames, codec: Codec, qp: int, fps: int, gop: int, preset: str | None
) -> Iterator[tuple[bytes, int]]:
    """Yield the packets, each with the number of its frame."""
    encoder = av.CodecContext.create(codec.encoder, "w")
    encoder.height, encoder.width = frames.shape[1:3]
    encoder.pix_fmt = codec.pixel_format if frames.ndim == 3 else COLOUR
    encoder.framerate = fps
    encoder.time_base = Fraction(1, fps)
    encoder.gop_size = gop
    encoder.thread_count = 1
    presets = {"preset": preset or codec.preset} if codec.preset else {}
    encoder.options = {**presets, **codec.options(qp)}
    with _restore_scheduling():
        encoder.open()
    for number, image in enumerate(frames):
        frame = video_frame(av, image, encoder.pix_fmt)
        frame.pts = number
        for packet in encoder.encode(frame):
            yield bytes(packet), packet.pts
    for packet in encoder.encode(None):
        yield bytes(packet), packet.pts


@contextmanager
def _restore_scheduling() -> Iterator[None]:
    """Undo the real-time priority that SVT-AV1, opened by root, gives its threads and the caller's.

    Other processes would starve until the caller ends.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(int(thread.name)) != policy:
                os.sched_setscheduler(int(thread.name), policy, parameters)


def video_frame(av: Any, image: Frames, pixel_format: str) -> Any:
    """Return an image, (H, W) or (H, W, 3) of even sides, as a frame of FFmpeg."""
    height, width = image.shape[:2]
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, values in zip(frame.planes, _planes(image, len(frame.planes)), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[: values.shape[0], : values.shape[1]] = values
    return frame


def _planes(image: Frames, count: int) -> list[Frames]:
    height, width = image.shape[:2]
    if image.ndim == 2:
        neutral = np.full((height // 2, width // 2), _NEUTRAL_CHROMA, np.uint8)
        return [image, *[neutral] * (count - 1)]
    import cv2

    stacked = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
    chroma = stacked[height:].reshape(2, height // 2, width // 2)
    return [stacked[:height], *chroma]


def visible_image(frame: Any, shape: tuple[int, ...]) -> Frames:
    """Return a decoded frame, (H, W) or (H, W, 3), without the padding."""
    height, width = shape[:2]
    # the rows of a plane are padded beyond the frame's width
    planes = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    if len(shape) == 2:
        return planes[0][:height, :width]
    import cv2

    sizes = [(frame.height, frame.width), *[(frame.height // 2, frame.width // 2)] * 2]
    visible = [plane[:rows, :columns].ravel() for plane, (rows, columns) in zip(planes, sizes, strict=True)]
    stacked = np.concatenate(visible).reshape(-1, frame.width)
    return np.asarray(cv2.cvtColor(stacked, cv2.COLOR_YUV2RGB_I420), np.uint8)[:height, :width]


def _decode(av: Any, packets: tuple[bytes, ...], codec: Codec, shape: tuple[int, ...]) -> Frames:
    """Decode into an array of this shape, (T, H, W) or (T, H, W, 3), without the padding."""
    count = shape[0]
    decoder = av.CodecContext.create(codec.decoder, "r")
    decoder.thread_count = 1
    decoded = np.empty(shape, np.uint8)
    received = 0
    for packet in (*map(av.Packet, packets), None):
        for frame in decoder.decode(packet):
            if received < count:
                decoded[received] = visible_image(frame, shape[1:])
            received += 1
    if received != count:
        raise DataError(
            f"{codec.decoder} returned {received} frames, expected {count}", code="wrong-count",
            field="codec", value=codec.name,
        )  # fmt: skip
    return decoded
