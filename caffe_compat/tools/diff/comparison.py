"""What a comparison finds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in both.

    Attributes
    ----------
    where : layer, blob, field or iteration.
    problem : what differs, with both values where they are short.
    max_abs, max_rel : of arrays: the largest difference, and that over the largest magnitude; nan for other things.
    count, size : values that differ, and values in all.
    """

    where: str
    problem: str
    max_abs: float = math.nan
    max_rel: float = math.nan
    count: int = 0
    size: int = 0


@dataclass
class Comparison:
    """Two things compared.

    Attributes
    ----------
    what : of which kind, and what one unit of them is.
    compared : how many units are in both.
    differences : in the order of the first; empty where both are the same.
    largest : the largest difference among all units, within the tolerance or not, over the largest magnitude.
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
        """Compare two arrays; NaN is the same as NaN.

        Parameters
        ----------
        tolerance : times the largest magnitude of both, what a difference may be.
        """
        self.compared += 1
        if a.shape != b.shape:
            self.differences.append(Difference(where, f"shape {_x(a.shape)} and {_x(b.shape)}"))
            return
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        apart = np.where(np.isnan(apart), np.inf, apart)
        largest = float(apart.max(initial=0.0))
        magnitude = float(np.abs(np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])).max(initial=0.0))
        relative = largest / magnitude if magnitude else math.inf if largest else 0.0
        self.largest = max(self.largest, relative)
        if relative <= tolerance:
            return
        at = np.unravel_index(int(apart.argmax()), apart.shape) if apart.ndim else ()
        place = f" at [{', '.join(map(str, at))}]" if at else ""
        count = int((apart > 0).sum())
        told = f"{count} of {a.size} values differ, by up to {largest:.6g} ({relative:.3g} of the largest){place}: "
        told = (told if a.size > 1 else "") + f"{float(a[at]):.9g} and {float(b[at]):.9g}"
        self.differences.append(Difference(where, told, largest, relative, count, int(a.size)))


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
