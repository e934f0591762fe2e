"""The part LINK: what coded video costs and how well the LSTM of all versions does on it, for ``lq-emotion link``."""

from __future__ import annotations

from pathlib import Path

from lq_emotion.common.json_files import write_json
from lq_emotion.common.progress import Say
from lq_emotion.crops.versions import Version
from lq_emotion.studies.cloud_robotics.clips import answers, clips_of, read_features
from lq_emotion.studies.cloud_robotics.link.measured import MeasuredCell, clip_cost, operating_points
from lq_emotion.studies.cloud_robotics.plan import ALL, CloudPlan


def table_path(plan: CloudPlan) -> Path:
    """Return the file that ``lq-emotion link --table`` takes."""
    return plan.out / "link" / "table.json"


def do_coded(plan: CloudPlan, _say: Say) -> None:
    """Write the table of coded versions: the rate of the test clips, and the accuracy of the LSTM of all versions."""
    decided = answers(plan, ALL, plan.coded)
    cells = [_cell(plan, version, decided[version.name]) for version in plan.coded]
    write_json(operating_points(cells, f"lstm-{ALL}").to_json(), table_path(plan))


def _cell(plan: CloudPlan, version: Version, decided: dict[str, int]) -> MeasuredCell:
    clips = clips_of(plan, plan.split.test)
    features = [read_features(plan, version, clip) for clip in clips]
    return MeasuredCell(
        version,
        costs=tuple(clip_cost(clip.times, clip.bits) for clip in features),
        correct=tuple(decided[clip.name] == clip.label for clip in clips),
        actors=tuple(f"{clip.actor:02}" for clip in clips),
    )
