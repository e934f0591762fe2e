"""``lq-emotion data make ravdess``: draw clips in the layout of RAVDESS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess


@dataclass(frozen=True, kw_only=True)
class MakeSettings(Settings):
    """Settings of ``data make ravdess``."""

    out: Path = option(help="a new folder, or one from an earlier run", metavar="DIR")
    data: RavdessTreeSettings = field(default_factory=RavdessTreeSettings)
    jobs: int = option(1, "clips in parallel", least=1)
    fresh: bool = option(False, "discard earlier clips")


def _make(settings: MakeSettings, say: Say) -> None:
    make_ravdess(settings.out, settings.data, jobs=settings.jobs, fresh=settings.fresh, say=say)
    say(f"{settings.out}: {len(settings.data.files)} synthetic clips of {settings.data.actors} actors")


COMMAND = Command(MakeSettings, _make, json=False)
