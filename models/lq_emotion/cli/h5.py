"""``lq-emotion data h5``: training files from prepared recordings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.crops.h5 import H5Results, H5Settings, make_h5
from lq_emotion.datasets.avec.layout import Dimension, avec_name, dimension_root
from lq_emotion.datasets.avec.partitions import chosen_partitions


@dataclass(frozen=True, kw_only=True)
class H5Command(Settings):
    """Settings of ``data h5``."""

    out: Path = option(help="the output folder of `data prepare`", metavar="ROOT")
    dimension: Dimension = option(
        "valence", "label to learn; results for others than valence are in ROOT/arousal and ROOT/both"
    )
    partitions: Path | None = option(
        None, "CSV file with the columns name and partition (train, dev or test)", metavar="CSV"
    )
    files: H5Settings = field(default_factory=H5Settings)
    fresh: bool = option(False, "discard earlier results")


def _h5(settings: H5Command, say: Say) -> H5Results:
    files = settings.files
    files = replace(files, train=tuple(map(avec_name, files.train)), test=tuple(map(avec_name, files.test)))
    return make_h5(
        dimension_root(settings.out, settings.dimension), files,
        partitions=chosen_partitions(table=settings.partitions), fresh=settings.fresh, say=say,
    )  # fmt: skip


def _show(results: H5Results, _settings: H5Command) -> None:
    print(f"  {results.folder}/train.txt\n  {results.folder}/test.txt")


COMMAND = Command(H5Command, _h5, _show)
