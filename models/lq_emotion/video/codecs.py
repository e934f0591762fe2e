"""The codecs, with options that make their streams reproducible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from caffe_compat.errors import DataError, did_you_mean

Family = Literal["h264", "hevc"]


@dataclass(frozen=True)
class Codec:
    """An FFmpeg encoder, and its decoder, that codes every frame with the same quantiser."""

    name: str
    encoder: str
    decoder: str
    options: Callable[[int], Mapping[str, str]]
    """QP -> the encoder's options."""
    qps: range
    """Valid quantisers; only x264's and x265's are on the same scale."""
    pixel_format: str = "yuv420p"
    """Format of the encoder's input for gray frames; in ``yuv420p`` the chroma planes are neutral."""
    min_side: int = 1
    """Frames are padded to at least this width and height."""
    family: Family | None = None
    """Kind of stream, where NAL units can be counted."""
    preset: str = ""
    """Default speed preset; empty where the encoder has none."""


def _x264(qp: int) -> dict[str, str]:
    # qp applies to P frames; the ratios give I and B frames the same
    return {"x264-params": f"qp={qp}:ipratio=1:pbratio=1:threads=1"}


def _x265(qp: int) -> dict[str, str]:
    # A frame of a single coding tree unit (32 x 32 by default, 16 x 16 with ctu=16) is coded 1 to 2 dB worse, and
    # differently every time: hence ctu=16 and `min_side`. info=0 omits the banner; threads change the bits. Above QP 38
    # nearly all bits of frames this small are overhead, which adaptive B frames and SAO increase with QP; SAO costs
    # more than it gains.
    fixed = "ctu=16:frame-threads=1:pools=none:ipratio=1:pbratio=1:b-adapt=0:no-sao=1:info=0:log-level=error"
    return {"x265-params": f"qp={qp}:{fixed}"}


def _vp9(qp: int) -> dict[str, str]:
    return {"crf": str(qp), "qmin": str(qp), "qmax": str(qp), "b": "0"}


def _av1(qp: int) -> dict[str, str]:
    return {"qp": str(qp), "svtav1-params": "lp=1"}


def _mpeg4(qp: int) -> dict[str, str]:
    return {"qmin": str(qp), "qmax": str(qp)}


CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("x264", "libx264", "h264", _x264, range(52), "gray", family="h264", preset="medium"),
        Codec("x265", "libx265", "hevc", _x265, range(52), "gray", min_side=24, family="hevc", preset="medium"),
        Codec("vp9", "libvpx-vp9", "vp9", _vp9, range(64)),
        Codec("av1", "libsvtav1", "libdav1d", _av1, range(1, 64)),
        Codec("mpeg4", "mpeg4", "mpeg4", _mpeg4, range(2, 32)),
    )
}


def find_codec(name: str, qp: int | None = None) -> Codec:
    """Look up a codec by name; refuse an unknown one, and one that does not take this QP."""
    if name not in CODECS:
        hint = did_you_mean(name, CODECS) or f"choose one of {', '.join(CODECS)}"
        raise DataError("unknown codec", code="name-unknown", field="codec", value=name, hint=hint)
    codec = CODECS[name]
    if qp is not None and qp not in codec.qps:
        raise DataError(
            "out of range", code="out-of-range", field="qp", value=qp,
            hint=f"{name} takes {codec.qps[0]} to {codec.qps[-1]}",
        )  # fmt: skip
    return codec
