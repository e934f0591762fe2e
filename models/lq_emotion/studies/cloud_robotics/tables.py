"""The study's tables, compared with the published ones: Table 1, (a) mean, (b) mode, (c) LSTM, transfer matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lq_emotion.common.document import Cell, Column, Report, Row, Section, Table, Text, counted, number, row
from lq_emotion.common.markdown import markdown
from lq_emotion.metrics.classification import ClassScores
from lq_emotion.studies.cloud_robotics.paper import (
    CLASSES,
    Aggregation,
    ImageScores,
    Reading,
    clip_accuracy,
    table_1,
)
from lq_emotion.studies.cloud_robotics.plan import ALL
from lq_emotion.studies.cloud_robotics.results import ClipResult, CloudResults, ImageResult

TITLE = "Facial expression recognition for cloud robotics"
SYNTHETIC = (
    "Synthetic: the faces are drawn, no person was photographed or filmed. No number here says anything about people."
)
BASES = {"vggface2": "VGG Face", "imagenet": "ImageNet"}
"""The paper's names of the bases."""
_LETTERS = {Aggregation.MEAN: "a", Aggregation.MODE: "b", Aggregation.LSTM: "c"}
_TITLES = {
    Aggregation.MEAN: "Mean of the frames' scores, compared with the paper's",
    Aggregation.MODE: "Most frequent class of the frames, which is not in the paper",
    Aggregation.LSTM: "LSTM trained on the version that is tested, compared with the paper's",
}
_READINGS = {Reading.PRINTED: "paper, as printed", Reading.EXCHANGED: "paper, neutral and sadness exchanged"}


def tables_markdown(results: CloudResults) -> str:
    """Return all tables as Markdown."""
    lead = (Text(SYNTHETIC, "warning"),) if results.synthetic else ()
    parts = {
        "FER+": image_tables,
        "RAVDESS": clip_tables,
        "Trained on one version, tested on another": transfer_tables,
    }
    sections = (Section(title, tuple(part(results))) for title, part in parts.items())
    return markdown(Report(TITLE, lead, tuple(section for section in sections if section.blocks)), "")


def image_tables(results: CloudResults) -> Iterator[Table]:
    """Yield Table 1, if any net of images was tested."""
    if not results.images:
        return
    names = [*CLASSES, *(name for name in results.images[0].classes if name not in CLASSES)]
    columns = [Column("", number=False), Column("accuracy"), Column("95 %")]
    columns += [Column(measure, name) for name in names for measure in ("recall", "F1")]
    rows = [line for result in results.images for line in _image_rows(result, names)]
    count = f"{results.images[0].scores.count:,}"
    images = f"{count} synthetic images in the form of FER+" if results.synthetic else f"{count} test images of FER+"
    caption = (
        f"**Table 1.** Accuracy, recall and F1 on {images}, compared with the paper's in both readings of its columns "
        "neutral and sadness; Δ is here minus paper."
    )
    yield Table(caption, tuple(columns), tuple(rows))


def _image_rows(result: ImageResult, names: Sequence[str]) -> Iterator[Row]:
    scores = result.scores
    here = {
        name: (float(recall), float(f1))
        for name, recall, f1 in zip(result.classes, scores.recall, scores.f1, strict=True)
    }
    values = [value for name in names for value in here.get(name, (None, None))]
    yield Row(group=f"Base: {BASES.get(result.base, result.base)}")
    yield row("here", number(scores.accuracy), _interval(scores), *map(number, values))
    for reading, title in _READINGS.items():
        paper = next((entry for entry in table_1(reading) if entry.base == BASES.get(result.base)), None)
        if paper is not None:
            yield from _published_rows(paper, title, scores.accuracy, values)


def _published_rows(paper: ImageScores, title: str, accuracy: float, here: Sequence[float | None]) -> Iterator[Row]:
    published = [value for pair in zip(paper.recall, paper.f1, strict=True) for value in pair]
    yield row(title, _faint(paper.accuracy), "", *map(_faint, published))
    differences = (None if value is None else value - other for value, other in zip(here, published, strict=False))
    yield row("Δ", _faint(accuracy - paper.accuracy, sign=True), "", *(_faint(d, sign=True) for d in differences))


def clip_tables(results: CloudResults) -> Iterator[Table]:
    """Yield the tables (a), (b) and (c), those that have a cell, and the regimes of training."""
    sizes = list(dict.fromkeys((version.width, version.height) for version in results.versions))
    rates = list(dict.fromkeys(version.fps for version in results.versions))
    for method, letter in _LETTERS.items():
        if results.best_clips(method) is None:
            continue
        columns = [Column("Size", number=False)]
        columns += [Column(part, f"{rate:g} fps") for rate in rates for part in ("here", "95 %", "paper", "Δ")]
        rows = [
            row(f"{width} × {height}", *(cell for rate in rates for cell in _clip_cells(results, method, size, rate)))
            for size in sizes
            for width, height in (size,)
        ]
        caption = f"**Table ({letter}).** {_TITLES[method]}. Accuracy on {_clips(results)}."
        yield Table(caption, tuple(columns), tuple(rows))


def _clip_cells(
    results: CloudResults, method: Aggregation, size: tuple[int, int], rate: float
) -> tuple[Cell | str, ...]:
    version = next((v for v in results.versions if (v.width, v.height, v.fps) == (*size, rate)), None)
    result = None if version is None else results.each(method, version.name)
    paper = clip_accuracy(method, size, int(rate)) if float(rate).is_integer() else None
    if result is None:
        return "–", "", _faint(paper), _faint(None)
    difference = None if paper is None else result.accuracy - paper
    return number(result.accuracy), _interval(result.scores), _faint(paper), _faint(difference, sign=True)


def transfer_tables(results: CloudResults) -> Iterator[Table]:
    """Yield the matrix of trainings and tests of the LSTM, and the accuracies of each way to train."""
    trained = [version.name for version in results.versions] + [ALL]
    matrix = transfer(results)
    if np.isnan(matrix).all():
        return
    names = trained[:-1]
    columns = [Column("Trained on", number=False)]
    columns += [Column(name, "tested on") for name in names] + [Column("all", "mean of"), Column("others", "mean of")]
    rows = []
    for name, accuracies in zip(trained, matrix, strict=True):
        others = [value for test, value in zip(names, accuracies, strict=True) if test != name]
        cells = [Cell(number(value), strong=test == name) for test, value in zip(names, accuracies, strict=True)]
        means = (number(_mean(accuracies)), "–" if name == ALL else number(_mean(others)))
        if not np.isnan(accuracies).all():
            rows.append(row(name, *cells, *means))
    caption = (
        "**Transfer of the LSTM**, trained on one version or on all of them mixed, and tested on each; in bold the one "
        f"it was trained on. Accuracy on {_clips(results)}."
    )
    yield Table(caption, tuple(columns), tuple(rows))
    yield _regimes(results)


def _regimes(results: CloudResults) -> Table:
    names = [version.name for version in results.versions]
    ways = {
        "mean of frames": [results.cell(Aggregation.MEAN, name) for name in names],
        "mode of frames": [results.cell(Aggregation.MODE, name) for name in names],
        "LSTM, each: trained on the version tested": [results.each(Aggregation.LSTM, name) for name in names],
        f"LSTM, hr: trained on {results.hr}": [results.cell(Aggregation.LSTM, name, results.hr) for name in names],
        "LSTM, all: trained on all versions": [results.cell(Aggregation.LSTM, name, ALL) for name in names],
    }
    columns = (Column("Way", number=False), *(Column(name, "tested on") for name in names), Column("mean"))
    rows = [
        row(
            way, *(number(None if cell is None else cell.accuracy) for cell in cells), number(_mean(_accuracies(cells)))
        )
        for way, cells in ways.items()
        if any(cells)
    ]
    return Table(f"**Ways to train.** Accuracy on {_clips(results)}.", columns, tuple(rows))


def transfer(results: CloudResults) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return (versions + 1, versions) accuracies of the LSTM: a row for what it was trained on, the last for `ALL`.

    A cell that is missing is NaN.
    """
    names = [version.name for version in results.versions]
    cells = [[results.cell(Aggregation.LSTM, test, trained) for test in names] for trained in (*names, ALL)]
    return np.array([_accuracies(line) for line in cells], np.float64).reshape(len(names) + 1, len(names))


def _accuracies(cells: Sequence[ClipResult | None]) -> list[float]:
    return [np.nan if cell is None else cell.accuracy for cell in cells]


def _mean(values: Iterable[float]) -> float:
    """Return the mean; NaN where a value is missing, since versions differ in difficulty."""
    return float(np.mean(list(values) or np.nan))


def _interval(scores: ClassScores) -> str:
    return "{}–{}".format(*(number(end, 2) for end in scores.interval))


def _faint(value: float | None, *, sign: bool = False) -> Cell:
    return Cell(number(value, 2, sign=sign), faint=True)


def _clips(results: CloudResults) -> str:
    """Return what the accuracies of clips are of, and what a constant answer would reach."""
    scores = max((result.scores for result in results.clips), key=lambda scores: scores.count)
    actors = 0 if results.actors is None else len(results.actors.test)
    clips = f"{scores.count:,}{' synthetic' if results.synthetic else ''} clips of {counted(actors, 'actor')}"
    most = number(scores.confusion.sum(axis=1).max() / scores.count)
    return f"{clips} unseen in training, in each version; the most frequent class alone gives {most}"
