"""The paper's study, and the results that are made of what its stages leave.

ROOT/table has Table 1, ROOT/study its comparisons, the nets that are not in it and the figures 1 to 3, ROOT/rd Figure
4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lq_emotion.common.document import Block
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.common.versions import versions
from lq_emotion.evaluation.settings import TOGETHER, Evaluation
from lq_emotion.evaluation.tables import read_moments
from lq_emotion.metrics.regression import Score, mean_score
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.cells import StudyCell, cells
from lq_emotion.studies.robust_lq.comparisons import Cell, Comparisons, Trainings, compare_methods
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan, with_partitions
from lq_emotion.studies.robust_lq.published import compare
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import (
    CellResult,
    StudyResults,
    Tables,
    VariantResult,
    VariantResults,
    WeightsFile,
)
from lq_emotion.studies.robust_lq.stages import stages
from lq_emotion.studies.robust_lq.table import title
from lq_emotion.studies.robust_lq.tables import comparison_tables, variant_tables, write_markdown, write_table
from lq_emotion.training.estimate import PlannedTraining, describe, estimate
from lq_emotion.workflow.stages import Stage
from lq_emotion.workflow.study import Study


def _estimate(plan: StudyPlan, stages: list[Stage[PlannedTraining]], say: Say) -> None:
    """Print how long the trainings will take, and write it to logs/estimate.json."""
    trainings = [stage.cost for stage in stages if stage.cost]
    estimates = estimate(trainings, plan.switches, threads=plan.threads, device=plan.device)
    if estimates:
        say(describe(estimates))
        seconds = sum(training.seconds for training in estimates)
        content = {"seconds": seconds, "trainings": [training.to_json() for training in estimates]}
        (plan.root / "logs").mkdir(parents=True, exist_ok=True)
        write_json(content, plan.root / "logs" / "estimate.json")


def _results(plan: StudyPlan, seconds: Mapping[str, float | None]) -> Tables:
    """Read the scores that the stages left; write Table 1, the other nets and the comparisons."""
    by_cell, tables = _by_cell(plan), []
    for dimension, folder in plan.score_folders.items():
        table = StudyResults(
            synthetic=plan.synthetic,
            settings=plan,
            dimension=dimension,
            versions=versions(),
            seconds=seconds,
            cells=tuple(_cell(plan, seeds, dimension) for seeds in by_cell if isinstance(seeds[0].method, Method)),
        )
        write_table(table, plan.root / "table" / folder)
        variants = VariantResults(tuple(_variants(plan, by_cell, dimension)))
        if variants.cells:
            of = title(table).partition(" on ")[2]
            blocks = variant_tables(table, variants)
            _write(variants, f"On {of}", "Nets outside Table 1", blocks, plan.root / "study" / "variants.json")
        tables.append(table)
    if Part.COMPARISONS in plan.parts:
        comparisons = _compare(plan, by_cell)
        blocks = comparison_tables(comparisons)
        _write(comparisons, "Intervals and tests", "Scores", blocks, plan.root / "study" / "comparisons.json")
    return Tables(tuple(tables))


def _write(results: Record, heading: str, section: str, blocks: Iterator[Block], path: Path) -> None:
    """Write results as JSON, and their tables as Markdown next to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(results.to_json(), path)
    write_markdown(heading, section, blocks, path.with_suffix(".md"))


def _result_files(plan: StudyPlan) -> Iterator[Path]:
    """Yield the files that `_results` writes."""
    for folder in plan.score_folders.values():
        yield from (plan.root / "table" / folder / f"table.{kind}" for kind in ("json", "csv", "md", "tex", "png"))
    with_variants = {Part.MISMATCH, Part.ABLATIONS} & {*plan.parts}
    for name, is_made in {"variants": with_variants, "comparisons": Part.COMPARISONS in plan.parts}.items():
        if is_made:
            yield from (plan.root / "study" / f"{name}.{kind}" for kind in ("json", "md"))


def _compare(plan: StudyPlan, by_cell: Sequence[tuple[StudyCell, ...]]) -> Comparisons:
    """Return intervals of the scores, and tests of their differences."""
    moments: dict[Cell, Trainings] = {
        (seeds[0].method, seeds[0].tested): {
            cell.training.seed: read_moments(plan.root / cell.scores) for cell in seeds
        }
        for seeds in by_cell
        if seeds[0].method in (*Method, Variant.HR_ON_LR)
    }
    return compare_methods(moments, random_seed=plan.seed, dimension=plan.dimension)


def _by_cell(plan: StudyPlan) -> list[tuple[StudyCell, ...]]:
    """Return the cells with those of all seeds together, that of the first seed first."""
    by_cell: dict[tuple[object, ...], list[StudyCell]] = {}
    for cell in cells(plan):
        by_cell.setdefault((cell.method, cell.factor, cell.tested), []).append(cell)
    return [tuple(seeds) for seeds in by_cell.values()]


def _cell(plan: StudyPlan, seeds: Sequence[StudyCell], dimension: str) -> CellResult:
    first = seeds[0]
    assert isinstance(first.method, Method)
    weights = Path(_evaluation(plan, first, dimension).weights)
    each = tuple(_measured(plan, cell, dimension) for cell in seeds)
    measured = _mean(each)
    published, difference = compare(measured, first.method, first.factor, dimension)
    return CellResult(
        method=first.method,
        factor=first.factor,
        run=first.run,
        test=first.test,
        scores=_scores(plan, first, dimension).as_posix(),
        weights=WeightsFile(_below(weights, plan.root), file_sha256(weights)),
        measured=measured,
        published=published,
        difference=difference,
        seeds=each,
    )


def _variants(plan: StudyPlan, by_cell: Sequence[tuple[StudyCell, ...]], dimension: str) -> Iterator[VariantResult]:
    for seeds in by_cell:
        first = seeds[0]
        if isinstance(first.method, Variant):
            each = tuple(_measured(plan, cell, dimension) for cell in seeds)
            yield VariantResult(first.method, first.factor, first.tested, first.run, _mean(each), each)


def _scores(plan: StudyPlan, cell: StudyCell, dimension: str) -> Path:
    """Return the file with the scores of a cell, relative to ROOT."""
    return cell.scores / plan.score_folders[dimension] / "scores.json"


def _evaluation(plan: StudyPlan, cell: StudyCell, dimension: str) -> Evaluation:
    return read_record(plan.root / _scores(plan, cell, dimension), Evaluation)


def _measured(plan: StudyPlan, cell: StudyCell, dimension: str) -> Score:
    return _evaluation(plan, cell, dimension).scores[TOGETHER]


def _mean(each: Sequence[Score]) -> Score:
    """Return the mean over seeds, which have the same frames."""
    return replace(mean_score(each), frames=each[0].frames)


def _below(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


STUDY = Study("robust-lq", stages, _results, _result_files, _estimate, with_partitions, adopts=True)
