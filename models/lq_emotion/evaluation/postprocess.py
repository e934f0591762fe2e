"""AVEC's post-processing: a median filter, an added bias and a factor, each learnt where it raises the CCC.

Facts from the official baseline's scripts (2016 and 2018), which apply it to a partition's recordings one after the
other, as one trace: MATLAB's ``medfilt1`` (zeros beyond the ends) with windows of 500/3, 1000/3 and 500 frames is
compared with no filter; a gain of more than 2 % is followed up by halving the interval between the two best windows,
for as long as halving gains more than 2 % again. Then the bias that makes the means equal, then the factor that makes
the standard deviations equal (which scales the mean as well), are kept if the CCC rises.

The official search has a slip: where halving is followed up once and the next window is no better, bias and factor are
learnt from the first round's trace while the window that is remembered is the second round's. ``search="official"``
keeps it, and filters across the borders of recordings, so that what a recording gets depends on its neighbours;
``search="consistent"`` always goes on with the remembered window's trace, and filters each recording alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.ndimage import rank_filter

from caffe_compat.errors import DataError
from lq_emotion.metrics.regression import Convention, ccc

Trace = npt.NDArray[np.float64]
Search = Literal["official", "consistent"]
LONGEST = 500  # frames of the longest median filter
_WORTHWHILE = 2.0  # per cent


@dataclass(frozen=True)
class PostProcessing:
    """What is done to predictions.

    Attributes
    ----------
    window : frames of the median filter; 0 for none.
    bias : added after the filter.
    scale : what the sum is multiplied by.
    ccc : by step, "raw", "filter", "bias" and "scale": the best CCC so far, on what it was learnt from.
    """

    window: int
    bias: float
    scale: float
    ccc: dict[str, float]
    search: Search = "official"

    def apply(self, prediction: npt.ArrayLike, lengths: Sequence[int] = ()) -> Trace:
        """Return processed predictions.

        Parameters
        ----------
        prediction : (T,), all recordings one after the other.
        lengths : of the recordings; one by default.

        Raises
        ------
        DataError
            There is a NaN among them.
        """
        trace = _checked(prediction, "predictions")
        return (_filtered(trace, self.window, _parts(trace, lengths, self.search)) + self.bias) * self.scale


def learn(
    prediction: npt.ArrayLike,
    gold: npt.ArrayLike,
    *,
    longest: int = LONGEST,
    convention: Convention = "avec",
    search: Search = "official",
    lengths: Sequence[int] = (),
) -> PostProcessing:
    """Learn the post-processing from a development partition.

    Parameters
    ----------
    prediction, gold : (T,) each, all recordings one after the other.
    lengths : of the recordings; one by default.
    longest : frames of the longest filter.
    convention : of the CCC.
    search : see the module.

    Raises
    ------
    DataError
        The traces have different lengths or a NaN, or an argument makes no sense.
    """
    raw, wanted = _checked(prediction, "predictions"), _checked(gold, "the gold standard")
    if longest < 3 or search not in get_args(Search):
        raise DataError("is not possible", field="longest or search", value=(longest, search))
    best = _Search(raw, wanted, longest, convention, _parts(raw, lengths, search)).run(search)
    told = {"raw": best.raw_ccc, "filter": best.ccc}
    trace, value = best.trace, best.ccc
    bias = float(np.mean(wanted) - np.mean(trace))
    if (found := ccc(trace + bias, wanted, convention)) > value:
        trace, value = trace + bias, found
    else:
        bias = 0.0
    told["bias"] = value
    spread = float(np.std(trace, ddof=1))
    scale = float(np.std(wanted, ddof=1)) / spread if spread > 0 else 1.0
    if (found := ccc(trace * scale, wanted, convention)) > value:
        value = found
    else:
        scale = 1.0
    told["scale"] = value
    return PostProcessing(best.window, bias, scale, told, search)


def _parts(trace: Trace, lengths: Sequence[int], search: Search) -> tuple[int, ...]:
    """Return the lengths of what is filtered alone.

    Raises
    ------
    DataError
        The lengths do not add up to the trace's.
    """
    if search == "official" or not lengths:
        return (trace.size,)
    if sum(lengths) != trace.size:
        raise DataError(f"add up to {sum(lengths)} for {trace.size} predictions", field="lengths", value=list(lengths))
    return tuple(lengths)


def _filtered(trace: Trace, window: int, parts: Sequence[int]) -> Trace:
    return np.concatenate([medfilt1(part, window) for part in np.split(trace, np.cumsum(parts)[:-1])])


def medfilt1(values: npt.ArrayLike, window: int) -> Trace:
    """MATLAB's ``medfilt1``: zeros beyond the ends; an even window reaches one value further back than ahead.

    Parameters
    ----------
    values : (T,), no NaN.
    window : values whose median is taken; of an even number, the mean of the two in the middle.
    """
    trace = np.asarray(values, np.float64)
    if window <= 1:
        return trace.copy()
    above: Trace = rank_filter(trace, window // 2, size=window, mode="constant", cval=0.0)
    if window % 2:
        return above
    below: Trace = rank_filter(trace, window // 2 - 1, size=window, mode="constant", cval=0.0)
    return (below + above) / 2


@dataclass(frozen=True)
class _Found:
    window: int
    ccc: float
    trace: Trace
    raw_ccc: float


class _Search:
    """The search for the filter's window; every window is tried once."""

    def __init__(self, raw: Trace, gold: Trace, longest: int, convention: Convention, parts: Sequence[int]) -> None:
        self._parts = parts
        self._raw, self._gold, self._longest, self._convention = raw, gold, longest, convention
        self._tried: dict[int, tuple[float, Trace]] = {}

    def run(self, search: Search) -> _Found:
        first = [_round(part * self._longest / 3) for part in (0, 1, 2, 3)]  # 0 is no filter, and wins ties
        windows = sorted(first, key=self._ccc, reverse=True)[:2]
        if windows[0] == 0 or not self._gain(self._ccc(windows[0]), self._ccc(0)) > _WORTHWHILE:
            return self._found(0, 0)
        best, second = windows
        held = best  # whose trace the official script still has in its hands
        halvings = 0
        while True:
            middle = _round((best + second) / 2)
            gain = self._gain(self._ccc(middle), max(self._ccc(best), self._ccc(second)))
            if not gain > _WORTHWHILE:
                break
            held = middle if halvings else held
            best, second = middle, best
            halvings += 1
        if gain > 0:
            return self._found(middle, middle)
        return self._found(best, held if search == "official" else best)

    def _found(self, window: int, held: int) -> _Found:
        return _Found(window, self._ccc(window), self._trace(held), self._ccc(0))

    def _ccc(self, window: int) -> float:
        return self._try(window)[0]

    def _trace(self, window: int) -> Trace:
        return self._try(window)[1]

    def _try(self, window: int) -> tuple[float, Trace]:
        if window not in self._tried:
            trace = _filtered(self._raw, window, self._parts)
            self._tried[window] = (ccc(trace, self._gold, self._convention), trace)
        return self._tried[window]

    @staticmethod
    def _gain(value: float, before: float) -> float:
        """Return per cent; as in the script, a negative CCC before makes every gain look like a loss."""
        return 100 * (value - before) / before if before else (np.inf if value > 0 else 0.0)


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def _checked(values: npt.ArrayLike, what: str) -> Trace:
    trace = np.asarray(values, np.float64).ravel()
    if not np.isfinite(trace).all():
        frame = int(np.flatnonzero(~np.isfinite(trace))[0]) + 1
        raise DataError(f"frame {frame} of {what} is {trace[frame - 1]}: a median filter needs every value")
    return trace
