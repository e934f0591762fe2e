"""Caffe's own random numbers in data layers: Boost's ``mt19937``, and the shuffle that draws from it.

Facts from BVLC Caffe 9b89154, common.cpp, util/rng.hpp and internal_thread.cpp, and from Boost.Random: one generator
per process, seeded with random_seed, from which a data layer draws the seeds of its own generators at setup; an integer
from 0 to n is the draw divided by 2**32 / (n + 1), rounded down, and drawn again if it exceeds n.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_WORDS = 624
_ALL = 0xFFFFFFFF
_CHUNK = 1 << 16
NO_NUMBERS = np.zeros(0, np.int64)


class Mersenne:
    """The Mersenne twister of 32-bit numbers.

    Parameters
    ----------
    seed : the lowest 32 bits are used, as in the C++ classes.
    """

    def __init__(self, seed: int) -> None:
        key = [seed & _ALL]
        for i in range(1, _WORDS):
            key.append((1812433253 * (key[-1] ^ key[-1] >> 30) + i) & _ALL)
        self._bits = np.random.MT19937()
        self.state = np.array([*key, _WORDS])

    def draw(self) -> int:
        """Return the next number, below 2**32."""
        return int(self._bits.random_raw())

    def draws(self, count: int) -> npt.NDArray[np.int64]:
        """Return the next numbers."""
        return self._bits.random_raw(count).astype(np.int64)

    @property
    def state(self) -> npt.NDArray[np.int64]:
        """The 624 words and the number of words used; set it to resume."""
        inner = self._bits.state["state"]
        return np.append(inner["key"].astype(np.int64), np.int64(inner["pos"]))

    @state.setter
    def state(self, words: npt.NDArray[np.int64]) -> None:
        state = {"key": words[:_WORDS].astype(np.uint32), "pos": int(words[_WORDS])}
        self._bits.state = {"bit_generator": "MT19937", "state": state}  # type: ignore[typeddict-item]


def is_state(words: npt.NDArray[np.int64]) -> bool:
    """Return whether numbers are a valid state of a :class:`Mersenne`."""
    return words.shape == (_WORDS + 1,) and bool((words >= 0).all() and (words <= _ALL).all()) and words[-1] <= _WORDS


def shuffled(items: npt.NDArray[np.int64], rng: Mersenne) -> npt.NDArray[np.int64]:
    """Return a shuffled copy, as Caffe's shuffle, which swaps from the last item down."""
    values = items.tolist()
    last = len(values) - 1
    for start in range(last, 0, -_CHUNK):
        limits = np.arange(start, max(start - _CHUNK, 0), -1)
        for i, j in zip(limits.tolist(), _up_to(limits, rng).tolist(), strict=True):
            values[i], values[j] = values[j], values[i]
    return np.array(values, np.int64)


def _up_to(limits: npt.NDArray[np.int64], rng: Mersenne) -> npt.NDArray[np.int64]:
    """Return a random number from 0 to each limit, inclusive, in the order of the limits."""
    buckets = (1 << 32) // (limits + 1)
    numbers = np.empty_like(limits)
    done, drawn = 0, rng.draws(len(limits))
    while True:
        values = drawn // buckets[done:]
        refused = np.flatnonzero(values > limits[done:])
        good = int(refused[0]) if refused.size else len(values)
        numbers[done : done + good] = values[:good]
        done += good
        if not refused.size:
            return numbers
        drawn = np.append(drawn[good + 1 :], rng.draws(1))
