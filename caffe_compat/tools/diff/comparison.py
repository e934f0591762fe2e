"""The result of a comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Difference:
    """A difference between the two sides.

    Attributes
    ----------
    where : layer, blob, field or iteration.
    problem : what differs, with both values if they are short.
    max_abs, max_rel : for arrays, the largest difference, absolute and relative to the largest magnitude; else nan.
    count, size : number of values that differ, and of all values.
    """

    where: str
    problem: str
    max_abs: float = math.nan
    max_rel: float = math.nan
    count: int = 0
    size: int = 0


@dataclass
class Comparison:
    """A comparison of two nets, files or runs.

    Attributes
    ----------
    what : the unit of comparison, in the plural ("layers", "blobs").
    compared : number of units found on both sides.
    differences : in the order of the first side; empty if both are the same.
    largest : the largest difference of all units, relative to the largest magnitude, including those within tolerance.
    """

    what: str
    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    largest: float = 0.0

    @property
    def first(self) -> Difference | None:
        """Return the first difference, or None."""
        return self.differences[0] if self.differences else None

    def array(self, where: str, a: npt.NDArray[Any], b: npt.NDArray[Any], tolerance: float) -> None:
        """Compare two arrays; NaN equals NaN. `tolerance` is relative to the largest magnitude of both."""
        self.compared += 1
        if a.shape != b.shape:
            self.differences.append(Difference(where, f"shape {_x(a.shape)} and {_x(b.shape)}"))
            return
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        distance = np.where(np.isnan(distance), np.inf, distance)
        largest = float(distance.max(initial=0.0))
        magnitude = float(np.abs(np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])).max(initial=0.0))
        relative = largest / magnitude if magnitude else math.inf if largest else 0.0
        self.largest = max(self.largest, relative)
        if relative <= tolerance:
            return
        at = np.unravel_index(int(distance.argmax()), distance.shape) if distance.ndim else ()
        place = f" at [{', '.join(map(str, at))}]" if at else ""
        count = int((distance > 0).sum())
        problem = f"{count} of {a.size} values differ, by up to {largest:.6g} ({relative:.3g} of the largest){place}: "
        problem = (problem if a.size > 1 else "") + f"{float(a[at]):.9g} and {float(b[at]):.9g}"
        self.differences.append(Difference(where, problem, largest, relative, count, int(a.size)))


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
