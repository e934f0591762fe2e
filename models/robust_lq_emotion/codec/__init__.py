"""Real video codecs for small gray pictures, and what their streams cost."""

from caffe_compat.models.robust_lq_emotion.codec.bits import Bits, count_bits
from caffe_compat.models.robust_lq_emotion.codec.codecs import CODECS, Codec, find_codec
from caffe_compat.models.robust_lq_emotion.codec.encode import Encoded, encode

__all__ = ["CODECS", "Bits", "Codec", "Encoded", "count_bits", "encode", "find_codec"]
