"""Calibrate predictions as AVEC does before scoring: search for the delay, learn post-processing, apply both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.evaluation.postprocess import PostProcessing, Search, learn
from lq_emotion.metrics.delay import SEARCHED_DELAYS, Trace, shift
from lq_emotion.metrics.regression import Convention, ccc
from matlab_ports.run_eval import Labels, mat_path


@dataclass(frozen=True)
class Calibration:
    """Predictions and labels of recordings, to learn from and to apply to.

    Attributes
    ----------
    raw : recording -> output of the net, (T,).
    labels : recording -> labels and times.
    convention : convention of the CCC.
    search : see `evaluation.postprocess`.
    """

    raw: Mapping[str, Trace]
    labels: Mapping[str, Labels]
    convention: Convention = "avec"
    search: Search = "official"

    def delay_scores(self, names: Sequence[str], *, processed: bool) -> dict[float, float]:
        """Return the CCC at each delay of AVEC's search on some recordings, with the gold standard shifted back.

        `processed` learns post-processing at each delay, as the official script does.
        """
        prediction = np.concatenate([self.raw[name] for name in names])
        scores = {}
        for delay in SEARCHED_DELAYS:
            if processed:
                scores[delay] = self.learn_processing(names, delay).ccc["scale"]
            else:
                scores[delay] = ccc(prediction, self._gold(names, delay), self.convention)
        return scores

    def learn_processing(self, names: Sequence[str], delay: float) -> PostProcessing:
        """Learn post-processing on recordings whose gold standard lags by `delay` seconds."""
        raw = [self.raw[name] for name in names]
        gold, lengths = self._gold(names, delay), [trace.size for trace in raw]
        learnt = learn(np.concatenate(raw), gold, convention=self.convention, search=self.search, lengths=lengths)
        return replace(learnt, learnt_on=tuple(names))

    def apply(self, names: Sequence[str], delay: float, processing: PostProcessing | None) -> dict[str, Trace]:
        """Process the predictions of recordings and shift them forward, for scoring."""
        lengths = [self.raw[name].size for name in names]
        raw = np.concatenate([self.raw[name] for name in names])
        processed = processing.apply(raw, lengths) if processing else raw
        parts = dict(zip(names, np.split(processed, np.cumsum(lengths)[:-1]), strict=True))
        return {name: align_predictions(part, self.labels[name], delay) for name, part in parts.items()}

    def _gold(self, names: Sequence[str], delay: float) -> Trace:
        return np.concatenate([_shift_labels(self.labels[name], delay) for name in names])


def align_predictions(prediction: Trace, labels: Labels, delay: float) -> Trace:
    """Shift predictions to a recording's labels, whose gold standard lags by `delay` seconds in all.

    Only the part of the delay that preparation did not remove is compensated.
    """
    return shift(prediction, labels.video_time[: prediction.size], delay - labels.delay)


def _shift_labels(labels: Labels, delay: float) -> Trace:
    return shift(labels.valence, labels.video_time, labels.delay - delay)


def common_preparation(labels: Mapping[str, Labels], data: Path) -> tuple[str, float]:
    """Return the dimension of the labels and the seconds they were shifted back, which all recordings must share."""
    first, *others = labels
    for attribute, field in (("name", "labels"), ("delay", "delay")):
        expected = getattr(labels[first], attribute)
        for other in others:
            value = getattr(labels[other], attribute)
            if value != expected:
                raise DataError(
                    f"{first} was prepared with {expected}", code="mismatch", file=mat_path(data, other),
                    field=field, value=value, hint="prepare all recordings with the same options",
                )  # fmt: skip
    return labels[first].name, labels[first].delay
