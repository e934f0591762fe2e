"""A calibration: intervals for a net's estimates from the conditions of a face.

`quality.conformal` makes it; it is stored next to the weights, NAME.calibration.json. Applying it takes NumPy alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import read_record
from lq_emotion.common.records import Record
from lq_emotion.nets.known.store import sidecar_path
from lq_emotion.quality.bounds import CAUSES, CONFIDENCE, Agreement, Errors
from lq_emotion.quality.measures import MEASURES, Condition, table
from lq_emotion.quality.settings import Grid

PathLike = str | os.PathLike[str]
Doubles = npt.NDArray[np.float64]
SUFFIX = ".calibration.json"
AGREEMENT = "agreement"
VERSION = 2
_BEYOND = 1.1  # factor by which a measure may exceed the range of the calibration
_MORE_IS_BETTER = ("size", "bits")  # not unusual, however large: a net reduces large faces to its input
_FORESTS = ("coded", "unknown")
_UNITS = {
    "size": ("face is {}", " px"),
    "sharpness": ("sharpness is {}", ""),
    "bits": ("recent frames took {} bits per pixel", ""),
    "brightness": ("brightness is {}", ""),
    "contrast": ("contrast is {}", ""),
    "confidence": ("probability of the class is {}", ""),
}


class Trust(NamedTuple):
    """Trust in the estimates for one face."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    """Ends of the interval of each of `Calibration.outputs`: of a dimension, in its own unit; of ``agreement``, the
    probability that the net names the same class as on the undegraded face."""
    trusted: bool
    """True if the intervals are narrow enough, and the conditions among those of the calibration."""
    why: str
    """If not trusted, why not, in one phrase; else empty."""


@dataclass(frozen=True)
class MadeFrom(Record):
    """The origin of a calibration."""

    model: str
    weights: str
    """SHA-256 of its caffemodel."""
    recordings: tuple[str, ...]
    """Their names; none of them was used to train the net, as far as the user knows."""
    samples: int
    """Faces, over all scales and QPs."""
    grid: Grid
    labels: str
    """Origin of the labels; empty for agreement."""
    versions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration(Record):
    """The errors of a net by conditions."""

    level: float
    """Part of the estimates whose interval covers the label, such as 0.9."""
    errors: tuple[Errors, ...]
    """Errors in each dimension that the net estimates; empty for a classifier."""
    agreement: Agreement | None
    """Agreement of a classifier with its answer on the undegraded face; None for other nets."""
    ranges: Mapping[str, tuple[float, float]]
    """Measure -> its lowest and highest value in the calibration."""
    sharpest: tuple[tuple[float, float], ...]
    """Pairs of a size in pixels and the greatest sharpness of faces from there up to the next size; noise on a small
    face must not pass for detail."""
    made_from: MadeFrom
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION or bool(self.errors) == (self.agreement is not None):
            raise ValueError(f"not a calibration of version {VERSION}")
        if self.ranges.keys() != set(MEASURES) or not self.sharpest:
            raise ValueError("the ranges of measures are not complete")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the subjects of `Trust.low` and `Trust.high`: the net's dimensions (``valence``), or ``agreement``."""
        return tuple(errors.name for errors in self.errors) or (AGREEMENT,)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a calibration."""
        return read_record(Path(path), cls, "calibrate again: lq-emotion calibrate")

    @classmethod
    def of_weights(cls, weights: PathLike) -> Self | None:
        """Return the calibration next to a caffemodel, None without one; one made with other weights is refused."""
        path = sidecar(weights)
        if not path.is_file():
            return None
        calibration = cls.load(path)
        if calibration.made_from.weights != file_sha256(Path(weights)):
            hint = "calibrate again, or remove it"
            raise FileError("was made with other weights", code="mismatch", file=path, hint=hint)
        return calibration

    def summary(self) -> dict[str, Any]:
        """Return everything but the forests, as JSON."""
        parts = [*self.errors, *([self.agreement] if self.agreement else [])]
        shown = [{key: value for key, value in part.to_json().items() if key not in _FORESTS} for part in parts]
        origin = {key: value for key, value in self.to_json().items() if key not in ("errors", "agreement")}
        return {"outputs": list(self.outputs), **origin, "limits": shown}

    def judge(self, estimates: npt.ArrayLike, conditions: Sequence[Condition]) -> list[Trust]:
        """Return how far to trust the estimates for each face, (n, k): dimensions, or the probabilities of classes."""
        answers = np.asarray(estimates, np.float64)
        count = len(self.errors) or (answers.shape[1] if answers.ndim == 2 else 0)
        if answers.shape != (len(conditions), count):
            raise DataError(
                f"have shape {answers.shape}, expected ({len(conditions)}, {count or 'classes'})",
                code="shape-mismatch", field="estimates",
            )  # fmt: skip
        values = table(list(conditions))
        low, high, narrow = self.bounds(answers, values)
        reasons = map(self._why, values, answers, narrow)
        return [
            Trust(tuple(ends.tolist()), tuple(other_ends.tolist()), not why, why)
            for ends, other_ends, why in zip(low, high, reasons, strict=True)
        ]

    def bounds(self, answers: Doubles, values: Doubles) -> tuple[Doubles, Doubles, npt.NDArray[np.bool_]]:
        """Return the ends of the intervals, and whether each is narrow enough: (n, outputs) each.

        `answers` are (n, k), as in `judge`; `values` (n, 5), a table of conditions.
        """
        if self.agreement is not None:
            low, high = self.agreement(answers.max(axis=1, initial=0.0), values)
            return low[:, None], high[:, None], np.asarray(low >= self.agreement.limit)[:, None]
        halves = np.stack([errors(values) for errors in self.errors], axis=1)
        limits = np.array([errors.limit for errors in self.errors])
        return answers - halves, answers + halves, np.asarray(halves <= limits)

    def _why(self, values: Doubles, answer: Doubles, narrow: npt.NDArray[np.bool_]) -> str:
        """Return why an answer is not trusted, whose intervals are narrow enough or not; empty if it is."""
        for name, value in zip(MEASURES, values.tolist(), strict=True):
            low, high = self.ranges[name]
            too_high = name not in _MORE_IS_BETTER and value > high * _BEYOND
            if value < low / _BEYOND or too_high:
                return f"{_say(name, value)}; the calibration covers {low:.3g} to {high:.3g}{_UNITS[name][1]}"
        size, sharpness = values[:2].tolist()
        band = max(sum(start <= size for start, _ in self.sharpest) - 1, 0)
        most = max(greatest for _, greatest in self.sharpest[band : band + 2])  # between two sizes the larger counts
        if sharpness > most * _BEYOND:
            return f"{_say('sharpness', sharpness)}; the calibration has {most:.3g} at most for a face of {size:.3g} px"
        if narrow.all():
            return ""
        if self.agreement is not None:
            measured = {"confidence": float(answer.max()), **dict(zip(MEASURES, values.tolist(), strict=True))}
            consequence = f"the class stays in less than {self.agreement.limit:.0%} of the frames"
            return _blame(self.agreement.enough, measured, consequence)
        measured = dict(zip(MEASURES, values.tolist(), strict=True))
        wide = self.errors[int(narrow.argmin())]
        subject = "errors" if len(self.errors) == 1 else f"errors of {wide.name}"
        return _blame(wide.enough, measured, f"{subject} exceed {wide.limit:.2f} at {self.level:.0%}")


def _say(name: str, value: float) -> str:
    before, unit = _UNITS[name]
    return before.format(f"{value:.3g}{unit}")


def _blame(enough: Mapping[str, float], measured: Mapping[str, float], consequence: str) -> str:
    """Name the measures whose value is rarely enough; all measures if none is so low."""
    causes = [name for name, least in enough.items() if measured[name] < least]
    if not causes:
        named = [name for name in (*CAUSES, CONFIDENCE) if not np.isnan(measured.get(name, np.nan))]
        return f"{', '.join(_say(name, measured[name]) for name in named)}; under such conditions {consequence}"
    return "; ".join(
        f"{_say(name, measured[name])}; below {enough[name]:.3g}{_UNITS[name][1]} {consequence}" for name in causes
    )


def sidecar(weights: PathLike) -> Path:
    """Return the path of a caffemodel's calibration."""
    return sidecar_path(weights, SUFFIX)
