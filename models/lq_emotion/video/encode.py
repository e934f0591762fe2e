"""Encode gray pictures and decode them again.

Pixel values go through as they are: luma is written to and read from plane 0, whatever range a player would think it
has. (Conversions to and from "gray" stretch and squeeze between 16-235 and 0-255, at a cost of several decibels, so
that rates and qualities of the two could not be put in one curve.) The crops are luma of 16-235 to begin with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.video.bits import count_bits
from lq_emotion.video.codecs import Codec, find_codec

Pictures = npt.NDArray[np.uint8]
_NEUTRAL = 128


@dataclass(frozen=True)
class Encoded:
    """A coded video.

    Attributes
    ----------
    packets : the stream in pieces, in the order of coding.
    decoded : (T, H, W), the size of what was given.
    vcl_bits : None for codecs whose streams are not looked into.
    by_type : bits by type of NAL unit, empty for these.
    """

    packets: tuple[bytes, ...] = field(repr=False)
    decoded: Pictures = field(repr=False)
    vcl_bits: int | None
    by_type: dict[int, int]

    @property
    def stream(self) -> bytes:
        """All packets."""
        return b"".join(self.packets)

    @property
    def total_bits(self) -> int:
        """Of the stream."""
        return 8 * sum(map(len, self.packets))

    @property
    def bpp(self) -> float:
        """Bits per pixel of the pictures given; what they were padded with does not count."""
        return self.total_bits / self.decoded.size

    @property
    def vcl_bpp(self) -> float | None:
        """The same without headers."""
        return None if self.vcl_bits is None else self.vcl_bits / self.decoded.size

    @property
    def sha256(self) -> str:
        """Of the stream."""
        return hashlib.sha256(self.stream).hexdigest()


def encode(
    frames: Pictures, codec: str = "x264", *, qp: int, fps: int = 25, gop: int = 250, preset: str | None = None
) -> Encoded:
    """Encode a video at one quantiser and decode it.

    The same pictures and options give the same bits every time, with the same version of the encoder.

    Parameters
    ----------
    frames : uint8 (T, H, W), T and all sides 1 at least.
    codec : a name of `CODECS`.
    qp : of all pictures, whether I, P or B.
    fps : pictures per second.
    gop : most pictures from one that stands alone to the next.
    preset : of x264 and x265, ``medium`` by default.

    Raises
    ------
    DataError
        Unusable pictures or options, no PyAV, an encoder this PyAV is built without, or a failure of the encoder.
    """
    chosen = find_codec(codec, qp)
    pictures = _checked(frames)
    if preset and not chosen.preset:
        raise DataError("is not known to this codec", field="preset", value=preset, hint="x264 and x265 take one")
    av = _av()
    count, height, width = pictures.shape
    room = [(0, 0), *((0, padded(side, chosen.least) - side) for side in (height, width))]
    try:
        packets = tuple(_packets(av, np.pad(pictures, room, mode="edge"), chosen, qp, fps, gop, preset))
        decoded = _decoded(av, packets, chosen, (count, height, width))
    except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        raise DataError(f"{chosen.encoder} failed: {error}", field="codec", value=codec) from None
    if chosen.family is None:
        return Encoded(packets, decoded, None, {})
    bits = count_bits(b"".join(packets), chosen.family)
    return Encoded(packets, decoded, bits.vcl, dict(bits.by_type))


def padded(side: int, least: int) -> int:
    """Return the side of the picture that is coded: even, for 4:2:0, and not below what the codec takes."""
    return max(side + side % 2, least)


def versions() -> dict[str, str]:
    """Return what decides the bits besides pictures and options: PyAV comes with its own encoders."""
    av = _av()
    return {"av": str(av.__version__), "libavcodec": ".".join(map(str, av.library_versions["libavcodec"]))}


def _av() -> Any:
    os.environ.setdefault("SVT_LOG", "1")  # errors only; it would write pages to stderr
    try:
        import av
    except ImportError:
        raise DataError("PyAV is missing, which encodes video", hint="pip install caffe-compat[video]") from None
    return av


def _checked(frames: Pictures) -> Pictures:
    pictures = np.asarray(frames)
    if pictures.dtype != np.uint8 or pictures.ndim != 3 or 0 in pictures.shape:
        shape = " x ".join(map(str, pictures.shape))
        raise DataError(f"{shape} of {pictures.dtype} are no pictures", field="frames", hint="uint8, T x H x W")
    return pictures


def _packets(
    av: Any, pictures: Pictures, codec: Codec, qp: int, fps: int, gop: int, preset: str | None
) -> Iterator[bytes]:
    encoder = av.CodecContext.create(codec.encoder, "w")
    encoder.height, encoder.width = pictures.shape[1:]
    encoder.pix_fmt = codec.pixels
    encoder.framerate = fps
    encoder.time_base = Fraction(1, fps)
    encoder.gop_size = gop
    encoder.thread_count = 1
    speed = {"preset": preset or codec.preset} if codec.preset else {}
    encoder.options = {**speed, **codec.options(qp)}
    with _scheduling_kept():
        encoder.open()
    for number, picture in enumerate(pictures):
        for packet in encoder.encode(_frame(av, picture, codec.pixels, number)):
            yield bytes(packet)
    for packet in encoder.encode(None):
        yield bytes(packet)


@contextmanager
def _scheduling_kept() -> Iterator[None]:
    """Undo what SVT-AV1 does when root opens it: real-time priority for its threads and for the caller's.

    Other processes would get next to no time on the cores, until the caller ends.
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


def _frame(av: Any, picture: Pictures, pixels: str, number: int) -> Any:
    height, width = picture.shape
    frame = av.VideoFrame(width, height, pixels)
    luma, *colours = frame.planes
    np.frombuffer(luma, np.uint8).reshape(-1, luma.line_size)[:height, :width] = picture
    for plane in colours:
        plane.update(bytes([_NEUTRAL]) * plane.buffer_size)
    frame.pts = number
    return frame


def _decoded(av: Any, packets: tuple[bytes, ...], codec: Codec, shape: tuple[int, int, int]) -> Pictures:
    """Decode into (T, H, W), leaving out what was padded."""
    count, height, width = shape
    decoder = av.CodecContext.create(codec.decoder, "r")
    decoder.thread_count = 1
    decoded = np.empty(shape, np.uint8)
    found = 0
    for packet in (*map(av.Packet, packets), None):
        for frame in decoder.decode(packet):
            luma = frame.planes[0]  # rows are longer than the picture is wide
            if found < count:
                decoded[found] = np.frombuffer(luma, np.uint8).reshape(-1, luma.line_size)[:height, :width]
            found += 1
    if found != count:
        raise DataError(f"{found} of {count} pictures came back", field="codec", value=codec.name)
    return decoded
