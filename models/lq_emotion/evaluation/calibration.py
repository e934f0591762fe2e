"""Calibrate predictions as AVEC does before scoring: search for the delay, learn post-processing, apply both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.evaluation.postprocess import PostProcessing, learn
from lq_emotion.evaluation.settings import EvaluationSettings
from lq_emotion.metrics.delay import SEARCHED_DELAYS, shift
from lq_emotion.metrics.regression import Trace, ccc
from matlab_ports.run_eval import Labels, mat_path

Recordings = Mapping[str, tuple[Trace, Labels]]
"""Recording -> output of the net (T,), labels and times."""


def delay_scores(recordings: Recordings, settings: EvaluationSettings) -> dict[float, float]:
    """Return the CCC at each delay of AVEC's search on some recordings, with the gold standard shifted back.

    Where post-processing is learnt, it is learnt at each delay, as in the official script.
    """
    if settings.postprocess:
        return {delay: learn_processing(recordings, delay, settings).ccc["scale"] for delay in SEARCHED_DELAYS}
    prediction = np.concatenate([raw for raw, _ in recordings.values()])
    return {delay: ccc(prediction, _gold(recordings, delay), settings.convention) for delay in SEARCHED_DELAYS}


def learn_processing(recordings: Recordings, delay: float, settings: EvaluationSettings) -> PostProcessing:
    """Learn post-processing on recordings whose gold standard lags by `delay` seconds."""
    traces = [raw for raw, _ in recordings.values()]
    learnt = learn(
        np.concatenate(traces), _gold(recordings, delay),
        convention=settings.convention, search=settings.search, lengths=[trace.size for trace in traces],
    )  # fmt: skip
    return replace(learnt, learnt_on=tuple(recordings))


def calibrated(recordings: Recordings, delay: float, processing: PostProcessing | None) -> dict[str, Trace]:
    """Process the predictions of recordings and shift them forward, for scoring."""
    lengths = [raw.size for raw, _ in recordings.values()]
    joined = np.concatenate([raw for raw, _ in recordings.values()])
    processed = processing.apply(joined, lengths) if processing else joined
    parts = dict(zip(recordings, np.split(processed, np.cumsum(lengths)[:-1]), strict=True))
    return {name: align_predictions(part, recordings[name][1], delay) for name, part in parts.items()}


def align_predictions(prediction: Trace, labels: Labels, delay: float) -> Trace:
    """Shift predictions to a recording's labels, whose gold standard lags by `delay` seconds in all.

    Only the part of the delay that preparation did not remove is compensated.
    """
    return shift(prediction, labels.video_time[: prediction.size], delay - labels.delay)


def _gold(recordings: Recordings, delay: float) -> Trace:
    """Return the labels of all recordings, shifted back."""
    return np.concatenate(
        [shift(labels.valence, labels.video_time, labels.delay - delay) for _, labels in recordings.values()]
    )


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
