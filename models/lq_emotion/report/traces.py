"""Valence over time: the gold standard and the predictions of nets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lq_emotion.common.document import Block, Figure, Text
from lq_emotion.common.plots import lines_with_gaps, new_figure, png, shared_legend
from lq_emotion.common.text_table import Table
from lq_emotion.datasets.avec.layout import natural_order
from lq_emotion.nets.names import Method
from lq_emotion.report.parts import Absent, figure_of
from lq_emotion.studies.robust_lq.results import StudyResults
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.studies.robust_lq.tables import column

Trace = npt.NDArray[np.float64]
_COLOURS: dict[str, str] = {
    Method.HR: "#1b1b1b",
    Method.LR: "#c0392b",
    Method.JOINT_OA: "#1e8449",
    Method.JOINT: "#2471a3",
    Method.NON_JOINT: "#8e6bb0",
}
_METHODS = 3  # lines in a panel, without the gold standard
_FACTORS, _RECORDINGS = 3, 2  # rows and columns of panels
_GAP = 1.5 * 0.04


def traces(store: Store) -> Iterator[Block]:
    """Yield the figure of several methods, and the one of HR that `evaluate` drew."""
    if not store.scores:
        raise Absent("No traces: there are no predictions in scores/.")
    if store.table is not None:
        yield _compared(store, store.table)
    drawn = [name for name, evaluation in store.scores.items() if "traces.png" in evaluation.files]
    for name in [name for name in drawn if name.startswith("HR_on_")] or drawn[:2]:
        title = name.replace("_on_", " on ")
        caption = f"Gold standard and prediction of every recording: {title}."
        alt = f"{store.dimension.capitalize()} over time, {title}"
        yield figure_of(store.root / "scores" / name / "traces.png", f"traces_{name}", caption, alt)


def _compared(store: Store, results: StudyResults) -> Block:
    scales = store.scales
    with store.contents():
        chosen = sorted({scales[place] for place in np.linspace(0, len(scales) - 1, _FACTORS).round().astype(int)})
        cells = {
            s: [c for m in dict.fromkeys((*_COLOURS, *Method)) for c in column(results, s) if c.method == m][:_METHODS]
            for s in chosen
        }
        folders = {
            s: {str(cell.method): store.root / Path(cell.scores).parent / "predictions" for cell in of}
            for s, of in cells.items()
        }
        common = set.intersection(
            *({path.stem for path in folder.glob("*.csv")} for folder in folders[chosen[0]].values())
        )
    names = sorted(common, key=natural_order)[:_RECORDINGS]
    if not names:
        return Text("The predictions behind the table are missing: scores/*/predictions/*.csv.", "note")
    read = {
        (s, name): {method: _read(folder / f"{name}.csv", store.dimension) for method, folder in folders[s].items()}
        for s in chosen
        for name in names
    }
    methods = ", ".join(dict.fromkeys(method for of in folders.values() for method in of))
    caption = (
        f"{store.dimension.capitalize()} of {' and '.join(names)} over time: the gold standard in grey, and "
        f"what {methods} predict. HR sees crops in full resolution, the others see them at the factor s of "
        "their panel. Lines break where no face was found."
    )
    drawn = _draw(read, chosen, names, store.dimension)
    return Figure("traces", drawn, caption, f"{store.dimension.capitalize()} over time by method and factor")


def _read(path: Path, label: str) -> tuple[Trace, ...]:
    """Return times, gold standard and prediction, with NaN where frames are missing."""
    table = Table.read(path, ("time", label, "prediction"))
    time, gold, prediction = (table.numbers(column) for column in ("time", label, "prediction"))
    return lines_with_gaps(time, gold, prediction, gap=_GAP)


def _draw(
    read: Mapping[tuple[int, str], Mapping[str, tuple[Trace, ...]]],
    scales: list[int],
    names: list[str],
    label: str,
) -> bytes:
    drawing = new_figure(10.5, 2.15 * len(scales) + 0.6)
    axes = drawing.subplots(len(scales), len(names), squeeze=False, sharex="col", sharey=True)
    for row, s in zip(axes, scales, strict=True):
        for panel, name in zip(row, names, strict=True):
            _panel(panel, read[s, name])
            panel.set_title(f"{name}, s = {s}", fontsize=9, loc="left")
        row[0].set_ylabel(label)
    for panel in axes[-1]:
        panel.set_xlabel("time in s")
    shared_legend(drawing, fontsize=9)
    return png(drawing)


def _panel(panel: Any, traces: Mapping[str, tuple[Trace, ...]]) -> None:
    for number, (method, (time, gold, prediction)) in enumerate(traces.items()):
        if not number:
            panel.plot(time, gold, color="0.72", linewidth=3.2, label="gold standard", solid_capstyle="butt")
        panel.plot(time, prediction, color=_COLOURS.get(method, "#b9770e"), linewidth=1.0, alpha=0.9, label=method)
    panel.grid(visible=True, alpha=0.25)
    panel.margins(x=0.01)
    panel.tick_params(labelsize=8)
