"""Simulate the signals of a recording: valence, arousal, their raters, head movement, missing faces and frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
RATE = 25  # frames per second
RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
_DROP_RATE = 0.004  # of all frames, missing from the video
_OCCLUSION_INTERVAL = 45.0  # mean seconds between periods without a visible face
VISIBLE, BEHIND, HAND, ABSENT = range(4)  # a face, a head from behind, a hand before the face, no one


class Signals(NamedTuple):
    """The signals of a recording, on the grid of 0.04 s.

    Attributes
    ----------
    valence : (T,) in the face, -1 .. 1.
    talk : (T,) opening of the mouth in speech, 0 .. 1, independent of valence.
    blink : (T,) 0 .. 1, 1 with closed eyes.
    gaze : (T, 2) of the eyes, -1 .. 1.
    pose : (T, 4) of the head: right and down in face widths, size, angle in radians.
    light : (T, 2) gain and direction.
    occlusion : (T,) `VISIBLE`, `BEHIND`, `HAND` or `ABSENT`.
    dropped : (T,) bool, missing from the video.
    arousal : (T,) in the face, -1 .. 1, independent of valence.
    """

    valence: Doubles
    talk: Doubles
    blink: Doubles
    gaze: Doubles
    pose: Doubles
    light: Doubles
    occlusion: npt.NDArray[np.uint8]
    dropped: npt.NDArray[np.bool_]
    arousal: Doubles


def smooth_noise(rng: np.random.Generator, count: int, seconds: float) -> Doubles:
    """Return smoothed normal noise, (count,), with mean 0, deviation 1 and changes over about `seconds`."""
    width = max(2, round(seconds * RATE))
    kernel = np.hanning(2 * width + 1)
    noise = np.convolve(rng.standard_normal(count + 2 * width), kernel / np.sqrt(np.sum(kernel**2)), "valid")
    return noise[:count]


def simulate_signals(rng: np.random.Generator, count: int) -> Signals:
    """Simulate the signals of a recording of `count` frames."""
    valence, arousal = (
        _emotion(stream, count) for stream in (rng, *rng.spawn(1))
    )  # a spawned stream: valence does not depend on arousal
    speaking = smooth_noise(rng, count, 2.0) > 0.3
    talk = np.clip(np.abs(smooth_noise(rng, count, 0.12)) * speaking, 0, 1.5) / 1.5
    blink = np.zeros(count)
    for start in np.flatnonzero(rng.random(count) < 1 / (4 * RATE)):
        shape = np.array([0.4, 1.0, 1.0, 0.6, 0.2])[: count - start]
        blink[start : start + len(shape)] = np.maximum(blink[start : start + len(shape)], shape)
    moves = [smooth_noise(rng, count, seconds) for seconds in (2.5, 2.5, 4.0, 3.0)]
    pose = np.stack(moves, axis=1) * [0.07, 0.05, 0.035, 0.06] + [0, 0, 1, 0]
    light = np.stack([1 + 0.06 * smooth_noise(rng, count, 5.0), 0.35 * smooth_noise(rng, count, 6.0)], axis=1)
    occlusion = np.full(count, VISIBLE, np.uint8)
    for start in np.flatnonzero(rng.random(count) < 1 / (_OCCLUSION_INTERVAL * RATE)):
        occlusion[start : start + int(rng.integers(10, 45))] = rng.choice([BEHIND, HAND, ABSENT])
    dropped = rng.random(count) < _DROP_RATE
    dropped[:1] = False
    gaze = np.stack([smooth_noise(rng, count, 0.6), smooth_noise(rng, count, 0.9)], axis=1).clip(-2, 2) / 2
    return Signals(valence, talk, blink, gaze, pose, light, occlusion, dropped, arousal)


def _emotion(rng: np.random.Generator, count: int) -> Doubles:
    drive = 0.9 * smooth_noise(rng, count, 3.0) + 0.4 * smooth_noise(rng, count, 0.8) + 0.25 * rng.standard_normal()
    trace: Doubles = np.tanh(0.9 * drive)
    return trace


def simulate_ratings(rng: np.random.Generator, trace: Doubles, *, lag: float) -> Doubles:
    """Simulate six raters of a trace (T,), who differ in delay (`lag` seconds on average), level, range and errors.

    The result is (T, 6), -1 .. 1, rounded to the steps of a slider.
    """
    ratings = []
    for _ in RATERS:
        delay = round(lag * rng.uniform(0.5, 1.5) * RATE)
        delayed = np.concatenate([np.full(delay, trace[0]), trace])[: len(trace)]
        rating = rng.uniform(0.6, 0.95) * delayed + rng.normal(0, 0.08) + 0.07 * smooth_noise(rng, len(trace), 1.5)
        ratings.append(np.clip(np.round(rating, 2), -1, 1))
    return np.stack(ratings, axis=1)
