"""``lq-emotion verify``: whether files of weights are whole, recognised, and the same to every engine."""

from __future__ import annotations

import sys

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.verify.settings import PASSED, Verification, VerifySettings


def _verify(settings: VerifySettings, say: Say) -> Verification:
    from lq_emotion.verify.checks import verify

    result = verify(settings, say)
    if result.verdict != PASSED and result.against and settings.keeps_earlier:
        message = "is unchanged: a failed result does not replace one that passed (--fresh replaces without comparing)"
        print(f"lq-emotion: {settings.out} {message}", file=sys.stderr)
    return result


def _show(result: Verification, settings: VerifySettings) -> None:
    from lq_emotion.common.plain_text import plain_text
    from lq_emotion.verify.tables import differences, tables, verdict

    print("\n".join(plain_text([*differences(result), *tables(result), verdict(result)])))
    if result.verdict == PASSED:
        print(f"  {settings.out}")


def _failures(result: Verification) -> list[str]:
    return [] if result.verdict == PASSED else ["the weights did not pass"]


COMMAND = Command(VerifySettings, _verify, _show, _failures)
