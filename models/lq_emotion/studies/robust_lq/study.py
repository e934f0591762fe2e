"""The study of the paper: its stages are run where they are missing, and its tables made of what they leave.

ROOT/table holds Table 1, ROOT/study its comparisons, what the paper says of nets that are not in it, and the figures 1
to 3, ROOT/rd Figure 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.lock import locked
from lq_emotion.common.versions import versions
from lq_emotion.evaluation.reading import read_moments
from lq_emotion.evaluation.results import TOGETHER, Evaluation
from lq_emotion.metrics.regression import Score, mean_score
from lq_emotion.nets.names import Method, Net
from lq_emotion.nets.switches import changed_settings
from lq_emotion.studies.robust_lq.cells import StudyCell, cells
from lq_emotion.studies.robust_lq.comparisons import Cell, Trainings, compare_methods
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan, check
from lq_emotion.studies.robust_lq.published import compare
from lq_emotion.studies.robust_lq.recipes import Variant
from lq_emotion.studies.robust_lq.results import (
    CellResult,
    StudyResults,
    VariantResult,
    VariantResults,
    WeightsFile,
)
from lq_emotion.studies.robust_lq.stages import ledger, stages
from lq_emotion.studies.robust_lq.table import title
from lq_emotion.studies.robust_lq.tables import comparison_tables, variant_tables, write_markdown, write_table
from lq_emotion.training.estimate import PlannedTraining, estimate
from lq_emotion.workflow.stages import Ledger, Stage, perform

Say = Callable[[str], None]


@dataclass
class Study:
    """The study.

    Attributes
    ----------
    plan : what is to be run.
    jobs : stages at a time.
    cluster : address of the Dask scheduler whose workers run the stages instead; see `workflow.stages.perform`.
    say : called with each line for the user.
    """

    plan: StudyPlan
    jobs: int = 1
    cluster: str | None = None
    say: Say = print

    def todo(self) -> list[tuple[Stage[PlannedTraining], bool]]:
        """Return every stage, and whether it is done."""
        done = ledger(self.plan)
        return [(stage, done.is_done(stage)) for stage in stages(self.plan)]

    def estimate(self) -> None:
        """Say how long the trainings that are missing will take; table/logs/estimate.json holds it for programs."""
        plan = self.plan
        trainings = [stage.cost for stage, done in self.todo() if stage.cost and not done]
        estimates = estimate(trainings, plan.switches, threads=plan.threads, device=plan.device)
        if estimates.trainings:
            self.say(str(estimates))
            plan.logs.mkdir(parents=True, exist_ok=True)
            write_json(estimates.to_json(), plan.logs / "estimate.json")

    def run(self) -> StudyResults:
        """Do what is missing, and return what table.json holds; of several dimensions, that of valence.

        Raises
        ------
        CaffeCompatError, OSError
            See `tables`.
        """
        return self.tables()[0]

    def tables(self) -> tuple[StudyResults, ...]:
        """Do what is missing, and return what the table.json of each dimension holds.

        Raises
        ------
        CaffeCompatError, OSError
            A stage failed; what does not need it is done, and the same command goes on from there. Or another process
            works in the folder.
        """
        check(self.plan)
        with locked(self.plan.out, "study"):
            return self._tables()

    def _tables(self) -> tuple[StudyResults, ...]:
        self.estimate()
        done = ledger(self.plan)
        perform(stages(self.plan), done, jobs=self.jobs, cluster=self.cluster, say=self.say)
        by_cell = _by_cell(self.plan)
        tables = []
        for dimension, folder in self.plan.score_folders.items():
            results = self._results(done, by_cell, dimension)
            write_table(results, self.plan.out / "table" / folder)
            variants = VariantResults(tuple(_variants(self.plan, by_cell, dimension)))
            if variants.cells:
                self._write_variants(results, variants)
            tables.append(results)
        if Part.COMPARISONS in self.plan.parts:
            self._compare(by_cell)
        return tuple(tables)

    def _write_variants(self, results: StudyResults, variants: VariantResults) -> None:
        """Write study/variants.json and .md."""
        folder = self.plan.out / "study"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(variants.to_json(), folder / "variants.json")
        of = title(results).partition(" on ")[2]
        write_markdown(f"On {of}", "Nets outside Table 1", variant_tables(results, variants), folder / "variants.md")

    def _compare(self, by_cell: Sequence[tuple[StudyCell, ...]]) -> None:
        """Write study/comparisons.json and .md."""
        plan = self.plan
        moments: dict[Cell, Trainings] = {
            (seeds[0].method, seeds[0].tested): {
                cell.training.seed: read_moments(plan.out / cell.scores) for cell in seeds
            }
            for seeds in by_cell
            if seeds[0].method in (*Method, Variant.HR_ON_LR)
        }
        comparisons = compare_methods(moments, random_seed=plan.seed, dimension=plan.dimension)
        folder = plan.out / "study"
        folder.mkdir(exist_ok=True)
        write_json(comparisons.to_json(), folder / "comparisons.json")
        write_markdown("Intervals and tests", "Scores", comparison_tables(comparisons), folder / "comparisons.md")

    def _results(self, done: Ledger, by_cell: Sequence[tuple[StudyCell, ...]], dimension: str) -> StudyResults:
        plan = self.plan
        return StudyResults(
            synthetic=plan.synthetic,
            recordings=str(plan.recordings),
            preset=plan.preset,
            changes={net: plan.preset_of(net) for net in (*Net, "sr")},
            max_factor=plan.largest_factor,
            mixture=plan.mixture,
            switches=changed_settings(plan.switches),
            sr_images="faces" if plan.natural is None else str(plan.natural),
            dimension=dimension,
            delay=plan.delay,
            seed=plan.seed,
            seeds=plan.seeds,
            threads=plan.threads,
            device=plan.device,
            scales=plan.scales,
            versions=versions(),
            seconds={stage.name: done.seconds(stage.name) for stage in stages(plan)},
            cells=tuple(_cell(plan, seeds, dimension) for seeds in by_cell if isinstance(seeds[0].method, Method)),
        )


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
        weights=WeightsFile(_below(weights, plan.out), file_sha256(weights)),
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
    return read_record(plan.out / _scores(plan, cell, dimension), Evaluation)


def _measured(plan: StudyPlan, cell: StudyCell, dimension: str) -> Score:
    return _evaluation(plan, cell, dimension).scores[TOGETHER]


def _mean(each: Sequence[Score]) -> Score:
    """Return the mean over seeds, which have the same frames."""
    return replace(mean_score(each), frames=each[0].frames)


def _below(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
