"""Run a test net and average every value of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from caffe_compat.solver.detection import DetectionScores

if TYPE_CHECKING:
    from caffe_compat.solver.nets import SolverNet


@dataclass(frozen=True)
class Scores:
    """Means over some batches: the total loss, and (output blob, mean) for every number of every output blob."""

    loss: float
    scores: tuple[tuple[str, float], ...]


@torch.no_grad()
def detection_scores(
    tested: SolverNet, batches: int, goes_on: Callable[[], bool] = lambda: True
) -> tuple[float, DetectionScores] | None:
    """Return the mean loss of a test net that ends with DetectionEvaluate, and its rows; None if interrupted."""
    total, rows = np.float32(0), DetectionScores()
    for _ in range(batches):
        if not goes_on():
            return None
        outputs, loss = tested.forward()
        rows.add(outputs)
        total += np.float32(loss.cpu().numpy())
    return float(total / np.float32(batches)), rows


@torch.no_grad()
def mean_scores(
    tested: SolverNet,
    batches: int,
    goes_on: Callable[[], bool] = lambda: True,
    seen: Callable[[int, list[tuple[str, float]]], None] = lambda _number, _values: None,
) -> Scores | None:
    """Return the means over `batches` batches; None if `goes_on` returned False before one of them."""
    names: list[str] = []
    total = np.float32(0)
    sums = np.zeros(0, np.float32)
    for number in range(batches):
        if not goes_on():
            return None
        outputs, loss = tested.forward()
        names = [name for name, blob in outputs.items() for _ in range(blob.numel())]
        values = np.concatenate([blob.cpu().numpy().ravel() for blob in outputs.values()] or [sums])
        sums = values.copy() if number == 0 else sums + values
        total += np.float32(loss.cpu().numpy())
        seen(number, list(zip(names, values.tolist(), strict=True)))
    count = np.float32(batches)
    return Scores(float(total / count), tuple(zip(names, (sums / count).tolist(), strict=True)))
