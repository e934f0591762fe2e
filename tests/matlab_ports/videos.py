"""Small videos for tests: lossless ones, and H.264."""

from fractions import Fraction

import numpy as np
import pytest


def write_video(path, frames, *, codec="ffv1", pix_fmt="bgr0", ticks=None, options=None):
    """Write RGB frames (H, W, 3) uint8 at 25 a second; `ticks` are their times in 1/25 s."""
    av = pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 25)
        for number, frame in enumerate(frames):
            encoded = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pix_fmt)
            encoded.pts = number if ticks is None else ticks[number]
            encoded.time_base = Fraction(1, 25)
            container.mux(stream.encode(encoded))
        container.mux(stream.encode())
    return path


def random_frames(count, height=140, width=160, seed=0):
    """Return colour frames (N, H, W, 3) of random blocks and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 10, width // 10, 3))
    return np.repeat(np.repeat(coarse, 10, 1), 10, 2).astype(np.uint8) // 2 + rng.integers(
        0, 128, (count, height, width, 3), dtype=np.uint8
    )
