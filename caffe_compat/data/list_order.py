"""The order of a list's lines: that of the file, or shuffled anew for each pass; and sources that read such lists."""

from __future__ import annotations

import numpy as np

from caffe_compat.data.c_random import NO_NUMBERS, CRand, Mersenne, is_state, shuffled
from caffe_compat.data.source import Cursor, RandomSource
from caffe_compat.errors import DataError


class ListOrder:
    """An endless walk over the lines of a list.

    Facts from BVLC Caffe 9b89154, image_data_layer.cpp: with shuffle the current order is shuffled at the start and
    after each pass; rand_skip skips fewer lines than its value, in the first pass only.
    """

    def __init__(self, count: int, *, shuffle: bool, rand_skip: int, rng: CRand, layer: str, field: str) -> None:
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

    def position(self) -> Cursor:
        """Return line, number of lines, their order if shuffled, and the state of the random numbers."""
        order, state = (NO_NUMBERS, NO_NUMBERS) if self._rng is None else (self._order, self._rng.state)
        return {"place": np.array([self._row, self.count]), "order": order, "shuffle": state}

    def has_position(self, cursor: Cursor) -> bool:
        """Tell whether the length of the list and the shuffling are those of a cursor."""
        place, order, state = (cursor.get(name, NO_NUMBERS) for name in ("place", "order", "shuffle"))
        if len(place) != 2 or place[1] != self.count or not 0 <= place[0] < self.count:
            return False
        if self._rng is None:
            return bool(order.size == state.size == 0)
        return is_state(state) and np.array_equal(np.sort(order), np.arange(self.count))

    def go_to(self, cursor: Cursor) -> None:
        """Go to a line."""
        self._row = int(cursor["place"][0])
        if self._rng is not None:
            self._order, self._rng.state = cursor["order"], cursor["shuffle"]


class ListSource(RandomSource):
    """A source that takes the lines of a list in their order."""

    _lines: ListOrder

    def reset(self) -> None:
        """Start again from the first line; the shuffle continues its random numbers."""
        self._lines.reset()

    def _position(self) -> Cursor:
        return self._lines.position()

    def _has_position(self, cursor: Cursor) -> bool:
        return self._lines.has_position(cursor)

    def _go_to(self, cursor: Cursor) -> None:
        self._lines.go_to(cursor)
