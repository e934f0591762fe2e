"""Results of `lq-emotion link`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import write_json
from lq_emotion.common.plots import BLUE, INK, ORANGE, new_figure, save
from lq_emotion.common.records import Record
from lq_emotion.studies.cloud_robotics.link.choice import Choice, Demand, front, wire_kbps
from lq_emotion.studies.cloud_robotics.link.loopback import Measured, Passage
from lq_emotion.studies.cloud_robotics.link.table import OperatingPoint, RateTable

_PALE = "#b0b4b8"


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
    return [wire_kbps(point) for point in points], [point.score for point in points]


@dataclass(frozen=True)
class LinkRow(Record):
    """A bandwidth: what to send, and what the loopback measured of it, if it ran."""

    choice: Choice
    measured: Measured | None = None


@dataclass(frozen=True)
class LinkResults(Record):
    """link.json: the file of the table, the measure of its scores, the demand, and a row for each bandwidth."""

    table: str
    measure: str
    demand: Demand
    rows: tuple[LinkRow, ...]


def write_results(
    results: LinkResults, table: RateTable, folder: Path, passages: Sequence[tuple[float, Passage]] = ()
) -> list[Path]:
    """Write link.json, link.csv, link.png, and the frames of the loopback by kbit/s to link_frames.csv; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in written(results)]
    write_json(results.to_json(), files[0])
    _write_csv([_cells(row) for row in results.rows], files[1])
    draw_choices(table, [row.choice for row in results.rows], files[2])
    if passages:
        _write_csv([{"link_kbps": kbps, **passage.to_json()} for kbps, passage in passages], files[3])
    return files


def written(results: LinkResults) -> tuple[str, ...]:
    """Return the names of the files that `write_results` writes."""
    frames = any(row.measured and row.measured.answered for row in results.rows)
    return ("link.json", "link.csv", "link.png", *(("link_frames.csv",) if frames else ()))


def _cells(row: LinkRow) -> dict[str, Any]:
    """Return the cells of a row: of the choice, its point and, after ``measured_``, of the measurement."""
    choice = row.choice.to_json()
    cells = {"link_kbps": choice["kbps"], **{name: choice[name] for name in ("wire_kbps", "delay", "least_kbps")}}
    cells |= choice["point"] or dict.fromkeys(field.name for field in fields(OperatingPoint))
    measured = row.measured.to_json() if row.measured else dict.fromkeys(field.name for field in fields(Measured))
    return cells | {f"measured_{name}": value for name, value in measured.items()}


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
