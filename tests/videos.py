"""Small videos for tests, in any codec of FFmpeg."""

from fractions import Fraction

import numpy as np
import pytest


def write_video(
    path, frames, *, codec="ffv1", pix_fmt="bgr0", rate=25, tick=None, ticks=None, rotation=0, options=None, form=None,
    container_options=None,
):  # fmt: skip
    """Write RGB frames (H, W, 3) uint8 at times in units of `tick`, by default one after the other at `rate`."""
    av = pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    tick = tick or Fraction(1, rate)
    with av.open(str(path), "w", format=form, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number if ticks is None else ticks[number], tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def random_frames(count, height=140, width=160, seed=0):
    """Return colour frames (N, H, W, 3) of random blocks and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 10, width // 10, 3))
    return np.repeat(np.repeat(coarse, 10, 1), 10, 2).astype(np.uint8) // 2 + rng.integers(
        0, 128, (count, height, width, 3), dtype=np.uint8
    )
