"""What goes on in a synthetic recording: valence and arousal, how six raters see them, the head's moves, what lacks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
RATE = 25  # frames a second
RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
_DROPPED = 0.004  # of all frames are missing from the video
_AWAY = 45.0  # seconds, on average, between two moments without a face
SEEN, BEHIND, HAND, GONE = range(4)  # a face, a head from behind, a hand before the face, nobody


class Course(NamedTuple):
    """A recording frame by frame, on the grid of 0.04 s.

    Attributes
    ----------
    valence : (T,) what the face shows, -1 .. 1.
    talk : (T,) 0 .. 1, the mouth's opening in speech; it has nothing to do with valence.
    blink : (T,) 0 .. 1, 1 with closed eyes.
    gaze : (T, 2) of the eyes, -1 .. 1.
    place : (T, 4) of the head: right and down in face widths, size, angle in radians.
    light : (T, 2) gain and direction.
    away : (T,) `SEEN`, or why there is no face to be seen: `BEHIND`, `HAND`, `GONE`.
    dropped : (T,) bool, missing from the video.
    arousal : (T,) what the face shows, -1 .. 1; it has nothing to do with valence.
    """

    valence: Doubles
    talk: Doubles
    blink: Doubles
    gaze: Doubles
    place: Doubles
    light: Doubles
    away: npt.NDArray[np.uint8]
    dropped: npt.NDArray[np.bool_]
    arousal: Doubles


def smooth_noise(rng: np.random.Generator, count: int, seconds: float) -> Doubles:
    """Return noise of mean 0 and deviation 1 whose changes take about so many seconds."""
    width = max(2, round(seconds * RATE))
    kernel = np.hanning(2 * width + 1)
    noise = np.convolve(rng.standard_normal(count + 2 * width), kernel / np.sqrt(np.sum(kernel**2)), "valid")
    return noise[:count]


def make_course(rng: np.random.Generator, count: int) -> Course:
    """Return the course of a recording of `count` frames."""
    valence, arousal = (_emotion(stream, count) for stream in (rng, *rng.spawn(1)))  # the same valence as without it
    speaking = smooth_noise(rng, count, 2.0) > 0.3
    talk = np.clip(np.abs(smooth_noise(rng, count, 0.12)) * speaking, 0, 1.5) / 1.5
    blink = np.zeros(count)
    for start in np.flatnonzero(rng.random(count) < 1 / (4 * RATE)):
        shape = np.array([0.4, 1.0, 1.0, 0.6, 0.2])[: count - start]
        blink[start : start + len(shape)] = np.maximum(blink[start : start + len(shape)], shape)
    moves = [smooth_noise(rng, count, seconds) for seconds in (2.5, 2.5, 4.0, 3.0)]
    place = np.stack(moves, axis=1) * [0.07, 0.05, 0.035, 0.06] + [0, 0, 1, 0]
    light = np.stack([1 + 0.06 * smooth_noise(rng, count, 5.0), 0.35 * smooth_noise(rng, count, 6.0)], axis=1)
    away = np.full(count, SEEN, np.uint8)
    for start in np.flatnonzero(rng.random(count) < 1 / (_AWAY * RATE)):
        away[start : start + int(rng.integers(10, 45))] = rng.choice([BEHIND, HAND, GONE])
    dropped = rng.random(count) < _DROPPED
    dropped[:1] = False
    gaze = np.stack([smooth_noise(rng, count, 0.6), smooth_noise(rng, count, 0.9)], axis=1).clip(-2, 2) / 2
    return Course(valence, talk, blink, gaze, place, light, away, dropped, arousal)


def _emotion(rng: np.random.Generator, count: int) -> Doubles:
    wish = 0.9 * smooth_noise(rng, count, 3.0) + 0.4 * smooth_noise(rng, count, 0.8) + 0.25 * rng.standard_normal()
    trace: Doubles = np.tanh(0.9 * wish)
    return trace


def rate(rng: np.random.Generator, shown: Doubles, *, lag: float) -> Doubles:
    """Return what six raters say of a trace: each with a delay, a level, a range and errors of his own.

    Parameters
    ----------
    shown : (T,), valence or arousal.
    lag : seconds, their mean delay.

    Returns
    -------
    (T, 6), -1 .. 1, rounded as a slider gives it.
    """
    ratings = []
    for _ in RATERS:
        delay = round(lag * rng.uniform(0.5, 1.5) * RATE)
        late = np.concatenate([np.full(delay, shown[0]), shown])[: len(shown)]
        seen = rng.uniform(0.6, 0.95) * late + rng.normal(0, 0.08) + 0.07 * smooth_noise(rng, len(shown), 1.5)
        ratings.append(np.clip(np.round(seen, 2), -1, 1))
    return np.stack(ratings, axis=1)
