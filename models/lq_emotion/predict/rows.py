"""The rows of a source: a row per face and frame, and one for each frame without a face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from caffe_compat.errors import printable
from lq_emotion.nets.known.circumplex import NAME, coordinates
from lq_emotion.nets.known.outputs import Labels
from lq_emotion.predict.analysis import SeenFace, SeenFrame
from lq_emotion.predict.estimator import Estimate, Estimator

Cell: TypeAlias = int | float | str | bool | None
NOT_CALIBRATED = "not calibrated"


@dataclass(frozen=True)
class Column:
    """A column: its name and the type of its cells; every cell may be empty."""

    name: str
    kind: Literal["int", "float", "text", "bool"]


_FACE = (
    Column("face_id", "int"),
    Column("detected", "bool"),
    *(Column(name, "float") for name in ("score", "face_x", "face_y", "face_w", "face_h")),
    *(Column(f"lm{number}_{axis}", "float") for number in range(5) for axis in "xy"),
)


class Rows:
    """The columns of a source and the rows of its frames.

    Parameters
    ----------
    estimators : the nets; with several, their columns begin with the net's name and a dot.
    named : the frames are images with names, for which there is a column ``file``.
    abstain : leave the values empty that are not to be trusted.
    """

    def __init__(self, estimators: Sequence[Estimator], *, named: bool, abstain: bool = False) -> None:
        self._nets = [_NetColumns(estimator, abstain=abstain) for estimator in estimators]
        self._named = named
        prefixes = [f"{estimator.name}." if len(estimators) > 1 else "" for estimator in estimators]
        self.columns = (
            *((Column("file", "text"),) if named else ()),
            Column("frame", "int"),
            Column("time", "float"),
            *_FACE,
            *(
                Column(prefix + column.name, column.kind)
                for prefix, net in zip(prefixes, self._nets, strict=True)
                for column in net.columns
            ),
        )

    def of(self, seen: SeenFrame) -> list[tuple[Cell, ...]]:
        """Return the rows of a frame, in the order of `columns`."""
        frame = seen.frame
        start: tuple[Cell, ...] = (*((printable(frame.name),) if self._named else ()), frame.index, number(frame.time))
        if not seen.faces:
            return [start + (None,) * (len(self.columns) - len(start))]
        return [start + self._face(face) for face in seen.faces]

    def _face(self, seen: SeenFace) -> tuple[Cell, ...]:
        face = seen.face
        points: list[Cell] = [None] * 10 if face.landmarks is None else [v for point in face.landmarks for v in point]
        cells: list[Cell] = [seen.id, seen.detected, number(face.score), face.x, face.y, face.width, face.height]
        for net, estimate in zip(self._nets, seen.estimates, strict=True):
            points += net.cells(estimate)
        return (*cells, *points)


class _NetColumns:
    """The columns of one net: its outputs, what follows from them, and how far to trust them."""

    def __init__(self, estimator: Estimator, *, abstain: bool) -> None:
        outputs, calibration = estimator.model.outputs, estimator.calibration
        self._names, self._abstain = outputs.names, abstain
        self._classes = isinstance(outputs, Labels)
        self._valence: npt.NDArray[Any] | None = coordinates(outputs) if isinstance(outputs, Labels) else None
        values = [Column(f"p_{name}" if self._classes else name, "float") for name in outputs.names]
        if self._classes:
            values.append(Column("class", "text"))
        if self._valence is not None:
            values.append(Column(NAME, "float"))
        judged = calibration.outputs if calibration is not None and len(calibration.outputs) > 1 else ("",)
        self._judged = len(judged)
        intervals = [Column(f"{name}_{end}" if name else end, "float") for name in judged for end in ("low", "high")]
        self._values = len(values)
        self.columns = (*values, *intervals, Column("trusted", "bool"), Column("why", "text"))

    def cells(self, estimate: Estimate) -> list[Cell]:
        trust = estimate.trust
        if trust is None:
            return [*self._value_cells(estimate), *[None] * (2 * self._judged + 1), NOT_CALIBRATED]
        intervals = [number(end) for pair in zip(trust.low, trust.high, strict=True) for end in pair]
        hidden = self._abstain and not trust.trusted
        values = [None] * self._values if hidden else self._value_cells(estimate)
        return [*values, *intervals, trust.trusted, trust.why or None]

    def _value_cells(self, estimate: Estimate) -> list[Cell]:
        cells: list[Cell] = [number(float(value)) for value in estimate.values]
        if self._classes:
            cells.append(self._names[int(estimate.values.argmax())])
        if self._valence is not None:
            cells.append(number(float(estimate.values @ self._valence)))
        return cells


def number(value: float) -> float | None:
    """Return a number, or None for NaN and infinity: an empty cell."""
    return value if math.isfinite(value) else None
