"""``lq-emotion study report``: the report of a folder of results, as an HTML page and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.avec.layout import dimension_root
from lq_emotion.report.build import Written, report_on


@dataclass(frozen=True, kw_only=True)
class ReportSettings(Settings):
    """Settings of ``study report``."""

    out: Path = option(help="the folder to report on", metavar="ROOT")
    dimension: Literal["valence", "arousal"] = option("valence", "dimension of the labels")


def _report(settings: ReportSettings, _say: Say) -> Written:
    return report_on(dimension_root(settings.out, settings.dimension))


def _show(written: Written, _settings: ReportSettings) -> None:
    for title, counts in written.sections.items():
        print(f"{title:28} {counts['tables']:>2} tables  {counts['figures']:>2} figures")
    for line in written.absent:
        print(f"absent: {line}")
    for path in (written.page, written.markdown):
        print(f"  {path}")


COMMAND = Command(ReportSettings, _report, _show)
