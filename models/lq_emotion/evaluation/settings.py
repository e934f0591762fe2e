"""Settings of an evaluation, and of a submission, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, device_option, option
from lq_emotion.datasets.avec.partitions import Partitions, add_partitions, partitions_of
from lq_emotion.evaluation.postprocess import PostProcessing, Search
from lq_emotion.metrics.regression import Convention, Score

TOGETHER, MEAN = "concatenated", "mean"
"""The scores of all frames as one sequence, and of the mean over recordings."""


@dataclass(frozen=True, kw_only=True)
class PredictionSettings(Settings):
    """Settings of predictions of prepared recordings.

    The mean and the deviation by which frames are normalised are, by default, those of the training's data.
    """

    weights: Path = option(help="a caffemodel, or the folder of a training", metavar="FILE")
    data: Path = option(help="folder of crops: ROOT/data/raw_data/HQ", metavar="FOLDER")
    out: Path = option(help="folder for the results", metavar="FOLDER")
    names: tuple[str, ...] = option((), "recordings (default: those of the partition)")
    net: Path | None = option(
        None, "deploy definition of the net (default: the training's, else the authors' CNN+D)", metavar="FILE"
    )
    delay: float | None = option(
        None, "delay of the gold standard in seconds, including what prepare removed (default: as prepared)", least=0,
        metavar="S",
    )  # fmt: skip
    device: str = device_option()
    mean: float | None = None
    std: float | None = option(None, above=0, offered=False)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(PredictionSettings):
    """Settings of an evaluation.

    `partitions` are by default those chosen in prepare, or those of AVEC's names. `plots` draws the traces and the
    scatter of predictions.
    """

    search_delay: tuple[str, ...] = option(
        (), "search the delay (0 to 8 s in steps of 0.4 s) on these recordings; `train` or `dev` means the whole "
        "partition",
    )  # fmt: skip
    postprocess: tuple[str, ...] = option(
        (), "fit AVEC's median filter, bias and factor on these recordings of --data, and apply them to all; `train` "
        "or `dev` means the whole partition (fitting on the scored recordings overstates the scores)",
    )  # fmt: skip
    search: Search = option(
        "official", "search for the filter as AVEC's script does, with its error and across recordings; or corrected, "
        "per recording",
    )  # fmt: skip
    timeline: Path | None = option(
        None, "write a prediction for each time in this gold standard (ROOT/data/gsd, for both dimensions the folder "
        "of their folders), nan for dropped frames", metavar="FOLDER",
    )  # fmt: skip
    partitions: Partitions | None = option(None, add=add_partitions, collect=partitions_of)
    convention: Convention = option("avec", offered=False)
    plots: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delay is not None and self.search_delay:
            raise DataError("is searched", code="conflict", field="--delay", hint="leave out --search-delay")


@dataclass(frozen=True, kw_only=True)
class SubmissionSettings(PredictionSettings):
    """Settings of a submission; the estimates are shifted forward by the delay."""

    scores: Path | None = option(
        None, "scores.json of an evaluation: apply the delay and the post-processing that were found there",
        metavar="FILE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delay is not None and self.scores is not None:
            raise DataError("is in the scores", code="conflict", field="--delay", hint="leave out --scores")


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """scores.json."""

    weights: str
    data: str
    """The folder of crops."""
    convention: str
    labels: str = "valence"
    """Predicted dimension, or "arousal"."""
    scores: Mapping[str, Score]
    """By recording, and those of `TOGETHER` and `MEAN`."""
    concatenated_by_convention: Mapping[str, Score]
    """The scores of all frames in every convention."""
    predictions: tuple[str, ...] = ()
    """Names of the files, in the order of the recordings."""
    files: tuple[str, ...] = ()
    """Names of the tables and plots."""
    delay: float
    """Delay of the gold standard in seconds, of which prepare has corrected `prepared_delay`."""
    prepared_delay: float = 0.0
    delay_learnt_on: tuple[str, ...] = ()
    """Recordings on which the delay was searched, if it was."""
    delay_ccc: Mapping[str, float] = field(default_factory=dict)
    """The CCC at each delay in seconds."""
    post_processing: PostProcessing | None = None


@dataclass(frozen=True)
class SubmittedRecording(Record):
    """A recording of a submission."""

    name: str
    rows: int
    """Times from 0 s on, every 0.04 s."""
    filled: int
    """Number of these without a crop."""
    delay: float
    """Seconds by which the estimates were shifted forward."""


@dataclass(frozen=True)
class Submission(Record):
    """submission.json: the net, the crops, what was estimated, and the files below the folder."""

    weights: str
    data: str
    dimensions: tuple[str, ...]
    recordings: tuple[SubmittedRecording, ...]
    files: tuple[str, ...]
