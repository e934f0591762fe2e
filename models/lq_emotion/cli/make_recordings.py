"""``lq-emotion data make recordings``: a synthetic package to try everything with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings, summary


@dataclass(frozen=True, kw_only=True)
class MakeSettings(Settings):
    """Settings of ``data make recordings``."""

    out: Path = option(help="a new folder, or one from an earlier run", metavar="DIR")
    data: SyntheticSettings = field(default_factory=SyntheticSettings)
    jobs: int = option(1, "recordings in parallel", least=1)
    fresh: bool = option(False, "discard earlier recordings")


def _make(settings: MakeSettings, say: Say) -> None:
    make_recordings(settings.out, settings.data, jobs=settings.jobs, fresh=settings.fresh, say=say)
    say(summary(settings.out))


COMMAND = Command(MakeSettings, _make, json=False)
