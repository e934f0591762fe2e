"""Choose the point of a table for a link, the best score that fits bandwidth and delay, and write the choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError
from lq_emotion.common.json_files import write_json
from lq_emotion.common.lists import write_rows
from lq_emotion.common.plots import BLUE, INK, ORANGE, new_figure, save
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, option
from lq_emotion.studies.cloud_robotics.link.loopback import Measured, Passage
from lq_emotion.studies.cloud_robotics.link.table import OperatingPoint, RateTable, wire_bits

_PALE = "#b0b4b8"


@dataclass(frozen=True, kw_only=True)
class Demand(Settings):
    """Requirements for the answers, and assumptions about everything but the link's rate; times in ms."""

    budget: float = option(
        500.0, "latency budget, from an event to the robot receiving the estimate", above=0, metavar="MS",
        group="demand",
    )  # fmt: skip
    round_trip: float = option(20.0, "propagation there and back", least=0, metavar="MS", group="demand")
    computing: float = option(
        30.0, "encoding, decoding, finding the face and the net, a frame; the loopback measures it", least=0,
        metavar="MS", group="demand",
    )  # fmt: skip
    reserve: float = option(
        0.1, "fraction of the bandwidth to keep free, in addition to packet headers", least=0, most=0.99,
        metavar="PART", group="demand",
    )  # fmt: skip
    largest: float = option(
        5.0, "largest frame in mean frames, for points whose largest frame was not measured", least=1, offered=False
    )


@dataclass(frozen=True)
class Choice(Record):
    """The answer for a bandwidth in 1000 bits per second; without a point if nothing fits."""

    kbps: float
    point: OperatingPoint | None
    wire_kbps: float | None
    """Rate of the point with packet headers."""
    delay: float | None
    """The longest to expect, in ms."""
    least_kbps: float | None
    """The least bandwidth that a point fits; None if the delay alone rules out all."""
    measured: Measured | None = None
    """What the loopback measured, if it ran."""


def largest_frame(point: OperatingPoint, demand: Demand) -> float:
    """Return the bits of the largest frame with its headers."""
    mean = 1000 * point.rate / point.fps
    return wire_bits(demand.largest * mean if point.largest_bits is None else point.largest_bits)


def waiting(point: OperatingPoint, demand: Demand) -> float:
    """Return the delay that no bandwidth removes, in ms: up to the next frame, for propagation and for computing."""
    return 1000 / point.fps + demand.round_trip + demand.computing


def longest_latency(point: OperatingPoint, demand: Demand) -> float:
    """Return how long after its capture a frame must be answered on this side of the propagation, in ms."""
    return demand.budget - 1000 / point.fps - demand.round_trip


def delay(point: OperatingPoint, kbps: float, demand: Demand) -> float:
    """Return the longest delay at a bandwidth, in ms: `waiting`, and the time that the largest frame is on the link."""
    return waiting(point, demand) + largest_frame(point, demand) / (kbps * (1 - demand.reserve))


def least_kbps(point: OperatingPoint, demand: Demand) -> float:
    """Return the least bandwidth that carries a point within the delay; infinite if none does."""
    for_link = demand.budget - waiting(point, demand)
    keeps_up = demand.computing <= 1000 / point.fps  # else frames come faster than they are answered
    if for_link <= 0 or not keeps_up:
        return math.inf
    return max(point.wire_kbps, largest_frame(point, demand) / for_link) / (1 - demand.reserve)


def choose(table: RateTable, kbps: float, demand: Demand) -> Choice:
    """Return the point of the best score that a bandwidth carries within the delay; of equals, that of fewest bits."""
    if not (math.isfinite(kbps) and kbps > 0):
        raise DataError("out of range", code="out-of-range", field="kbps", value=kbps, hint="more than 0")
    needed = [(least_kbps(point, demand), point) for point in table.points]
    least = min(rate for rate, _ in needed)
    fitting = [point for rate, point in needed if rate <= kbps]
    if not fitting:
        return Choice(kbps, None, None, None, least if math.isfinite(least) else None)
    best = max(fitting, key=lambda point: (point.score, -point.wire_kbps))
    return Choice(kbps, best, best.wire_kbps, delay(best, kbps, demand), least)


def front(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return the points that no other beats: from few bits to many, each better than all before it."""
    best: list[OperatingPoint] = []
    for point in sorted(points, key=lambda point: (point.wire_kbps, -point.score)):
        if not best or point.score > best[-1].score:
            best.append(point)
    return best


def draw_choices(table: RateTable, choices: Sequence[Choice], path: Path) -> None:
    """Write the picture as PNG, complete or not at all."""
    from matplotlib.ticker import FuncFormatter

    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    best = front(table.points)
    axes.plot(*_places(table.points), ".", color=_PALE, label="measured")
    axes.step(*_places(best), where="post", color=BLUE, marker=".", label="most for its bits")
    for choice in choices:
        axes.axvline(choice.kbps, color=INK, linewidth=0.6, linestyle=":")
        if choice.point is not None:
            axes.plot(*_places([choice.point]), "o", color=ORANGE, markerfacecolor="none", markersize=10)
            axes.annotate(f"{choice.kbps:g}", (choice.kbps, 1), xycoords=("data", "axes fraction"), fontsize=7)
    axes.plot([], [], "o", color=ORANGE, markerfacecolor="none", label="chosen for a bandwidth (dotted)")
    axes.set(xscale="log", xlabel="kbit/s with packet headers", ylabel=table.measure)
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    save(figure, path)


def _places(points: Sequence[OperatingPoint]) -> tuple[list[float], list[float]]:
    return [point.wire_kbps for point in points], [point.score for point in points]


@dataclass(frozen=True)
class LinkResults(Record):
    """link.json: the file of the table, the measure of its scores, the demand, and a row for each bandwidth."""

    table: str
    measure: str
    demand: Demand
    rows: tuple[Choice, ...]


def write_results(
    results: LinkResults, table: RateTable, folder: Path, passages: Sequence[tuple[float, Passage]] = ()
) -> list[Path]:
    """Write link.json, link.csv, link.png, and the frames of the loopback by kbit/s to link_frames.csv; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in written(results)]
    write_json(results.to_json(), files[0])
    _write_rows([_cells(row) for row in results.rows], files[1])
    draw_choices(table, results.rows, files[2])
    if passages:
        _write_rows([{"link_kbps": kbps, **passage.to_json()} for kbps, passage in passages], files[3])
    return files


def written(results: LinkResults) -> tuple[str, ...]:
    """Return the names of the files that `write_results` writes."""
    frames = any(row.measured and row.measured.answered for row in results.rows)
    return ("link.json", "link.csv", "link.png", *(("link_frames.csv",) if frames else ()))


def _cells(choice: Choice) -> dict[str, Any]:
    """Return the cells of a row: of the choice, its point and, after ``measured_``, of the measurement."""
    row = choice.to_json()
    cells = {"link_kbps": row["kbps"], **{name: row[name] for name in ("wire_kbps", "delay", "least_kbps")}}
    cells |= row["point"] or dict.fromkeys(field.name for field in fields(OperatingPoint))
    measured = row["measured"] or dict.fromkeys(field.name for field in fields(Measured))
    return cells | {f"measured_{name}": value for name, value in measured.items()}


def _write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    write_rows([rows[0], *(row.values() for row in rows)], path)
