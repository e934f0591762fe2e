"""Write predictions and scores as CSV and Markdown, and read predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.document import Column, Table, row
from lq_emotion.common.json_files import read_record
from lq_emotion.common.lists import write_lines, write_rows
from lq_emotion.common.markdown import as_text
from lq_emotion.common.text_table import Table as TextTable
from lq_emotion.evaluation.settings import Evaluation
from lq_emotion.metrics.delay import grid_index
from lq_emotion.metrics.regression import MEASURES, Trace
from lq_emotion.metrics.uncertainty import Moments
from matlab_ports.run_eval import Labels


class Traces(NamedTuple):
    """The labels and predictions of a recording, (T,) each, and the time in seconds."""

    name: str
    time: Trace
    gold: Trace
    prediction: Trace
    """After post-processing and shifting."""
    raw: Trace
    """The output of the net."""
    label: str = "valence"
    """The dimension, or arousal."""


def joined(recordings: Sequence[Traces]) -> tuple[Trace, Trace]:
    """Return predictions and gold standards of all recordings as one sequence."""
    return np.concatenate([traces.prediction for traces in recordings]), np.concatenate(
        [traces.gold for traces in recordings]
    )


def expand_to_timeline(traces: Traces, timeline: Labels) -> Traces:
    """Expand traces to all times of the gold standard; predictions of dropped frames are NaN."""
    position = np.searchsorted(grid_index(timeline.video_time), grid_index(traces.time))
    prediction, raw = (np.full(timeline.video_time.size, np.nan) for _ in range(2))
    prediction[position], raw[position] = traces.prediction, traces.raw
    return Traces(traces.name, timeline.video_time, timeline.valence, prediction, raw, traces.label)


def write_predictions(traces: Traces, path: Path, *, raw: bool) -> None:
    """Write ``frame,time,valence,prediction`` (or ``arousal``), with ``raw`` on request; frames are grid indices."""
    columns = [traces.gold, traces.prediction, *([traces.raw] if raw else [])]
    lines = [["frame", "time", traces.label, "prediction", *(["raw"] if raw else [])]]
    for frame, time, *values in zip(grid_index(traces.time), traces.time, *columns, strict=True):
        lines.append([str(frame), f"{time:.10g}", *(repr(float(value)) for value in values)])
    write_lines([",".join(line) for line in lines], path)


def write_csv(results: Evaluation, path: Path) -> None:
    """Write a row for each recording, for all frames together and for the mean of the recordings."""
    rows: list[tuple[str, ...]] = [("recording", "frames", *MEASURES)]
    rows += [(_escape_formula(name), *numbers) for name, *numbers in _rows(results, "{!r}")]
    write_rows(rows, path)


def _escape_formula(text: str) -> str:
    """Return text that spreadsheets do not read as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write_markdown(results: Evaluation, path: Path) -> None:
    """Write the scores as a Markdown table, followed by `describe`."""
    write_lines(
        [
            "| recording | frames | RMSE | CC | CCC |",
            "|---|---:|---:|---:|---:|",
            *(f"| {' | '.join((as_text(name), *numbers))} |" for name, *numbers in _rows(results, "{:.4f}")),
            "",
            *map(as_text, describe(results)),
        ],
        path,
    )


def describe(results: Evaluation) -> list[str]:
    """Describe how the scores were computed, a sentence per line."""
    by_convention = results.concatenated_by_convention
    scores = ", ".join(f"{name} {_text(score.ccc, '{:.4f}')}" for name, score in by_convention.items())
    lines = [f"Convention: {results.convention}. CCC of all frames by convention: {scores}."]
    lines += _describe_delay(results)
    if processing := results.post_processing:
        steps = [f"median of {processing.window} frames"] if processing.window else []
        steps += [f"bias {processing.bias:+.4f}"] if processing.bias else []
        steps += [f"scale {processing.scale:.4f}"] if processing.scale != 1 else []
        learnt = ", ".join(processing.learnt_on)
        lines.append(f"Post-processing learnt on {learnt}: {', '.join(steps) or 'none'}.")
    processed_on = results.post_processing.learnt_on if results.post_processing else ()
    for what, learnt_on in (("The delay", results.delay_learnt_on), ("Post-processing", processed_on)):
        if scored := [name for name in learnt_on if name in results.scores]:
            names = ", ".join(scored)
            lines.append(
                f"{what} was learnt on recordings that are also scored ({names}): expect lower scores on new ones."
            )
    return lines


def _describe_delay(results: Evaluation) -> list[str]:
    delay, prepared = results.delay, results.prepared_delay
    lines = []
    if searched := ", ".join(results.delay_learnt_on):
        lines.append(f"Of the delays 0:0.4:8 s, {delay:g} s has the highest CCC on {searched}.")
    if prepared:
        lines.append(f"The labels were shifted back by {prepared:g} s when they were prepared.")
    if delay != prepared:
        direction = "forward" if delay > prepared else "back"
        lines.append(f"Predictions were shifted {direction} by {abs(delay - prepared):g} s.")
    return lines


def score_table(results: Evaluation) -> Table:
    """Return the scores for a terminal."""
    columns = (Column("recording", number=False), Column("frames"), *(Column(name.upper()) for name in MEASURES))
    return Table("", columns, tuple(row(*cells) for cells in _rows(results, "{:.4f}")))


def _rows(results: Evaluation, form: str) -> Iterator[tuple[str, ...]]:
    """Yield the scores as text: recording, frames, measures."""
    for name, scores in results.scores.items():
        yield (name, str(scores.frames), *(_text(getattr(scores, measure), form) for measure in MEASURES))


def _text(value: float | None, form: str) -> str:
    return "nan" if value is None else form.format(value)


def read_moments(folder: Path) -> dict[str, Moments]:
    """Return the moments of each recording of an evaluation, from its folder, in its order.

    Frames without a prediction or a label are left out, as in the scores.
    """
    path = folder / "scores.json"
    evaluation = read_record(path, Evaluation, "evaluate the net again")
    if not evaluation.predictions:
        raise FileError("names no predictions", code="wrong-format", file=path, hint="evaluate again")
    files = [folder / name for name in evaluation.predictions]
    return {file.stem: _moments(file, evaluation.labels) for file in files}


def _moments(path: Path, label: str) -> Moments:
    if not path.is_file():
        raise FileError("no predictions found", code="file-missing", file=path, hint="evaluate again")
    table = TextTable.read(path, ("prediction", label), hint="evaluate again")
    try:
        return Moments.of(table.numbers("prediction"), table.numbers(label))
    except DataError as error:
        error.file = error.file or str(path)
        raise
