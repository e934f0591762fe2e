"""Degrade video, encode it with real codecs, and count the bits of the streams."""

from lq_emotion.video.degrade import DegradeSettings, degrade, degrade_video
from lq_emotion.video.encode import encode

__all__ = ["DegradeSettings", "degrade", "degrade_video", "encode"]
