"""Settings of a table of clips: where changing labels are, and how persons are split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.clips.split import Split
from lq_emotion.datasets.clips.table import ClipTable, read_clips


@dataclass(frozen=True, kw_only=True)
class ClipSettings(Settings):
    """How a table of clips is read."""

    frame_labels: Path | None = option(
        None, "labels that change within clips: file, time in seconds, and a column for each dimension",
        metavar="CSV", group="clips",
    )  # fmt: skip
    split: tuple[float, float, float] = option(
        (0.6, 0.2, 0.2), "parts of the persons, unless the table has a column `partition`", least=0,
        metavar=("TRAIN", "DEV", "TEST"), group="clips",
    )  # fmt: skip
    split_seed: int = option(0, "seed of the order in which persons are split", least=0, group="clips")

    def read(self, table: Path) -> ClipTable:
        """Read a table of clips.

        Raises
        ------
        CaffeCompatError
        """
        train, dev, test = self.split
        return read_clips(table, frame_labels=self.frame_labels, split=Split(train, dev, test, self.split_seed))
