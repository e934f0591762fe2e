"""The order of a list's lines: as they stand, or shuffled anew for each pass; some may be skipped at first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from caffe_compat.data.c_random import RandomStreams
from caffe_compat.data.mt19937 import Mersenne, is_state, shuffled
from caffe_compat.errors import DataError


class ListOrder:
    """An endless walk over the lines of a list.

    Facts from BVLC Caffe 9b89154, image_data_layer.cpp: with shuffle the current order is shuffled at the start and
    after each pass; rand_skip skips fewer lines than its value, in the first pass only.

    Parameters
    ----------
    count : number of lines.
    shuffle, rand_skip : fields of the layer's parameter.
    rng : gives the seed, and then the number of lines to skip.
    layer, field : for errors: the layer's name and its parameter's.

    Raises
    ------
    DataError
        All lines would be skipped.
    """

    def __init__(
        self, count: int, *, shuffle: bool, rand_skip: int, rng: RandomStreams, layer: str, field: str
    ) -> None:
        self.count = count
        self._order = np.arange(count)
        self._rng = Mersenne(rng.draw()) if shuffle else None
        self._shuffle()
        self._row = rng.draw() % rand_skip if rand_skip else 0
        if self._row >= count:
            problem = f"skips {self._row} of {count} lines"
            raise DataError(problem, code="out-of-range", layer=layer, field=f"{field}.rand_skip", value=rand_skip)

    def _shuffle(self) -> None:
        if self._rng is not None:
            self._order = shuffled(self._order, self._rng)

    @property
    def next_line(self) -> int:
        """The line that `take` returns next."""
        return int(self._order[self._row])

    def take(self) -> int:
        """Return the next line and go on."""
        line = self.next_line
        self._row += 1
        if self._row == self.count:
            self._row = 0
            self._shuffle()
        return line

    def reset(self) -> None:
        """Start again from the first line; the shuffle continues its random numbers."""
        self._row = 0
        self._order = np.arange(self.count)
        self._shuffle()

    def cursor(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return line, number of lines, their order if shuffled, and the state of the random numbers."""
        none = np.zeros(0, np.int64)
        order, state = (none, none) if self._rng is None else (self._order, self._rng.state)
        return {"place": np.array([self._row, self.count]), "order": order, "shuffle": state}

    def fits(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> bool:
        """Return whether the length of the list and the shuffling are the same."""
        none = np.zeros(0, np.int64)
        place, order, state = (cursor.get(name, none) for name in ("place", "order", "shuffle"))
        if len(place) != 2 or place[1] != self.count or not 0 <= place[0] < self.count:
            return False
        if self._rng is None:
            return bool(order.size == state.size == 0)
        return is_state(state) and np.array_equal(np.sort(order), np.arange(self.count))

    def seek(self, cursor: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Go to a line."""
        self._row = int(cursor["place"][0])
        if self._rng is not None:
            self._order, self._rng.state = cursor["order"], cursor["shuffle"]
