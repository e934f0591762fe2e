"""The study of the second paper: its stages are run where they are missing, and its results made of what they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lq_emotion.common.json_files import write_json
from lq_emotion.common.lock import locked
from lq_emotion.common.versions import versions
from lq_emotion.datasets.ravdess.clips import EMOTIONS
from lq_emotion.evaluation.aggregation import AGGREGATIONS
from lq_emotion.metrics.classification import class_scores
from lq_emotion.studies.cloud_robotics.clips import Decisions, read_decisions
from lq_emotion.studies.cloud_robotics.figures import draw_figures
from lq_emotion.studies.cloud_robotics.images import read_result
from lq_emotion.studies.cloud_robotics.plan import CloudPlan, Part, check
from lq_emotion.studies.cloud_robotics.results import FILE, ClipResult, CloudResults
from lq_emotion.studies.cloud_robotics.stages import Stage, ledger, stages
from lq_emotion.studies.cloud_robotics.tables import write_tables
from lq_emotion.workflow.stages import perform

Say = Callable[[str], None]


@dataclass
class CloudStudy:
    """The study.

    Attributes
    ----------
    plan : what is to be run.
    jobs : stages at a time.
    cluster : address of the Dask scheduler whose workers run the stages instead; see `workflow.stages.perform`.
    say : called with each line for the user.
    """

    plan: CloudPlan
    jobs: int = 1
    cluster: str | None = None
    say: Say = print

    def todo(self) -> list[tuple[Stage, bool]]:
        """Return every stage, and whether it is done."""
        done = ledger(self.plan)
        return [(stage, done.is_done(stage)) for stage in stages(self.plan)]

    def run(self) -> CloudResults:
        """Do what is missing, write ROOT/study.json, tables.md and figures, and return the results.

        Raises
        ------
        CaffeCompatError, OSError
            A stage failed; what does not need it is done, and the same command goes on from there. Or another process
            works in the folder.
        """
        check(self.plan)
        with locked(self.plan.out, "study"):
            return self._run()

    def _run(self) -> CloudResults:
        plan = self.plan
        todo, done = stages(plan), ledger(plan)
        perform(todo, done, jobs=self.jobs, cluster=self.cluster, say=self.say)
        has_clips = {*plan.parts} != {Part.IMAGES}
        results = CloudResults(
            synthetic=plan.synthetic,
            preset=plan.preset,
            seed=plan.seed,
            choices=plan.choices.to_json(),
            actors=plan.split if has_clips else None,
            versions=plan.versions if has_clips else (),
            images=tuple(read_result(plan, name) for name in plan.weights),
            clips=tuple(_clip_results(plan)) if has_clips else (),
            seconds={stage.name: done.seconds(stage.name) for stage in todo},
            software=versions(),
        )
        write_json(results.to_json(), plan.out / FILE)
        write_tables(results, plan.out / "tables.md")
        draw_figures(results, plan.out / "figures")
        return results


def _clip_results(plan: CloudPlan) -> Iterator[ClipResult]:
    for name in (*AGGREGATIONS, *(f"lstm-{name}" for name in plan.regimes)):
        yield from clip_results(read_decisions(plan, name), {clip.name: clip.label for clip in plan.clips})


def clip_results(decisions: Decisions, labels: Mapping[str, int]) -> Iterator[ClipResult]:
    """Yield the confusions of a method in each version.

    Parameters
    ----------
    decisions : of the method.
    labels : numbers of the clips' emotions.
    """
    for version, answers in decisions.answers.items():
        scores = class_scores(list(answers.values()), [labels[clip] for clip in answers], len(EMOTIONS))
        confusion = tuple(tuple(row) for row in scores.confusion.tolist())
        yield ClipResult(method=decisions.method, trained=decisions.trained, version=version, confusion=confusion)
