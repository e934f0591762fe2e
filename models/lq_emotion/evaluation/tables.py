"""Predictions and scores as files that other programs read."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import printable
from caffe_compat.formats.files import atomic_path
from lq_emotion.metrics.delay import grid_index
from matlab_ports.run_eval import Labels

Trace = npt.NDArray[np.float64]
_NUMBERS = ("rmse", "cc", "ccc")


class Predicted(NamedTuple):
    """A recording's traces, (T,) each.

    Attributes
    ----------
    name : of the recording.
    time : seconds.
    valence : the gold standard.
    prediction : after post-processing and shifting.
    raw : as the net gave it.
    label : what they are of: valence or arousal.
    """

    name: str
    time: Trace
    valence: Trace
    prediction: Trace
    raw: Trace
    label: str = "valence"


def on_timeline(one: Predicted, whole: Labels) -> Predicted:
    """Return the recording at every time of its whole gold standard; predictions are NaN where there was no frame."""
    place = np.searchsorted(grid_index(whole.video_time), grid_index(one.time))
    prediction, raw = (np.full(whole.video_time.size, np.nan) for _ in range(2))
    prediction[place], raw[place] = one.prediction, one.raw
    return Predicted(one.name, whole.video_time, whole.valence, prediction, raw, one.label)


def write_predictions(one: Predicted, path: Path, *, raw: bool) -> None:
    """Write ``frame,time,valence,prediction``, and ``raw`` where it differs; frames are counted on the 40 ms grid.

    The third column is called ``arousal`` where the labels are.
    """
    columns = [one.valence, one.prediction, *([one.raw] if raw else [])]
    lines = [["frame", "time", one.label, "prediction", *(["raw"] if raw else [])]]
    for frame, time, *values in zip(grid_index(one.time), one.time, *columns, strict=True):
        lines.append([str(frame), f"{time:.10g}", *(repr(float(value)) for value in values)])
    _write((",".join(line) for line in lines), path)


def write_csv(results: dict[str, Any], path: Path) -> None:
    """Write one row for every recording, for all together and for the mean of the recordings."""
    header = ["recording", "frames", *_NUMBERS]
    rows = [
        [name, str(row["frames"]), *(_text(row[number], "{!r}") for number in _NUMBERS)]
        for name, row in results["scores"].items()
    ]
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *([_cell(name), *row] for name, *row in rows)])


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _plain(text: str) -> str:
    """Return a text as Markdown that shows just this text."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(printable(text), quote=False))


def write_markdown(results: dict[str, Any], path: Path) -> None:
    """Write the same as a table for people."""
    rows = [
        [_plain(name), str(row["frames"]), *(_text(row[number], "{:.4f}") for number in _NUMBERS)]
        for name, row in results["scores"].items()
    ]
    _write(
        [
            "| recording | frames | RMSE | CC | CCC |",
            "|---|---:|---:|---:|---:|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            *map(_plain, describe(results)),
        ],
        path,
    )


def describe(results: dict[str, Any]) -> list[str]:
    """Return what one has to know of the scores to compare them, a sentence a line."""
    by = results["concatenated_by_convention"]
    told = ", ".join(f"{name} {_text(row['ccc'], '{:.4f}')}" for name, row in by.items())
    lines = [f"Convention: {results['convention']}. CCC of all frames by convention: {told}."]
    lines += _delay(results)
    if processing := results["post_processing"]:
        steps = [f"median of {processing['window']} frames"] if processing["window"] else []
        steps += [f"bias {processing['bias']:+.4f}"] if processing["bias"] else []
        steps += [f"factor {processing['scale']:.4f}"] if processing["scale"] != 1 else []
        learnt = ", ".join(processing["learnt_on"])
        lines.append(f"Post-processing learnt on {learnt}: {', '.join(steps) or 'nothing helped'}.")
    for what, part in (("The delay", "delay_search"), ("Post-processing", "post_processing")):
        if results[part] and (scored := [name for name in results[part]["learnt_on"] if name in results["scores"]]):
            scored_names = ", ".join(scored)
            lines.append(f"{what} was learnt on recordings that are scored here, {scored_names}: new ones score lower.")
    return lines


def _delay(results: dict[str, Any]) -> list[str]:
    delay, prepared = results["delay"], results["prepared_delay"]
    lines = []
    if search := results["delay_search"]:
        lines.append(f"Of the delays 0:0.4:8 s, {delay:g} s has the highest CCC on {', '.join(search['learnt_on'])}.")
    if prepared:
        lines.append(f"The labels were shifted back by {prepared:g} s when they were prepared.")
    if delay != prepared:
        way = "forward" if delay > prepared else "back"
        lines.append(f"Predictions were shifted {way} by {abs(delay - prepared):g} s.")
    return lines


def rows_of(results: dict[str, Any]) -> list[Sequence[str]]:
    """Return the scores as text for a terminal, the header first."""
    return [
        ("recording", "frames", *(number.upper() for number in _NUMBERS)),
        *(
            (printable(name), str(row["frames"]), *(_text(row[number], "{:.4f}") for number in _NUMBERS))
            for name, row in results["scores"].items()
        ),
    ]


def _text(value: float | None, form: str) -> str:
    return "nan" if value is None else form.format(value)


def _write(lines: Iterable[str], path: Path) -> None:
    with atomic_path(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
