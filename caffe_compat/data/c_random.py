"""The random numbers of data layers: C's ``rand()`` and ``std::random_shuffle``, and Caffe's own generator.

HDF5Data shuffles files and rows with ``std::random_shuffle``, which draws from the process-wide ``rand()`` of the C
library. Nothing in Caffe seeds it (``random_seed`` seeds another generator), so a Caffe built with GCC on Linux
shuffles the same way in every run. :class:`CRand` is glibc's generator, :func:`shuffle` is libstdc++'s order of swaps.

Caffe's own generator is Boost's ``mt19937``. Facts from BVLC Caffe 9b89154, common.cpp, util/rng.hpp and
internal_thread.cpp, and from Boost.Random: one generator per process, seeded with random_seed, from which a data layer
draws the seeds of its own generators at setup; an integer from 0 to n is the draw divided by 2**32 / (n + 1), rounded
down, and drawn again if it exceeds n.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
import torch

_WORDS = 624
_ALL = 0xFFFFFFFF
_CHUNK = 1 << 16
NO_NUMBERS = np.zeros(0, np.int64)


class Mersenne:
    """The Mersenne twister of 32-bit numbers; of a seed the lowest 32 bits are used, as in the C++ classes."""

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


_MODULUS = 2147483647
_MULTIPLIER = 16807


class CRand:
    """glibc's ``rand()``, an additive feedback generator over the last 31 numbers, and Caffe's own generator.

    `seed` is the argument of ``srand``: 1 in programs that never call it, such as Caffe. `random_seed` is a solver's
    random_seed; None selects torch's initial seed, where Caffe takes a seed from the system.
    """

    def __init__(self, seed: int = 1, *, random_seed: int | None = None) -> None:
        self._random_seed = random_seed
        self._own: Mersenne | None = None
        state = [seed % 2**32 or 1]
        for _ in range(30):
            state.append(_MULTIPLIER * _signed(state[-1]) % _MODULUS)
        self._state = deque(state[-31:], maxlen=31)
        # glibc's r[31..33] repeat r[0..2]; the next number is always r[i-3] + r[i-31].
        for first in state[:3]:
            self._state.append(first)
        for _ in range(310):
            self._next()

    def rand(self) -> int:
        """Return the next integer from 0 to 2**31 - 1."""
        return self._next() >> 1

    def reseed(self, seed: int) -> None:
        """Reseed Caffe's generator; the C library's, which shuffles HDF5Data, continues as in Caffe."""
        self._random_seed, self._own = seed, None

    def draw(self) -> int:
        """Return the next integer from 0 to 2**32 - 1 of Caffe's generator, the seed of a layer's own generator.

        Only data layers draw from it, at setup. Caffe's fillers draw from it as well, so the numbers equal Caffe's
        only if no blob was filled with random values before.
        """
        if self._own is None:
            self._own = Mersenne(torch.initial_seed() if self._random_seed is None else self._random_seed)
        return self._own.draw()

    @property
    def state(self) -> npt.NDArray[np.int64]:
        """The last 31 numbers, which determine the next ones of ``rand()``; set them to resume."""
        return np.array(self._state, np.int64)

    @state.setter
    def state(self, numbers: npt.NDArray[np.int64]) -> None:
        self._state.extend(numbers.tolist()[-31:])

    def _next(self) -> int:
        state = self._state
        value = (state[0] + state[-3]) & 0xFFFFFFFF
        state.append(value)
        return value


def _signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value


def shuffle(items: npt.NDArray[np.int64], rng: CRand) -> None:
    """Permute in place with the same swaps as libstdc++'s ``std::random_shuffle``."""
    values = items.tolist()
    for i in range(1, len(values)):
        j = rng.rand() % (i + 1)
        values[i], values[j] = values[j], values[i]
    items[:] = values
