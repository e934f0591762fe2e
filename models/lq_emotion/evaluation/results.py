"""The results of an evaluation, scores.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lq_emotion.common.records import Record
from lq_emotion.evaluation.postprocess import PostProcessing
from lq_emotion.metrics.regression import Score

TOGETHER, MEAN = "concatenated", "mean"
"""The rows of all frames as one sequence, and of the mean over recordings."""


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
    predictions, files : names of the predictions, in the order of the recordings, and of the tables and plots.
    delay, prepared_delay : delay of the gold standard in seconds, in all and as already corrected by prepare.
    delay_learnt_on, delay_ccc : recordings on which the delay was searched, if it was, and the CCC at each delay in
        seconds.
    post_processing : learnt post-processing, if there was any.
    """

    weights: str
    data: str
    convention: str
    labels: str = "valence"
    scores: Mapping[str, Score]
    concatenated_by_convention: Mapping[str, Score]
    predictions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    delay: float
    prepared_delay: float = 0.0
    delay_learnt_on: tuple[str, ...] = ()
    delay_ccc: Mapping[str, float] = field(default_factory=dict)
    post_processing: PostProcessing | None = None
