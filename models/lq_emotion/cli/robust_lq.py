"""``lq-emotion study run robust-lq``: the first paper's study, from recordings to a report."""

from __future__ import annotations

from collections.abc import Sequence

from lq_emotion.cli.study import study_command
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.studies.robust_lq.results import StudyResults
from lq_emotion.studies.robust_lq.study import STUDY
from lq_emotion.studies.robust_lq.tables import table_markdown

_FILES = (
    *("table/table.md", "table/valence/table.md", "table/arousal/table.md"),
    *("study/comparisons.md", "study/variants.md", "rd/rd_x264.png", "rd/rd_x265.png"),
)


def _tables(results: Sequence[StudyResults]) -> str:
    return "\n".join(map(table_markdown, results))


COMMAND = study_command(STUDY, StudyPlan, _tables, _FILES)
