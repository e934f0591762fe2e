"""The results of an evaluation, scores.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lq_emotion.common.records import Record
from lq_emotion.evaluation.postprocess import PostProcessing
from lq_emotion.metrics.regression import Score

TOGETHER, MEAN = "concatenated", "mean"
"""The rows of all frames as one sequence, and of the mean over recordings."""


@dataclass(frozen=True)
class DelaySearch(Record):
    """The recordings that a delay was searched for on, and the CCC at each delay in seconds."""

    learnt_on: tuple[str, ...]
    ccc: Mapping[str, float]


@dataclass(frozen=True)
class EvaluationFiles(Record):
    """Names of what an evaluation leaves, in its folder."""

    predictions: tuple[str, ...]
    tables: tuple[str, ...]
    plots: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """scores.json.

    Attributes
    ----------
    weights, data : the caffemodel, and the folder of crops.
    convention : convention of the scores; see `metrics.regression`.
    labels : predicted dimension: "valence" or "arousal".
    scores : scores by recording, and those of `TOGETHER` and `MEAN`.
    concatenated_by_convention : the scores of all frames in every convention.
    files : files of the evaluation.
    delay, prepared_delay : delay of the gold standard in seconds, in all and as already corrected by prepare.
    delay_search, post_processing : results of learning on recordings, if there was any.
    """

    weights: str
    data: str
    convention: str
    labels: str = "valence"
    scores: Mapping[str, Score]
    concatenated_by_convention: Mapping[str, Score]
    files: EvaluationFiles | None = None
    delay: float
    prepared_delay: float = 0.0
    delay_search: DelaySearch | None = None
    post_processing: PostProcessing | None = None
