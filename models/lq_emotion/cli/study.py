"""The command of a study: its settings are the options; it prints the tables and writes the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.workflow.study import Study, StudySettings


def study_command(
    study: Study[Any, Any],
    settings: type[StudySettings],
    tables: Callable[[Any], str],
    files: Sequence[str],
    *,
    report: bool = True,
) -> Command[Any, Any]:
    """Return the command of a study.

    Parameters
    ----------
    study, settings : the study and its settings.
    tables : returns the tables of the results as text.
    files : files below ROOT to name at the end, where they exist.
    report : write ROOT/report, too.
    """
    return Command(settings, partial(_run, study, report=report), partial(_show, tables, files))


def _run(study: Study[Any, Any], settings: StudySettings, say: Say, *, report: bool) -> Any:
    from lq_emotion.report.build import report_on

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
