"""``lq-emotion study run cloud-robotics``: the second paper's study, from FER+ and RAVDESS to a report."""

from __future__ import annotations

from lq_emotion.cli.study import study_command
from lq_emotion.studies.cloud_robotics.plan import CloudPlan
from lq_emotion.studies.cloud_robotics.study import STUDY
from lq_emotion.studies.cloud_robotics.tables import tables_markdown

COMMAND = study_command(STUDY, CloudPlan, tables_markdown, ("tables.md", "link/table.json"))
