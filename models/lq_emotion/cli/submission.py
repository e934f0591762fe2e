"""``lq-emotion study submission``: estimates for recordings without labels, in the form of AVEC's gold standard."""

from __future__ import annotations

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.evaluation.settings import Submission, SubmissionSettings


def _submission(settings: SubmissionSettings, say: Say) -> Submission:
    from lq_emotion.evaluation.submission import write_submission

    return write_submission(settings, say)


def _show(results: Submission, settings: SubmissionSettings) -> None:
    for name in (*results.files, "submission.json"):
        print(f"  {settings.out / name}")


COMMAND = Command(SubmissionSettings, _submission, _show)
