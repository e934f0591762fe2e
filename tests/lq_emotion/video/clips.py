"""Small clips as phones, cameras and screens record them."""

from fractions import Fraction

import numpy as np
import pytest

TICK = Fraction(1, 600)


def gray_levels(count, height=48, width=64):
    """Frames whose gray level encodes their number, with a bright upper left corner."""
    frames = [np.full((height, width, 3), 10 + 5 * (number % 40), np.uint8) for number in range(count)]
    for frame in frames:
        frame[: height // 3, : width // 3] = 250
    return frames


def number_of(image):
    """Return the number (modulo 40) that the lower right part of a frame encodes."""
    return round((float(image[-8:, -8:].mean()) - 10) / 5)


def write_clip(
    path, frames, *, times=None, codec="libx264", pix_fmt="yuv420p", rotation=0, options=None, form=None,
    container_options=None,
):  # fmt: skip
    """Write frames at these times in seconds, by default 25 a second."""
    av = pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    with av.open(str(path), "w", format=form, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = TICK
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.time_base = TICK
            frame.pts = round((number / 25 if times is None else times[number]) / TICK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
