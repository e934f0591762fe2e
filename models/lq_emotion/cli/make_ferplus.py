"""``lq-emotion data make ferplus``: draw images in the forms of FER+."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.synthetic.ferplus_tree import FerTreeSettings, make_ferplus


@dataclass(frozen=True, kw_only=True)
class MakeSettings(Settings):
    """Settings of ``data make ferplus``."""

    out: Path = option(help="a new folder, or one from an earlier run", metavar="DIR")
    data: FerTreeSettings = field(default_factory=FerTreeSettings)
    fresh: bool = option(False, "discard earlier images")


def _make(settings: MakeSettings, say: Say) -> None:
    make_ferplus(settings.out, settings.data, fresh=settings.fresh, say=say)


COMMAND = Command(MakeSettings, _make, json=False)
