"""Small clips as phones, cameras and screens record them, also damaged; and how far frames are apart."""

from fractions import Fraction

import numpy as np

from tests.videos import write_video

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


def write_clip(path, frames, *, times=None, codec="libx264", pix_fmt="yuv420p", **options):
    """Write frames at these times in seconds, by default 25 a second; `options` as in `write_video`."""
    seconds = [number / 25 for number in range(len(frames))] if times is None else times
    ticks = [round(time / TICK) for time in seconds]
    return write_video(path, frames, codec=codec, pix_fmt=pix_fmt, tick=TICK, ticks=ticks, **options)


def write_truncated(path, count=100, part=0.5, **options):
    """Write a part of a clip of noise, which has `count` frames."""
    noise = np.random.default_rng(0).integers(0, 255, (count, 48, 64, 3), np.uint8)
    content = write_clip(path, list(noise), **{"options": {"g": "10", "bf": "0"}, **options}).read_bytes()
    path.write_bytes(content[: round(len(content) * part)])
    return path


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
