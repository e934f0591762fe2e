"""The report of the second paper's study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from caffe_compat.errors import FileError
from lq_emotion.common.document import Block, Column, Report, Table, Text, code, number, row
from lq_emotion.report.parts import Absent, figure_of, sections
from lq_emotion.report.provenance import pairs, software, stage_times
from lq_emotion.studies.cloud_robotics.paper import OPEN_QUESTIONS, Aggregation
from lq_emotion.studies.cloud_robotics.results import FILE, CloudResults, ImageResult, read_results
from lq_emotion.studies.cloud_robotics.tables import (
    BASES,
    SYNTHETIC,
    TITLE,
    clip_tables,
    image_tables,
    transfer_tables,
)
from lq_emotion.studies.questions import Question, questions_table

_PAPER = "Maclean: Facial Expression Recognition for Cloud Robotics, 2021"


def make_page(root: Path) -> Report:
    """Return the report of a study from ROOT/study.json and ROOT/figures. A line names what is missing."""
    results = read_results(root)
    if results is None:
        hint = "`lq-emotion study run cloud-robotics` writes it"
        raise FileError("file not found", code="file-missing", file=root / FILE, hint=hint)
    parts: dict[str, Callable[[CloudResults, Path], Iterator[Block]]] = {
        "Table 1 and Figure 2": _images,
        "Searches": _searches,
        "Clips": _clips,
        "Trained on one version, tested on another": _transfer,
        "What was run": _run,
        "What the text leaves open": _choices,
        "What could not be verified": _not_verified,
    }
    made = {title: [partial(part, results, root / "figures")] for title, part in parts.items()}
    return Report(TITLE, tuple(_lead(results)), sections(made, finished=True))


def _lead(results: CloudResults) -> Iterator[Text]:
    yield Text(f"Results of one run, compared with the paper ({_PAPER}).")
    if results.synthetic:
        yield Text(SYNTHETIC, "warning")
    clips = {f"{method} of clips": results.best_clips(method) for method in Aggregation}
    parts = [
        f"{name} {number(best.scores.accuracy)}"
        for name, best in {"images": results.best_images, **clips}.items()
        if best is not None
    ]
    if parts:
        settings = f"preset {results.settings.preset}, seed {results.settings.seed}"
        yield Text(
            f"In short: accuracies on test are {', '.join(parts)} ({settings}). Of images it is that of the base that "
            "is best on dev; of clips, the highest of all versions, as in the paper."
        )


def _images(results: CloudResults, figures: Path) -> Iterator[Block]:
    if not results.images:
        raise Absent("No net of images was tested.")
    yield from image_tables(results)
    yield _nets(results)
    caption = "**Figure 2.** Confusions on test of the base that is best on dev, in percent of the true class"
    yield _figure(results, figures / "figure2.png", caption, "confusions")


def _nets(results: CloudResults) -> Table:
    columns = [Column(title, number=False) for title in ("Base", "weights", "SHA-256", "parameters")]
    columns.insert(1, Column("dev accuracy"))
    rows = [
        row(
            BASES.get(result.base, result.base), number(result.dev_accuracy), code(result.weights),
            code(result.sha256[:16]), _parameters(result.parameters),
        )
        for result in results.images
    ]  # fmt: skip
    return Table("The nets that were tested.", tuple(columns), tuple(rows))


def _parameters(parameters: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in parameters.items()) or "–"


def _searches(results: CloudResults, figures: Path) -> Iterator[Block]:
    searched = [result for result in results.images if result.course]
    if not searched:
        raise Absent("Nothing was searched: the parameters are those of the preset or given.")
    yield Text(
        "Each trial trains a net with other parameters; its objective is the error rate on the development images. The "
        "first trials are even over the space, later ones follow from a Gaussian process."
    )
    for result in searched:
        name = BASES.get(result.base, result.base)
        caption = f"The search from {name}: {_search(result)}"
        alt = f"objective by trial and by parameter, {name}"
        yield _figure(results, figures / f"search_{result.base}.png", caption, alt)


def _search(result: ImageResult) -> str:
    best = min(result.course, key=lambda trial: trial.objective)
    return f"trial {best.number + 1} of {len(result.course)} is best, with {_parameters(best.parameters)}"


def _clips(results: CloudResults, figures: Path) -> Iterator[Block]:
    if not results.clips:
        raise Absent("No clips were classified: the study was run without RAVDESS.")
    yield from clip_tables(results)
    caption = "**Figure 3.** Confusions of each method on its best version, in percent of the true class"
    yield _figure(results, figures / "figure3.png", caption, "confusions of mean, mode and LSTM")


def _transfer(results: CloudResults, figures: Path) -> Iterator[Block]:
    tables = list(transfer_tables(results))
    if not tables:
        raise Absent("No LSTM was tested.")
    yield Text("Neither paper has these numbers: what an LSTM of one quality is worth on another, and one of all.")
    yield from tables
    caption = "Accuracy of the LSTM in percent, by what it was trained and tested on"
    yield _figure(results, figures / "transfer.png", caption, "matrix")


def _figure(results: CloudResults, path: Path, caption: str, alt: str) -> Block:
    synthetic = " (synthetic)" if results.synthetic else ""
    return figure_of(path, path.stem, f"{caption}{synthetic}.", alt)


def _choices(results: CloudResults, _figures: Path) -> Iterator[Block]:
    choices = results.settings.choices

    def here(question: Question) -> str:
        return question.answer or ", ".join(_value(getattr(choices, name)) for name in question.switches)

    yield questions_table("What the text leaves open, and what was chosen.", OPEN_QUESTIONS, here)


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _run(results: CloudResults, _figures: Path) -> Iterator[Block]:
    settings = {"preset": code(results.settings.preset), "seed": str(results.settings.seed)}
    settings |= {name: _value(value) for name, value in results.settings.choices.to_json().items()}
    if results.actors is not None:
        sides = ("train", "dev", "test")
        settings |= {f"actors: {side}": _value(getattr(results.actors, side)) or "none" for side in sides}
        settings["versions of clips"] = _value([version.name for version in results.versions])
    yield pairs("Settings of the study.", settings, ("setting", "value"))
    yield software(results.software)
    bases = {result.base for result in results.images}
    yield stage_times(results.seconds, lambda stage: _kind(stage, bases))


def _kind(stage: str, bases: set[str]) -> str:
    """Return the first word of a stage's name after the base's: ``vggface2 trial 3`` is a trial."""
    words = [word for word in stage.split() if word not in bases]
    return words[0] if words else stage


def _not_verified(results: CloudResults, _figures: Path) -> Iterator[Block]:
    if results.synthetic:
        yield Text(
            "**Data.** The faces are synthetic: that these programs give the paper's numbers on FER+ and RAVDESS was "
            "not verified by this run. The same command runs on both."
        )
    yield Text(
        "**Weights of the bases.** The files of VGGFace2 and ImageNet are the user's; nothing here checks that they "
        "are those the paper began with."
    )
    yield Text(
        "**Intervals.** Those of 95 % are Wilson's, as if clips were independent of each other. Clips of an actor are "
        "not, so the intervals are too narrow."
    )
