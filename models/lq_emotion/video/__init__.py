"""Encode small gray videos with real codecs and count the bits of their streams."""

from lq_emotion.video.bits import Bits, count_bits
from lq_emotion.video.codecs import CODECS, Codec, find_codec
from lq_emotion.video.encode import Encoded, encode

__all__ = ["CODECS", "Bits", "Codec", "Encoded", "count_bits", "encode", "find_codec"]
