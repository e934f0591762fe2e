"""``lq-emotion study evaluate`` and ``study submission``: predictions and scores of a trained net."""

from __future__ import annotations

from pathlib import Path

from lq_emotion.cli.command import Command, imported
from lq_emotion.common.progress import Say
from lq_emotion.evaluation.settings import Evaluation, EvaluationSettings, Submission, SubmissionSettings


def _evaluate(settings: EvaluationSettings, say: Say) -> Evaluation | tuple[Evaluation, ...]:
    """Return the evaluation, or those of both dimensions."""
    from lq_emotion.evaluation.evaluate import evaluate

    results = evaluate(settings, say)
    return results[0] if len(results) == 1 else results


def _show(results: Evaluation | tuple[Evaluation, ...], settings: EvaluationSettings) -> None:
    if isinstance(results, tuple):
        for one in results:
            _report(one, settings.out / one.labels)
    else:
        _report(results, settings.out)


def _report(results: Evaluation, out: Path) -> None:
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


EVALUATE = Command(EvaluationSettings, _evaluate, _show)
SUBMISSION = Command(SubmissionSettings, imported("evaluation.submission:write_submission"), _show_submission)
