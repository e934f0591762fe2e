"""Snapshots under Caffe's names: check before training, find the weights, fit the history."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import SolverError
from caffe_compat.formats.snapshots import require_names
from caffe_compat.schema.caffe_pb2 import SolverParameter


def check_prefix(param: SolverParameter) -> None:
    """Refuse a snapshot_prefix that cannot be written to, before training starts."""
    if not param.HasField("snapshot_prefix"):
        raise SolverError(
            "is required to write snapshots",
            code="field-missing",
            field="snapshot_prefix",
            hint="set it, or set snapshot: 0 and snapshot_after_train: false",
        )
    folder = Path(param.snapshot_prefix + "_iter_0").parent
    hint = "make the folder, or pass another --snapshot_prefix=PREFIX"
    if not folder.is_dir():
        value = param.snapshot_prefix
        raise SolverError("no such folder", code="file-missing", field="snapshot_prefix", value=value, hint=hint)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SolverError(
            f"cannot be written to: {error.strerror}",
            code="file-unwritable",
            field="snapshot_prefix",
            value=param.snapshot_prefix,
            hint=hint,
        ) from None


def check_layer_names(names: Iterable[str], param: SolverParameter) -> None:
    """Refuse layer names that the format of the snapshots cannot store, before training starts."""
    if param.snapshot_format == param.HDF5:
        require_names(names, str(snapshot_path(param, 0, ".caffemodel.h5")))


def snapshot_path(param: SolverParameter, iteration: int, extension: str) -> Path:
    """Return PREFIX_iter_N and the extension, as Caffe names its snapshots."""
    return Path(f"{param.snapshot_prefix}_iter_{iteration}{extension}")


def find_weights(learned_net: str, state_path: Path) -> Path:
    """Return the weights of a solver state: the path it names, else the same name in its folder."""
    for candidate in (Path(learned_net), state_path.parent / Path(learned_net).name):
        if candidate.is_file():
            return candidate
    problem = "the weights of this state are missing"
    hint = f"put {Path(learned_net).name} next to the state"
    raise SolverError(problem, code="file-missing", file=state_path, field="learned_net", value=learned_net, hint=hint)


def fit_history(
    history: Sequence[npt.NDArray[np.float32]], shapes: Sequence[tuple[int, ...]], state_path: Path
) -> list[npt.NDArray[np.float32]]:
    """Return the history in the shapes of the parameters; old Caffe wrote four axes, leading ones included."""
    if len(history) != len(shapes):
        problem = f"the state has {len(history)} histories, this solver expects {len(shapes)}"
        hint = "the state belongs to another solver type or net"
        raise SolverError(problem, code="wrong-count", file=state_path, hint=hint)
    for number, (values, shape) in enumerate(zip(history, shapes, strict=True)):
        if _without_leading_ones(values.shape) != _without_leading_ones(shape):
            problem = f"history {number} has shape {values.shape}, its parameter has shape {shape}"
            raise SolverError(problem, code="shape-mismatch", file=state_path, hint="the state belongs to another net")

    return [values.reshape(shape) for values, shape in zip(history, shapes, strict=True)]


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((axis for axis, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]
