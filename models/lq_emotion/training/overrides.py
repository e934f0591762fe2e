"""Overrides: the changes that a training makes to a solver, and the fields in which two solvers differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.settings import Settings, option

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
    filler: Literal["xavier", "msra"] | None = option(None, "filler for all weights (default: each layer's own)")
    random_seed: int | None = option(None, "random seed of fillers and dropout", name="--seed", least=0)
    type: str | None = None

    def apply_to(self, solver: pb.SolverParameter) -> None:
        """Set the changed fields of a solver."""
        for name in _FIELDS:
            if (value := getattr(self, name)) is not None:
                setattr(solver, name, value)
        if self.test_iter is not None:
            solver.test_iter[:] = [self.test_iter]


def differences(shipped: pb.SolverParameter, ours: pb.SolverParameter) -> list[str]:
    """Return the fields of a solver that differ, paths apart: ``name: before -> after``."""
    changes = []
    for field in pb.SolverParameter.DESCRIPTOR.fields:
        before, after = _shown(shipped, field.name), _shown(ours, field.name)
        if before != after and field.name not in _PATHS:
            changes.append(f"{field.name}: {before} -> {after}")
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
