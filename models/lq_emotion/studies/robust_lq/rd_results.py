"""Results of a sweep: rd.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lq_emotion.common.records import Record
from lq_emotion.metrics.regression import Score
from lq_emotion.video.codecs import CODECS

UNCODED = "none"  # in a codec's place: small frames that were not coded, where a curve ends
PUBLISHED_BPP = {3: 0.24, 4: 0.40}  # arXiv 1709.03126, section 4.2: nothing is gained beyond it, at QP < 24
PUBLISHED_QP = 24


@dataclass(frozen=True)
class Coding(Record):
    """How frames are coded, apart from codec and QP.

    Attributes
    ----------
    frames : how many of a recording, from its first; None for all.
    fps, gop, preset : see `video.encode.encode`; the preset is for x264 and x265 alone.
    """

    frames: int | None = None
    fps: int = 25
    gop: int = 250
    preset: str = "medium"


@dataclass(frozen=True)
class ModelFile(Record):
    """A net of the figure: the name of its curve, the only factor it is shown (None for all), its weights."""

    name: str
    scale: int | None
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Point(Record):
    """A point of the curves: all recordings at one factor, codec (a part of file names) and QP, seen by one model.

    Attributes
    ----------
    codec, qp : `UNCODED` and None for frames that were not coded.
    bits, vcl_bits : bits of the streams, and of the frames alone, without headers; None without coding or NAL units.
    bpp, vcl_bpp : the same per pixel of the small frames.
    psnr : PSNR of the small frames, in dB; None if nothing was lost.
    score : score of all frames.
    """

    codec: str
    scale: int
    qp: int | None
    model: str
    bits: int | None
    vcl_bits: int | None
    bpp: float | None
    vcl_bpp: float | None
    psnr: float | None
    score: Score

    def __post_init__(self) -> None:
        if self.codec not in (*CODECS, UNCODED):
            raise ValueError(f"codec {self.codec!r}, expected one of {', '.join((*CODECS, UNCODED))}")
        if (self.codec == UNCODED) != (self.qp is None):
            raise ValueError(f"codec {self.codec!r} with QP {self.qp}")


@dataclass(frozen=True, kw_only=True)
class SweepResults(Record):
    """rd.json: inputs, settings, versions of the encoders, the paper's rates by factor with their QP, and the points.

    The delay is in seconds; `bits_rise_with_qp` has a line for every QP that takes no fewer bits than a lower one.
    """

    data: str
    recordings: tuple[str, ...]
    models: tuple[ModelFile, ...]
    coding: Coding
    versions: Mapping[str, str]
    convention: str
    delay: float
    bpp_published: Mapping[str, float]
    bits_rise_with_qp: tuple[str, ...]
    points: tuple[Point, ...]
