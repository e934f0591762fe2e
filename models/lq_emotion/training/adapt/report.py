"""The report of an adaptation: report.md with the curve of the losses and the table of confusions as figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lq_emotion.common.lists import write_lines
from lq_emotion.common.markdown import as_text
from lq_emotion.common.plots import Matrix, draw_matrices, new_figure, save
from lq_emotion.metrics.regression import MEASURES
from lq_emotion.training.adapt.settings import AdaptationResults, AnswerScores

REPORT, CURVE, CONFUSION = "report.md", "losses.png", "confusion.png"
_NETS = {
    "constant": "always the same answer",
    "before": "before",
    "frozen": "head trained alone",
    "adapted": "adapted",
}
_CLASS_COLUMNS = ("recall", "precision", "f1")


def write_report(results: AdaptationResults, folder: Path) -> None:
    """Write report.md and its figures."""
    _draw_losses(results, folder / CURVE)
    part = "test" if "test" in results.scores else "dev"
    confusion = results.scores[part]["adapted"].confusion
    if confusion:
        title = f"{part}: persons never trained on"
        matrix = Matrix.of_confusion(title, results.names, np.array(confusion), as_counts=True)
        draw_matrices([matrix], folder / CONFUSION, row_label="label", column_label="answer")
    write_lines(list(_lines(results, part)), folder / REPORT)


def _lines(results: AdaptationResults, part: str) -> Iterator[str]:
    head = "a new last layer" if results.head_is_new else "its own last layer"
    yield f"# {as_text(Path(results.weights).stem)}"
    yield ""
    yield f"{as_text(results.model)} with {head}, adapted to {as_text(', '.join(results.names))}."
    yield ""
    yield "| | persons | faces | frames without a face |"
    yield "|---|---|---|---|"
    for name, faces in results.faces.items():
        yield f"| {name} | {len(results.persons[name])} | {faces.faces} | {faces.without} |"
    yield ""
    if part == "dev":
        yield "The scores are those on dev, which also chose the snapshot: on strangers the net will be worse."
        yield ""
    for name, nets in results.scores.items():
        yield f"## Scores on {name}"
        yield ""
        yield from _score_lines(nets)
        yield ""
    yield "## Training"
    yield ""
    for stage, training in results.stages.items():
        at = ", ".join(map(str, training.rate_divided_at))
        divided = f"; rate divided by ten at {at}" if at else ""
        yield f"- {stage}: iteration {training.kept} of {training.iterations} kept{divided}"
    yield ""
    yield f"![loss on held-out persons]({CURVE})"
    if results.scores[part]["adapted"].confusion:
        yield ""
        yield f"![confusions]({CONFUSION})"


def _score_lines(nets: Mapping[str, AnswerScores]) -> Iterator[str]:
    if next(iter(nets.values())).confusion:
        yield "| | accuracy | mean recall |"
        yield "|---|---|---|"
        for name, scores in nets.items():
            yield f"| {_NETS[name]} | {_digits(scores.accuracy)} | {_digits(scores.mean_recall)} |"
        yield ""
    classes = nets["adapted"].classes
    columns = _CLASS_COLUMNS if classes else MEASURES
    yield f"| | faces | {' | '.join(columns)} |"
    yield "|---|---" + "|---" * len(columns) + "|"
    for label, row in classes.items():
        yield f"| {as_text(label)} | {row['count']} | {_cells(row, columns)} |"
    for name, scores in nets.items():
        for label, score in scores.dimensions.items():
            yield f"| {as_text(label)}, {_NETS[name]} | {score.frames} | {_cells(score.to_json(), columns)} |"


def _cells(row: Mapping[str, float | None], columns: tuple[str, ...]) -> str:
    return " | ".join(_digits(row[column]) for column in columns)


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _draw_losses(results: AdaptationResults, path: Path) -> None:
    figure = new_figure(8, 4)
    axes = figure.subplots()
    start = 0
    for stage, colour in zip(results.stages, ("#08519c", "#d94801"), strict=True):
        training = results.stages[stage]
        iterations = np.array(sorted(training.losses)) + start
        axes.plot(iterations, [training.losses[i] for i in sorted(training.losses)], "o-", color=colour, label=stage)
        axes.plot(training.kept + start, training.losses[training.kept], "*", color=colour, markersize=16)
        for at in training.rate_divided_at:
            axes.axvline(at + start, color=colour, linestyle=":", linewidth=1)
        start += training.iterations
    axes.set(xlabel="iteration", ylabel="loss on held-out persons", title="Star: kept. Dotted: rate divided by ten")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    save(figure, path)
