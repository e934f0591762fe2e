"""``lq-emotion data make``: draw synthetic data in the layout of a published data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.synthetic.ferplus_tree import FerTreeSettings, make_ferplus
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess


@dataclass(frozen=True, kw_only=True)
class MakeSettings(Settings):
    """Settings of every ``data make``."""

    out: Path = option(help="a new folder, or one from an earlier run", metavar="DIR")
    fresh: bool = option(False, "discard earlier data")


@dataclass(frozen=True, kw_only=True)
class RecordingsSettings(MakeSettings):
    """Settings of ``data make recordings``."""

    data: SyntheticSettings = field(default_factory=SyntheticSettings)
    jobs: int = option(1, "recordings in parallel", least=1)


@dataclass(frozen=True, kw_only=True)
class RavdessSettings(MakeSettings):
    """Settings of ``data make ravdess``."""

    data: RavdessTreeSettings = field(default_factory=RavdessTreeSettings)
    jobs: int = option(1, "clips in parallel", least=1)


@dataclass(frozen=True, kw_only=True)
class FerplusSettings(MakeSettings):
    """Settings of ``data make ferplus``."""

    data: FerTreeSettings = field(default_factory=FerTreeSettings)


def _recordings(settings: RecordingsSettings, say: Say) -> None:
    make_recordings(settings.out, settings.data, jobs=settings.jobs, fresh=settings.fresh, say=say)
    data = settings.data
    say(f"{settings.out}: {data.train} train and {data.dev} dev synthetic recordings of {data.frames} frames")


def _ravdess(settings: RavdessSettings, say: Say) -> None:
    make_ravdess(settings.out, settings.data, jobs=settings.jobs, fresh=settings.fresh, say=say)
    say(f"{settings.out}: {len(settings.data.files)} synthetic clips of {settings.data.actors} actors")


def _ferplus(settings: FerplusSettings, say: Say) -> None:
    make_ferplus(settings.out, settings.data, fresh=settings.fresh, say=say)


RECORDINGS = Command(RecordingsSettings, _recordings, json=False)
RAVDESS = Command(RavdessSettings, _ravdess, json=False)
FERPLUS = Command(FerplusSettings, _ferplus, json=False)
