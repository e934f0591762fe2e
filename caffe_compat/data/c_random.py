"""The random numbers of data layers: C's ``rand()`` and ``std::random_shuffle``, and Caffe's own generator.

HDF5Data shuffles files and rows with ``std::random_shuffle``, which draws from the process-wide ``rand()`` of the C
library. Nothing in Caffe seeds it (``random_seed`` seeds another generator), so a Caffe built with GCC on Linux
shuffles the same way in every run. :class:`CRand` is glibc's generator, :func:`shuffle` is libstdc++'s order of swaps.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.mt19937 import Mersenne

_MODULUS = 2147483647
_MULTIPLIER = 16807


class RandomStreams(Protocol):
    """The two random streams that the data layers of a process share."""

    def rand(self) -> int:
        """Return the next integer of the C library, from 0 to 2**31 - 1."""
        ...

    def draw(self) -> int:
        """Return the next integer of Caffe's generator, from 0 to 2**32 - 1."""
        ...


class CRand:
    """glibc's ``rand()``, an additive feedback generator over the last 31 numbers, and Caffe's own generator.

    Parameters
    ----------
    seed : the argument of ``srand``; 1 in programs that never call it, such as Caffe.
    random_seed : the seed of Caffe's generator, a solver's random_seed. None selects torch's initial seed; Caffe
        takes a seed from the system instead.
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


def shuffle(items: npt.NDArray[np.int64], rng: RandomStreams) -> None:
    """Permute in place with the same swaps as libstdc++'s ``std::random_shuffle``."""
    values = items.tolist()
    for i in range(1, len(values)):
        j = rng.rand() % (i + 1)
        values[i], values[j] = values[j], values[i]
    items[:] = values
