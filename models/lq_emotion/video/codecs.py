"""The codecs, and the options that make their streams the same every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from caffe_compat.errors import DataError, did_you_mean
from lq_emotion.video.bits import Family


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg, at one quantiser for all pictures.

    Attributes
    ----------
    name : as users write it.
    encoder, decoder : as FFmpeg calls them.
    options : those of the encoder for a QP.
    qps : the quantisers it takes; only those of x264 and x265 are on one scale.
    pixels : what it is given; with ``yuv420p`` the colour planes are neutral.
    least : width and height below which pictures are padded.
    family : of the stream, where NAL units can be counted.
    preset : the default speed; empty where the encoder knows none.
    """

    name: str
    encoder: str
    decoder: str
    options: Callable[[int], Mapping[str, str]]
    qps: range
    pixels: str = "yuv420p"
    least: int = 1
    family: Family | None = None
    preset: str = ""


def _x264(qp: int) -> dict[str, str]:
    # qp is that of P pictures; I and B pictures would have others
    return {"x264-params": f"qp={qp}:ipratio=1:pbratio=1:threads=1"}


def _x265(qp: int) -> dict[str, str]:
    # With the default size of coding tree units, a picture of 32 x 32 is a single one: x265 then codes it one or two
    # decibels worse, and differently every time. The same holds for 16 x 16 and ctu=16, hence `least` below.
    # info=0 leaves out the banner; threads change the bits. Above QP 38 nearly all bits of pictures this small are
    # overhead: with adaptive B pictures and SAO they rise again with QP, and SAO costs more than it gains.
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
        Codec("x265", "libx265", "hevc", _x265, range(52), "gray", least=24, family="hevc", preset="medium"),
        Codec("vp9", "libvpx-vp9", "vp9", _vp9, range(64)),
        Codec("av1", "libsvtav1", "libdav1d", _av1, range(1, 64)),
        Codec("mpeg4", "mpeg4", "mpeg4", _mpeg4, range(2, 32)),
    )
}


def find_codec(name: str, qp: int | None = None) -> Codec:
    """Return the codec of a name.

    Raises
    ------
    DataError
        There is none, or it does not take this QP.
    """
    if name not in CODECS:
        hint = did_you_mean(name, CODECS) or f"known: {', '.join(CODECS)}"
        raise DataError("is unknown", field="codec", value=name, hint=hint)
    codec = CODECS[name]
    if qp is not None and qp not in codec.qps:
        raise DataError("is out of range", field="qp", value=qp, hint=f"{name} takes {codec.qps[0]} to {codec.qps[-1]}")
    return codec
