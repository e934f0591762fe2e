"""MATLAB's ``RandStream``: the default random stream (Mersenne Twister, mt19937ar) as an object, never global.

Scripts that run in one MATLAB session without ``rng`` share a stream: the second continues where the first stopped.
Pass the same `RandStream` to both, or start the second at the `position` of the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError

Doubles = npt.NDArray[np.float64]
_STARTUP = 5489  # the generator's seed at MATLAB's startup and for rng(0)
_SKIP = 1 << 20


class RandStream:
    """The numbers that MATLAB draws after ``rng(seed)``; seed 0 is a fresh MATLAB.

    Parameters
    ----------
    seed
        As for ``rng``: 0 to 2^32 - 1.
    position
        Number of draws to skip.

    Notes
    -----
    Sizes follow MATLAB: ``rand(2, 3)`` fills column by column, one number means a square, none means 1 x 1.
    Checked against MATLAB: `rand` (350,000 values), `randperm`, `unidrnd`, `randi`.
    """

    def __init__(self, seed: int = 0, *, position: int = 0) -> None:
        if not 0 <= seed < 2**32:
            raise PortError("is out of range 0 to 4294967295", code="out-of-range", field="seed", value=seed)
        if position < 0:
            raise PortError("must not be negative", code="out-of-range", field="position", value=position)
        self.seed = seed
        self.position = 0
        self._state = np.random.RandomState(seed or _STARTUP)
        while self.position < position:
            self._draw(min(_SKIP, position - self.position))

    def __repr__(self) -> str:
        return f"RandStream({self.seed}, position={self.position})"

    def _draw(self, count: int) -> Doubles:
        self.position += count
        return self._state.random_sample(count)

    def _fill(self, shape: tuple[int, ...]) -> Doubles:
        return self._draw(math.prod(shape)).reshape(shape, order="F")

    def rand(self, *size: int) -> Doubles:
        """Draw uniform numbers between 0 and 1.

        Returns
        -------
        numpy.ndarray
            Doubles of the given size.
        """
        return self._fill(_shape(size))

    def randperm(self, n: int) -> npt.NDArray[np.int64]:
        """Shuffle 1 .. n: the order that sorts `n` draws."""
        if n < 0:
            raise PortError("must not be negative", code="out-of-range", field="n", value=n)
        return np.argsort(self._draw(n), kind="stable").astype(np.int64) + 1

    def randi(self, imax: int | Sequence[int], *size: int) -> npt.NDArray[np.int64]:
        """Draw whole numbers from 1 .. `imax`, or from `imax` = (low, high): floor(range * rand) + low."""
        low, high = (1, imax) if isinstance(imax, (int, np.integer)) else imax
        if high < low:
            raise PortError("the range is empty", code="out-of-range", field="imax", value=imax)
        return np.floor((high - low + 1) * self.rand(*size)).astype(np.int64) + low

    def unidrnd(self, n: int | npt.ArrayLike, *size: int) -> npt.NDArray[np.int64]:
        """Draw whole numbers from 1 .. `n`, element by element if `n` is an array: ceil(n * rand)."""
        maxima = np.asarray(n)
        if maxima.size == 0 or maxima.min() < 1:
            raise PortError("must be at least 1", code="out-of-range", field="n", value=n)
        shape = maxima.shape if maxima.ndim and not size else _shape(size)
        return np.ceil(maxima * self._fill(shape)).astype(np.int64)


def _shape(size: tuple[int, ...]) -> tuple[int, ...]:
    if any(n < 0 for n in size):
        raise PortError("must not be negative", code="out-of-range", field="size", value=size)
    return (1, 1) if not size else size * 2 if len(size) == 1 else size
