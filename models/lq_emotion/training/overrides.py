"""Overrides: the changes that a training makes to a solver, and the fields in which two solvers differ."""

from __future__ import annotations

from dataclasses import dataclass

from caffe_compat.schema import caffe_pb2 as pb

_FIELDS = ("type", "max_iter", "base_lr", "test_interval", "display", "snapshot", "random_seed")
_PATHS = ("net", "snapshot_prefix")  # placeholders in the shipped files


@dataclass(frozen=True)
class Changes:
    """The user's changes of a definition; None keeps the authors' value.

    Attributes
    ----------
    batch : samples a training step.
    filler : of all weights, instead of each layer's own: ``xavier``.
    type, max_iter, base_lr, test_iter, test_interval, display, snapshot, random_seed : fields of the solver: ``Adam``.
    """

    batch: int | None = None
    filler: str | None = None
    type: str | None = None
    max_iter: int | None = None
    base_lr: float | None = None
    test_iter: int | None = None
    test_interval: int | None = None
    display: int | None = None
    snapshot: int | None = None
    random_seed: int | None = None

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
