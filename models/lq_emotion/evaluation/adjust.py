"""What AVEC does to predictions before they are scored: search for the delay, learn post-processing, apply both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.evaluation.postprocess import PostProcessing, Search, learn
from lq_emotion.metrics.delay import SEARCHED_DELAYS, Trace, shift
from lq_emotion.metrics.regression import Convention, ccc
from matlab_ports.run_eval import Labels, mat_path


@dataclass(frozen=True)
class Recorded:
    """Predictions and labels of recordings.

    Attributes
    ----------
    raw : name -> predictions as the net gave them, (T,).
    labels : name -> labels and times.
    convention : of the CCC.
    search : see `scores.postprocess`.
    """

    raw: Mapping[str, Trace]
    labels: Mapping[str, Labels]
    convention: Convention = "avec"
    search: Search = "official"

    def delays(self, names: Sequence[str], *, processed: bool) -> dict[float, float]:
        """Return the CCC at every delay of AVEC's search: the gold standard is shifted back, as there.

        Parameters
        ----------
        names : the recordings that are looked at.
        processed : learn post-processing at every delay, as the official script does.
        """
        prediction = np.concatenate([self.raw[name] for name in names])
        scores = {}
        for delay in SEARCHED_DELAYS:
            if processed:
                scores[delay] = self.learnt(names, delay).ccc["scale"]
            else:
                scores[delay] = ccc(prediction, self._gold(names, delay), self.convention)
        return scores

    def learnt(self, names: Sequence[str], delay: float) -> PostProcessing:
        """Return the post-processing learnt on some recordings."""
        raw = [self.raw[name] for name in names]
        gold, lengths = self._gold(names, delay), [trace.size for trace in raw]
        return learn(np.concatenate(raw), gold, convention=self.convention, search=self.search, lengths=lengths)

    def finished(self, names: Sequence[str], delay: float, processing: PostProcessing | None) -> dict[str, Trace]:
        """Return the predictions of some recordings as they are scored: processed, then shifted forward."""
        lengths = [self.raw[name].size for name in names]
        together = np.concatenate([self.raw[name] for name in names])
        processed = processing.apply(together, lengths) if processing else together
        parts = dict(zip(names, np.split(processed, np.cumsum(lengths)[:-1]), strict=True))
        return {name: forward(part, self.labels[name], delay) for name, part in parts.items()}

    def _gold(self, names: Sequence[str], delay: float) -> Trace:
        return np.concatenate([_back(self.labels[name], delay) for name in names])


def forward(prediction: Trace, labels: Labels, delay: float) -> Trace:
    """Return predictions as they are compared with a recording's labels, where the gold standard is `delay` s late.

    What the labels were shifted back by already is not made up for a second time.
    """
    return shift(prediction, labels.video_time[: prediction.size], delay - labels.delay)


def _back(labels: Labels, delay: float) -> Trace:
    return shift(labels.valence, labels.video_time, labels.delay - delay)


def made_alike(labels: Mapping[str, Labels], data: Path) -> tuple[str, float]:
    """Return what all labels are of, and by how many seconds they were shifted back.

    Raises
    ------
    DataError
        Recordings differ in that.
    """
    first, *others = labels
    for field in ("name", "delay"):
        expected = getattr(labels[first], field)
        for other in others:
            value = getattr(labels[other], field)
            if value != expected:
                what = {"name": "labels", "delay": "delay"}[field]
                hint = "prepare all of them alike"
                raise DataError(f"was prepared with another one than {first}, {expected}", file=mat_path(data, other),
                                field=what, value=value, hint=hint)  # fmt: skip
    return labels[first].name, labels[first].delay
