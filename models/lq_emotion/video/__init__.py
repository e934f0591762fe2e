"""Degrade video, encode it with real codecs, and count the bits of the streams."""

from lq_emotion.video.codecs import CODECS, Codec, find_codec
from lq_emotion.video.degrade import Degraded, DegradedVideo, degrade, degrade_video
from lq_emotion.video.encode import Encoded, count_bits, encode

__all__ = [
    "CODECS",
    "Codec",
    "Degraded",
    "DegradedVideo",
    "Encoded",
    "count_bits",
    "degrade",
    "degrade_video",
    "encode",
    "find_codec",
]
