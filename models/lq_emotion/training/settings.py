"""Settings and results of a training, and what the settings change of a solver."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from caffe_compat.errors import NetError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, device_option, option
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches, add_switches, chosen_switches, format_setting

FROM_FILLERS = Path("none")
_FIELDS = ("type", "max_iter", "base_lr", "test_interval", "display", "snapshot", "random_seed")
_PATHS = ("net", "snapshot_prefix")  # placeholders in the shipped files


@dataclass(frozen=True, kw_only=True)
class Changes(Settings):
    """The user's changes of a definition; None keeps the authors' value."""

    max_iter: int | None = option(
        None, "iterations in all; a larger number continues an earlier run", name="--iterations", least=1
    )
    batch: int | None = option(None, "training samples per iteration", least=1)
    test_iter: int | None = option(None, "batches per test", least=1)
    test_interval: int | None = option(None, "iterations between tests", least=1)
    display: int | None = option(None, "iterations between losses in the log", least=1)
    snapshot: int | None = option(None, "iterations between snapshots", least=1)
    base_lr: float | None = option(None, "base learning rate (default: the authors')", above=0)
    filler: Literal["xavier", "msra"] | None = option(None, offered=False)
    """Filler for all weights; None leaves each layer its own."""
    random_seed: int | None = option(None, "random seed of fillers and dropout", name="--seed", least=0)
    type: str | None = None

    def apply_to(self, solver: pb.SolverParameter) -> None:
        """Set the changed fields of a solver."""
        for name in _FIELDS:
            if (value := getattr(self, name)) is not None:
                setattr(solver, name, value)
        if self.test_iter is not None:
            solver.test_iter[:] = [self.test_iter]


def _switches(args: argparse.Namespace) -> PaperSwitches:
    """Return the switches; one that changes nothing in the training of the net is refused if it was named."""
    from lq_emotion.nets.definitions import builder, parts

    net = args.net
    for name, value in args.switch:
        touched = parts(name, value)
        if touched and f"train {net}" not in touched and not (name == "input_size" and builder(net).own_size):
            hint = f"it affects {', '.join(touched)}; use `lq-emotion study run robust-lq`, which applies all switches"
            raise NetError(
                f"has no effect on net {net}", code="conflict", field=name, value=format_setting(value), hint=hint
            )
    return chosen_switches(args)


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
    switches: PaperSwitches = option(AS_CODE, add=add_switches, collect=_switches)
    device: str = device_option()
    fresh: bool = option(False, "discard earlier results instead of continuing")
    aside: Path | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingResults(Record):
    """runs/NAME/train.json, with the losses by iteration."""

    net: Net
    iterations: int
    changes: tuple[str, ...]
    """Differences from the authors' net and solver, a line each."""
    train_loss: Mapping[int, float]
    test_loss: Mapping[int, float]
    files: tuple[str, ...] = ()
    """Paths of the plot of the losses, if the log has any, of the log, and of the weights."""
    seconds: float
    """Duration of the last part of the training."""


def differences(shipped: pb.SolverParameter, ours: pb.SolverParameter) -> list[str]:
    """Return the fields of a solver that differ, paths apart: ``name: before -> after``."""
    changes = []
    for name in pb.SolverParameter.DESCRIPTOR.fields_by_name:
        before, after = _shown(shipped, name), _shown(ours, name)
        if before != after and name not in _PATHS:
            changes.append(f"{name}: {before} -> {after}")
    return changes


def _shown(param: pb.SolverParameter, name: str) -> str:
    value = getattr(param, name)
    if name == "solver_mode":
        return pb.SolverParameter.SolverMode.Name(value)
    if name in {"type", "lr_policy"}:
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if name == "test_iter" else str(value)
