"""Results of a training: train.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lq_emotion.common.records import Record
from lq_emotion.nets.names import Net


@dataclass(frozen=True)
class TrainingFiles(Record):
    """Paths of what a training leaves; `losses` is None for a training without a loss in its log."""

    caffemodel: str
    log: str
    losses: str | None


@dataclass(frozen=True, kw_only=True)
class TrainingResults(Record):
    """runs/NAME/train.json.

    Attributes
    ----------
    net : what was trained.
    iterations : in all.
    changes : what differs from the authors' net and solver, a line each.
    train_loss, test_loss : by iteration.
    files : what the training left.
    seconds : of the last part of the training.
    """

    net: Net
    iterations: int
    changes: tuple[str, ...]
    train_loss: Mapping[int, float]
    test_loss: Mapping[int, float]
    files: TrainingFiles | None = None
    seconds: float
