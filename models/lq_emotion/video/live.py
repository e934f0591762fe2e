"""Code frames one by one as they are captured, for a stream whose delay counts: no container, no frame held back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from caffe_compat.errors import DataError
from lq_emotion.video.codecs import Codec, find_codec
from lq_emotion.video.encode import COLOUR, coded_side, load_av, padded, video_frame, visible_image
from lq_emotion.video.frames import Image

LIVE_CODECS = ("x264", "x265")  # those with a tuning for no delay


def find_live_codec(name: str, qp: int | None = None) -> Codec:
    """Return a codec that can code without holding frames back."""
    codec = find_codec(name, qp)
    if name not in LIVE_CODECS:
        hint = f"choose one of {', '.join(LIVE_CODECS)}"
        raise DataError("cannot code without delay", code="unsupported", field="codec", value=name, hint=hint)
    return codec


class LiveEncoder:
    """Encodes colour frames at one quantiser, each into one packet at once: no B frames, no look-ahead.

    Frames with odd sides are padded; `fps` is only stated in the stream; `gop` is the longest distance between key
    frames.
    """

    def __init__(self, width: int, height: int, *, fps: float, codec: str, qp: int, gop: int = 250) -> None:
        chosen = find_live_codec(codec, qp)
        self._av, self._shape, self._name = load_av(), (height, width, 3), codec
        self._min_side = chosen.min_side
        encoder = self._av.CodecContext.create(chosen.encoder, "w")
        encoder.height, encoder.width = (coded_side(side, chosen.min_side) for side in (height, width))
        encoder.pix_fmt = COLOUR
        encoder.framerate = Fraction(fps).limit_denominator(1001)
        encoder.time_base = 1 / encoder.framerate
        encoder.gop_size, encoder.max_b_frames, encoder.thread_count = gop, 0, 1
        encoder.options = {"preset": chosen.preset, "tune": "zerolatency", **chosen.options(qp)}
        try:
            encoder.open()
        except self._av.FFmpegError as error:
            problem = f"{chosen.encoder} refuses {width} x {height}: {error}"
            raise DataError(problem, code="invalid", field="codec", value=codec) from None
        self._encoder, self._count = encoder, 0

    def __call__(self, image: Image) -> bytes:
        """Return the packet of a frame, (height, width, 3) uint8, red first."""
        if image.shape != self._shape:
            problem = f"the frame is {image.shape}, expected {self._shape}"
            raise DataError(problem, code="shape-mismatch", field="frame")
        frame = video_frame(self._av, padded(image, self._min_side), COLOUR)
        frame.pts = self._count
        self._count += 1
        packets = self._encoder.encode(frame)
        if len(packets) != 1:
            problem = f"{len(packets)} packets for a frame, expected one"
            raise DataError(problem, code="wrong-count", field="codec", value=self._name)
        return bytes(packets[0])


class LiveDecoder:
    """Decodes the packets of a `LiveEncoder`, one frame each, of (height, width) without padding."""

    def __init__(self, width: int, height: int, *, codec: str) -> None:
        self._av, self._shape, self._name = load_av(), (height, width, 3), codec
        self._decoder: Any = self._av.CodecContext.create(find_live_codec(codec).decoder, "r")
        self._decoder.thread_count = 1  # more hold frames back
        self._decoder.flags |= self._av.codec.context.Flags.low_delay

    def __call__(self, packet: bytes) -> Image:
        """Return the frame of a packet, (height, width, 3) uint8, red first."""
        try:
            frames = self._decoder.decode(self._av.Packet(packet))
        except self._av.FFmpegError as error:
            raise DataError(f"cannot be decoded: {error}", code="damaged-file", field="packet") from None
        if len(frames) != 1:
            problem = f"{len(frames)} frames in a packet, expected one"
            raise DataError(problem, code="wrong-count", field="codec", value=self._name)
        return visible_image(frames[0], self._shape)
