"""The second paper's study, and the results that are made of what its stages leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import write_json
from lq_emotion.common.versions import versions
from lq_emotion.datasets.ravdess import EMOTIONS
from lq_emotion.evaluation.aggregation import AGGREGATIONS
from lq_emotion.metrics.classification import class_scores
from lq_emotion.studies.cloud_robotics.clips import Decisions, read_decisions
from lq_emotion.studies.cloud_robotics.figures import draw_figures
from lq_emotion.studies.cloud_robotics.images import read_result
from lq_emotion.studies.cloud_robotics.plan import CloudPlan, Part
from lq_emotion.studies.cloud_robotics.results import FILE, ClipResult, CloudResults
from lq_emotion.studies.cloud_robotics.stages import stages
from lq_emotion.studies.cloud_robotics.tables import tables_markdown
from lq_emotion.workflow.study import Study


def _results(plan: CloudPlan, seconds: Mapping[str, float | None]) -> CloudResults:
    """Read the results of the stages; write study.json, tables.md and the figures."""
    has_clips = {*plan.parts} != {Part.IMAGES}
    results = CloudResults(
        synthetic=plan.synthetic,
        settings=plan,
        actors=plan.split if has_clips else None,
        versions=plan.versions if has_clips else (),
        images=tuple(read_result(plan, name) for name in plan.weights),
        clips=tuple(_clip_results(plan)) if has_clips else (),
        seconds=seconds,
        software=versions(),
    )
    write_json(results.to_json(), plan.out / FILE)
    with atomic_path(plan.out / "tables.md") as partial:
        partial.write_text(tables_markdown(results), encoding="utf-8")
    draw_figures(results, plan.out / "figures")
    return results


def _clip_results(plan: CloudPlan) -> Iterator[ClipResult]:
    for name in (*AGGREGATIONS, *(f"lstm-{name}" for name in plan.regimes)):
        yield from clip_results(read_decisions(plan, name), {clip.name: clip.label for clip in plan.clips})


def clip_results(decisions: Decisions, labels: Mapping[str, int]) -> Iterator[ClipResult]:
    """Yield the confusions of a method in each version, from the numbers of the clips' emotions."""
    for version, answers in decisions.answers.items():
        scores = class_scores(list(answers.values()), [labels[clip] for clip in answers], len(EMOTIONS))
        confusion = tuple(tuple(row) for row in scores.confusion.tolist())
        yield ClipResult(method=decisions.method, trained=decisions.trained, version=version, confusion=confusion)


def _result_files(plan: CloudPlan) -> list[Path]:
    """Return the files that `_results` writes."""
    clips = () if {*plan.parts} == {Part.IMAGES} else ("figure3", "transfer")
    searches = (f"search_{name}" for name in plan.weights) if plan.trials else ()
    figures = (f"figures/{name}.png" for name in ("figure2", *clips, *searches))
    return [plan.out / name for name in (FILE, "tables.md", *figures)]


STUDY = Study("cloud-robotics", stages, _results, _result_files)
