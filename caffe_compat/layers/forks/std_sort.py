"""The order that GCC's ``std::sort`` leaves equal keys in, where a fork's results depend on it.

The algorithm is introsort as libstdc++ has it: quicksort with the median of three until parts are short, then
insertion. Its rare way out, heapsort for parts that do not get shorter, is left out: there the order is the stable one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_SHORT = 16  # longer parts are divided


def sorted_as_gcc(keys: Sequence[float] | npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the positions of `keys` in the ascending order that ``std::sort`` makes of them."""
    values = np.asarray(keys, np.float64)
    pairs = list(zip(values.tolist(), range(len(values)), strict=True))
    _divide(pairs, 0, len(pairs), 2 * (max(len(pairs), 1).bit_length() - 1))
    return np.array([place for _, place in sorted(pairs, key=lambda pair: pair[0])], np.int64)


def best(scores: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.int64]:
    """Return the positions of the `count` highest scores as ``std::sort`` would have them come first, in any order."""
    order = np.argsort(-scores, kind="stable")
    if 0 < count < len(order) and scores[order[count - 1]] == scores[order[count]]:
        order = sorted_as_gcc(-scores)
    return order[: max(count, 0)]


def _divide(pairs: list[tuple[float, int]], first: int, last: int, depth: int) -> None:
    while last - first > _SHORT and depth:
        depth -= 1
        _median_first(pairs, first, first + 1, first + (last - first) // 2, last - 1)
        cut = _partition(pairs, first + 1, last, pairs[first][0])
        _divide(pairs, cut, last, depth)
        last = cut


def _median_first(pairs: list[tuple[float, int]], to: int, a: int, b: int, c: int) -> None:
    key_a, key_b, key_c = pairs[a][0], pairs[b][0], pairs[c][0]
    if key_a < key_b:
        middle = b if key_b < key_c else c if key_a < key_c else a
    else:
        middle = a if key_a < key_c else c if key_b < key_c else b
    pairs[to], pairs[middle] = pairs[middle], pairs[to]


def _partition(pairs: list[tuple[float, int]], low: int, high: int, pivot: float) -> int:
    while True:
        while pairs[low][0] < pivot:
            low += 1
        high -= 1
        while pivot < pairs[high][0]:
            high -= 1
        if low >= high:
            return low
        pairs[low], pairs[high] = pairs[high], pairs[low]
        low += 1
