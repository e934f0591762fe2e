"""Settings and results of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, option
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches
from lq_emotion.training.overrides import Changes

FROM_FILLERS = Path("none")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Settings of the training of one of the authors' nets.

    `switches` chooses paper or code; those that concern the data are ignored. With `aside`, the files of a different
    training in the folder are moved there; otherwise they are an error.
    """

    net: Net = option(Net.SCRATCH, "net to train")
    h5: Path = option(help="folder of train.txt and test.txt", metavar="FOLDER")
    out: Path = option(help="folder for the log, snapshots and the loss plot", metavar="FOLDER")
    weights: Path | None = option(
        None, "weights to start from, matched by layer name: a caffemodel, or the folder of a training; vlqr and "
        "vlqr_non_joint need those of pretrain, or `none`", metavar="FILE",
    )  # fmt: skip
    changes: Changes = field(default_factory=Changes)
    switches: PaperSwitches = AS_CODE
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    fresh: bool = option(False, "discard earlier results instead of continuing")
    aside: Path | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingResults(Record):
    """runs/NAME/train.json.

    Attributes
    ----------
    net : trained net.
    iterations : number of iterations in all.
    changes : differences from the authors' net and solver, a line each.
    train_loss, test_loss : losses by iteration.
    files : paths of the plot of the losses, if the log has any, of the log, and of the weights.
    seconds : duration of the last part of the training.
    """

    net: Net
    iterations: int
    changes: tuple[str, ...]
    train_loss: Mapping[int, float]
    test_loss: Mapping[int, float]
    files: tuple[str, ...] = ()
    seconds: float
