"""The paper's study, and the results that are made of what its stages leave.

ROOT/table has Table 1, ROOT/study its comparisons, the nets that are not in it and the figures 1 to 3, ROOT/rd Figure
4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.document import Block
from lq_emotion.common.fingerprints import file_sha256, versions
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.evaluation.settings import TOGETHER, Evaluation
from lq_emotion.evaluation.tables import read_moments
from lq_emotion.metrics.regression import mean_score
from lq_emotion.nets.names import Method
from lq_emotion.studies.robust_lq.cells import StudyCell, cells
from lq_emotion.studies.robust_lq.comparisons import Cell, Comparisons, Trainings, compare_methods
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan, with_partitions
from lq_emotion.studies.robust_lq.published import compare
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import CellResult, StudyResults, VariantResult, VariantResults
from lq_emotion.studies.robust_lq.stages import stages
from lq_emotion.studies.robust_lq.tables import comparison_tables, page_markdown, title, variant_tables, write_table
from lq_emotion.training.estimate import PlannedTraining, describe, estimate
from lq_emotion.workflow.stages import Stage
from lq_emotion.workflow.study import Study


def _estimate(plan: StudyPlan, stages: list[Stage[PlannedTraining]], say: Say) -> None:
    """Print how long the trainings will take, and write it to logs/estimate.json."""
    trainings = [stage.cost for stage in stages if stage.cost]
    estimates = estimate(trainings, threads=plan.threads)
    if estimates:
        say(describe(estimates))
        seconds = sum(training.seconds for training in estimates)
        content = {"seconds": seconds, "trainings": [training.to_json() for training in estimates]}
        (plan.root / "logs").mkdir(parents=True, exist_ok=True)
        write_json(content, plan.root / "logs" / "estimate.json")


def _results(plan: StudyPlan, seconds: Mapping[str, float | None]) -> tuple[StudyResults, ...]:
    """Read the scores that the stages left; write Table 1 of each dimension, the other nets and the comparisons."""
    by_cell, results = _by_cell(plan), []
    for dimension, folder in plan.score_folders.items():
        scored = [_scored(plan, seeds, dimension) for seeds in by_cell]
        table = StudyResults(
            synthetic=plan.synthetic,
            settings=plan,
            dimension=dimension,
            versions=versions(),
            seconds=seconds,
            cells=tuple(cell for cell in scored if isinstance(cell, CellResult)),
        )
        write_table(table, plan.root / "table" / folder)
        variants = VariantResults(tuple(cell for cell in scored if isinstance(cell, VariantResult)))
        if variants.cells:
            of = title(table).partition(" on ")[2]
            blocks = variant_tables(table, variants)
            _write(variants, f"On {of}", "Nets outside Table 1", blocks, plan.root / "study" / "variants.json")
        results.append(table)
    if Part.COMPARISONS in plan.parts:
        comparisons = _compare(plan, by_cell)
        blocks = comparison_tables(comparisons)
        _write(comparisons, "Intervals and tests", "Scores", blocks, plan.root / "study" / "comparisons.json")
    return tuple(results)


def _write(results: Record, heading: str, section: str, blocks: Iterator[Block], path: Path) -> None:
    """Write results as JSON, and their tables as Markdown next to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(results.to_json(), path)
    with atomic_path(path.with_suffix(".md")) as partial:
        partial.write_text(page_markdown(heading, section, list(blocks)), encoding="utf-8")


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


def _scored(plan: StudyPlan, seeds: Sequence[StudyCell], dimension: str) -> CellResult | VariantResult:
    """Return the scores of a cell with those of all its seeds."""
    first = seeds[0]
    files = [cell.scores / plan.score_folders[dimension] / "scores.json" for cell in seeds]
    evaluations = [read_record(plan.root / file, Evaluation) for file in files]
    each = tuple(evaluation.scores[TOGETHER] for evaluation in evaluations)
    measured = replace(mean_score(each), frames=each[0].frames)
    if isinstance(first.method, Variant):
        return VariantResult(first.method, first.factor, first.tested, first.run, measured, each)
    published, difference = compare(measured, first.method, first.factor, dimension)
    weights = Path(evaluations[0].weights)
    return CellResult(
        method=first.method,
        factor=first.factor,
        run=first.run,
        test=first.test,
        scores=files[0].as_posix(),
        weights=(weights.relative_to(plan.root) if weights.is_relative_to(plan.root) else weights).as_posix(),
        weights_sha256=file_sha256(weights),
        measured=measured,
        published=published,
        difference=difference,
        seeds=each,
    )


STUDY = Study("robust-lq", stages, _results, _result_files, _estimate, with_partitions, adopts=True)
