"""``lq-emotion study``: studies, their trainings, evaluations and reports; `study rd` and `study sr` import torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from lq_emotion.cli.command import Command, imported
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.evaluation.settings import Evaluation, EvaluationSettings, Submission, SubmissionSettings
from lq_emotion.studies.cloud_robotics.plan import CloudPlan
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.training.settings import TrainingResults, TrainingSettings
from lq_emotion.workflow.study import StudySettings

if TYPE_CHECKING:
    from lq_emotion.report.build import Written
    from lq_emotion.studies.robust_lq.results import StudyResults


def study_command(
    study: str,
    settings: type[StudySettings],
    tables: Callable[[Any], str],
    files: Sequence[str],
    *,
    report: bool = True,
) -> Command[Any, Any]:
    """Return the command of a study, MODULE:NAME below `lq_emotion.studies`, which is imported when it runs.

    It writes ROOT/report with `report`, and prints the `tables` of the results and those of the `files` below ROOT that
    exist.
    """
    return Command(settings, partial(_run, study, report=report), partial(_show, tables, files))


def _run(name: str, settings: StudySettings, say: Say, *, report: bool) -> Any:
    from lq_emotion.report.build import report_on

    study = resolve_name(f"lq_emotion.studies.{name}")
    if settings.dry_run:
        return study.dry_run(settings, say)
    results = study.run(settings, say)
    if report:
        report_on(settings.root)
    return results


def _show(tables: Callable[[Any], str], files: Sequence[str], results: Any, settings: StudySettings) -> None:
    if results is None:
        return
    print(f"\n{tables(results)}")
    for path in (settings.out / name for name in ("report/report.html", *files)):
        if path.is_file():
            print(f"  {path}")


def _robust_lq(results: Sequence[StudyResults]) -> str:
    from lq_emotion.studies.robust_lq.tables import table_markdown

    return "\n".join(map(table_markdown, results))


def _show_training(results: TrainingResults, _settings: TrainingSettings) -> None:
    tests = list(results.test_loss.items())
    if tests:
        (first, first_loss), (last, last_loss) = tests[0], tests[-1]
        print(f"\ntest loss {first_loss:.4g} at iteration {first}, {last_loss:.4g} at iteration {last}")
    for path in results.files:
        print(f"  {path}")


def _evaluate(settings: EvaluationSettings, say: Say) -> Evaluation | tuple[Evaluation, ...]:
    """Return the evaluation, or those of both dimensions."""
    from lq_emotion.evaluation.evaluate import evaluate

    results = evaluate(settings, say)
    return results[0] if len(results) == 1 else results


def _show_evaluation(results: Evaluation | tuple[Evaluation, ...], settings: EvaluationSettings) -> None:
    if isinstance(results, tuple):
        for one in results:
            _show_scores(one, settings.out / one.labels)
    else:
        _show_scores(results, settings.out)


def _show_scores(results: Evaluation, out: Path) -> None:
    from caffe_compat.errors import printable
    from lq_emotion.common.plain_text import table_lines
    from lq_emotion.evaluation.tables import describe, score_table

    print()
    for line in table_lines(score_table(results)):
        print(line)
    for line in describe(results):
        print(printable(line))
    if results.files:
        for name in (*results.files, "predictions"):
            print(f"  {out / name}")


def _show_submission(results: Submission, settings: SubmissionSettings) -> None:
    for name in (*results.files, "submission.json"):
        print(f"  {settings.out / name}")


@dataclass(frozen=True, kw_only=True)
class ReportSettings(Settings):
    """Settings of ``study report``."""

    out: Path = option(help="folder of results; those of arousal are in ROOT/arousal", metavar="ROOT")


def _report(settings: ReportSettings, _say: Say) -> Written:
    from lq_emotion.report.build import report_on

    return report_on(settings.out)


def _show_report(written: Written, _settings: ReportSettings) -> None:
    for title, counts in written.sections.items():
        print(f"{title:28} {counts['tables']:>2} tables  {counts['figures']:>2} figures")
    for line in written.absent:
        print(f"absent: {line}")
    for path in (written.page, written.markdown):
        print(f"  {path}")


_ROBUST_LQ_FILES = (
    *("table/table.md", "table/valence/table.md", "table/arousal/table.md"),
    *("study/comparisons.md", "study/variants.md", "rd/rd_x264.png", "rd/rd_x265.png"),
)
ROBUST_LQ = study_command("robust_lq.study:STUDY", StudyPlan, _robust_lq, _ROBUST_LQ_FILES)
CLOUD_ROBOTICS = study_command(
    "cloud_robotics.study:STUDY",
    CloudPlan,
    imported("studies.cloud_robotics.tables:tables_markdown"),
    ("tables.md", "link/table.json"),
)
TRAIN = Command(TrainingSettings, imported("training.training_run:train"), _show_training)
EVALUATE = Command(EvaluationSettings, _evaluate, _show_evaluation)
SUBMISSION = Command(SubmissionSettings, imported("evaluation.submission:write_submission"), _show_submission)
REPORT = Command(ReportSettings, _report, _show_report)
