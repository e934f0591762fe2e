"""Results are written as JSON objects and read back with every value checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from lq_emotion.common.records import Record


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Point(Record):
    x: float
    y: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plot(Record):
    title: str
    colour: Colour
    file: Path
    points: tuple[Point, ...]
    losses: Mapping[int, float] = field(default_factory=dict)
    first: Point | None = None


PLOT = Plot(title="a", colour=Colour.RED, file=Path("b"), points=(Point(1.5), Point(0.5, 2.0)), losses={10: 0.25})


def test_a_record_reads_back_from_json():
    assert Plot.from_json(json.loads(json.dumps(PLOT.to_json()))) == PLOT


def test_keys_stand_in_the_order_of_the_fields():
    assert PLOT.to_json() == {
        "title": "a", "colour": "red", "file": "b", "points": [{"x": 1.5, "y": None}, {"x": 0.5, "y": 2.0}],
        "losses": {"10": 0.25}, "first": None,
    }  # fmt: skip
    assert list(PLOT.to_json()) == ["title", "colour", "file", "points", "losses", "first"]


def test_defaults_stand_in_for_missing_keys_and_unknown_keys_are_skipped():
    assert Point.from_json({"x": 1, "z": 2}) == Point(1.0)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"title": 5}, TypeError),
        ({"colour": "blue"}, ValueError),
        ({"points": {"x": 1}}, TypeError),
        ({"points": [{"y": 1}]}, KeyError),
        ({"points": [{"x": True}]}, TypeError),
        ({"points": [5]}, TypeError),
        ({"losses": [1]}, TypeError),
        ({"losses": {"a": 1}}, ValueError),
        ({"losses": {"1": "a"}}, TypeError),
    ],
)
def test_a_value_of_another_type_is_refused(change, error):
    with pytest.raises(error):
        Plot.from_json({**PLOT.to_json(), **change})
