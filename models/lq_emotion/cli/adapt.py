"""``lq-emotion adapt``: fine-tune a net on the user's own clips."""

from __future__ import annotations

from lq_emotion.cli.command import Command, imported
from lq_emotion.training.adapt.settings import AdaptationResults, AdaptSettings


def _show(results: AdaptationResults, settings: AdaptSettings) -> None:
    report = (settings.out / "report.md").read_text(encoding="utf-8")
    print(f"\n{report}\n  {settings.out / results.weights}")


COMMAND = Command(AdaptSettings, imported("training.adapt.adaptation:adapt"), _show)
