"""AVEC's post-processing: a median filter, a bias and a scale, each applied if it raises the CCC.

Facts from the official baseline's scripts (2016 and 2018), which concatenate the recordings of a partition: MATLAB's
``medfilt1`` (zeros beyond the ends) with windows of 500/3, 1000/3 and 500 frames is compared with no filter. If it
gains more than 2 %, the interval between the two best windows is halved as long as halving gains more than 2 % again.
Then come the bias that equalises the means and the scale that equalises the standard deviations (it scales the mean
too); each is applied if the CCC rises.

The official search has a bug: if the first halving gains and the second does not, bias and scale are learnt from the
first round's trace but stored with the second round's window. ``search="official"`` reproduces it, and filters across
the borders of recordings, so that a recording's result depends on its neighbours. ``search="consistent"`` uses the
stored window's trace, and filters each recording alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.ndimage import rank_filter

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.metrics.regression import Convention, Trace, ccc

Search = Literal["official", "consistent"]
LONGEST = 500  # frames of the longest median filter
_MIN_GAIN = 2.0  # per cent


@dataclass(frozen=True)
class PostProcessing(Record):
    """Learnt post-processing: (median filter + bias) * scale."""

    window: int
    """Frames of the median filter; 0 for none."""
    bias: float
    scale: float
    ccc: Mapping[str, float]
    """Step ("raw", "filter", "bias", "scale") -> the best CCC so far on the training data."""
    search: str = "official"
    """One of `Search`."""
    learnt_on: tuple[str, ...] = ()
    """Recordings of the training data."""

    def apply(self, prediction: npt.ArrayLike, lengths: Sequence[int] = ()) -> Trace:
        """Return processed predictions (T,) of joined recordings, of `lengths` frames each; by default of one."""
        trace = _require_finite(prediction, "predictions")
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
    """Learn the post-processing from traces (T,) of a development partition, all recordings concatenated.

    `lengths` are the frames of each recording, by default of one; `longest` is the longest filter in frames; `search`:
    see the module.
    """
    raw, target = _require_finite(prediction, "predictions"), _require_finite(gold, "the gold standard")
    if longest < 3:
        raise DataError("must be at least 3", code="out-of-range", field="longest", value=longest)
    if search not in get_args(Search):
        hint = f"choose one of {', '.join(get_args(Search))}"
        raise DataError("unknown search", code="name-unknown", field="search", value=search, hint=hint)
    filtered = partial(_filtered, raw, parts=_parts(raw, lengths, search))
    ccc_of = cache(lambda window: ccc(filtered(window), target, convention))
    window, trace_window = _best_windows(ccc_of, longest, search)
    trace, value = filtered(trace_window), ccc_of(window)
    scores = {"raw": ccc_of(0), "filter": value}
    bias = float(np.mean(target) - np.mean(trace))
    if (shifted := ccc(trace + bias, target, convention)) > value:
        trace, value = trace + bias, shifted
    else:
        bias = 0.0
    scores["bias"] = value
    spread = float(np.std(trace, ddof=1))
    scale = float(np.std(target, ddof=1)) / spread if spread > 0 else 1.0
    if (scaled := ccc(trace * scale, target, convention)) > value:
        value = scaled
    else:
        scale = 1.0
    scores["scale"] = value
    return PostProcessing(window, bias, scale, scores, search)


def _parts(trace: Trace, lengths: Sequence[int], search: str) -> tuple[int, ...]:
    """Return the lengths of the parts to filter separately; they must sum to the length of the trace."""
    if search != "consistent" or not lengths:
        return (trace.size,)
    if sum(lengths) != trace.size:
        raise DataError(
            f"lengths sum to {sum(lengths)}, expected {trace.size}", code="wrong-count", field="lengths",
            value=list(lengths),
        )  # fmt: skip
    return tuple(lengths)


def _filtered(trace: Trace, window: int, parts: Sequence[int]) -> Trace:
    return np.concatenate([medfilt1(part, window) for part in np.split(trace, np.cumsum(parts)[:-1])])


def medfilt1(values: npt.ArrayLike, window: int) -> Trace:
    """Apply MATLAB's ``medfilt1`` to finite values (T,), with zeros beyond the ends.

    An even window reaches one value further back than ahead; its median is the mean of the two middle values.
    """
    trace = np.asarray(values, np.float64)
    if window <= 1:
        return trace.copy()
    above: Trace = rank_filter(trace, window // 2, size=window, mode="constant", cval=0.0)
    if window % 2:
        return above
    below: Trace = rank_filter(trace, window // 2 - 1, size=window, mode="constant", cval=0.0)
    return (below + above) / 2


def _best_windows(ccc_of: Callable[[int], float], longest: int, search: Search) -> tuple[int, int]:
    """Return the best window, and that of the trace to learn bias and scale from."""
    first = [_round(part * longest / 3) for part in (0, 1, 2, 3)]  # 0 is no filter and wins ties
    windows = sorted(first, key=ccc_of, reverse=True)[:2]
    if windows[0] == 0 or not _gain(ccc_of(windows[0]), ccc_of(0)) > _MIN_GAIN:
        return 0, 0
    best, second = windows
    trace_window = best  # of the trace that the official script learns from
    halvings = 0
    while True:
        middle = _round((best + second) / 2)
        gain = _gain(ccc_of(middle), max(ccc_of(best), ccc_of(second)))
        if not gain > _MIN_GAIN:
            break
        trace_window = middle if halvings else trace_window
        best, second = middle, best
        halvings += 1
    if gain > 0:
        return middle, middle
    return best, trace_window if search == "official" else best


def _gain(value: float, reference: float) -> float:
    """Return the gain in per cent; as in the script, a negative reference turns every gain into a loss."""
    return 100 * (value - reference) / reference if reference else (np.inf if value > 0 else 0.0)


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def _require_finite(values: npt.ArrayLike, what: str) -> Trace:
    trace = np.asarray(values, np.float64).ravel()
    if not np.isfinite(trace).all():
        frame = int(np.flatnonzero(~np.isfinite(trace))[0]) + 1
        raise DataError(
            f"frame {frame} is {trace[frame - 1]}; the median filter needs finite values", code="not-finite", field=what
        )
    return trace
