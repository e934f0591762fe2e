"""``lq-emotion data``: synthetic data, crops of faces, files to train on, degraded videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from caffe_compat.errors import DataError, printable
from lq_emotion.cli.command import Command
from lq_emotion.common.document import counted
from lq_emotion.common.plain_text import table_lines
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, cluster_option, option
from lq_emotion.crops.h5 import H5Results, H5Settings, make_h5
from lq_emotion.crops.prepare import Preparation, prepare, table
from lq_emotion.crops.recording import PreparationSettings
from lq_emotion.datasets.avec.layout import Layout, avec_name, dimension_root
from lq_emotion.datasets.avec.partitions import Partitions, add_partitions, chosen_partitions, partitions_of
from lq_emotion.datasets.clips.recordings import write_recordings
from lq_emotion.datasets.clips.table import ClipSettings, read_clips
from lq_emotion.datasets.synthetic.ferplus_tree import FerTreeSettings, make_ferplus
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess
from lq_emotion.video.degrade import DegradedVideo, DegradeSettings, degrade_video


def _show_recordings(_names: Sequence[str], data: SyntheticSettings) -> None:
    counts = f"{data.train} train and {data.dev} dev synthetic recordings of {data.frames} frames"
    print(printable(f"{data.out}: {counts}"))


def _show_ravdess(_names: Sequence[str], data: RavdessTreeSettings) -> None:
    print(printable(f"{data.out}: {len(data.files)} synthetic clips of {data.actors} actors"))


@dataclass(frozen=True, kw_only=True)
class PrepareCommand(Settings):
    """Settings of ``data prepare``."""

    recordings: Path | None = option(None, "your copy of AVEC 2016 or RECOLA", metavar="FOLDER")
    clips: Path | None = option(
        None, "table of your own clips: file, person, labels (docs/your_data.md)", metavar="CSV"
    )
    out: Path = option(help="output folder; writes data/bbox, data/gsd and data/raw_data below it", metavar="ROOT")
    layout: Layout = option("auto", "layout of the folder of recordings")
    names: tuple[str, ...] = option((), "recordings to prepare (default: all with labels)")
    unlabelled: bool = option(
        False, "prepare recordings without labels, too, such as AVEC's test partition (see `lq-emotion study "
        "submission`)",
    )  # fmt: skip
    partitions: Partitions | None = option(None, add=add_partitions, collect=partitions_of)
    reading: ClipSettings = field(default_factory=ClipSettings)
    crops: PreparationSettings = field(default_factory=PreparationSettings)
    boxes: Path | None = option(
        None, "folder of face boxes, NAME.mat or NAME.csv (default: detect faces)", metavar="FOLDER", group="faces"
    )
    jobs: int = option(1, "recordings in parallel", least=1, group="work")
    cluster: str | None = cluster_option("work")
    fresh: bool = option(False, "discard earlier results", group="work")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.recordings is None) == (self.clips is None):
            hint = "pass either --recordings FOLDER or --clips CSV"
            raise DataError("one source is expected", code="conflict", field="--recordings", hint=hint)
        if self.clips is not None and self.partitions is not None:
            problem, hint = "states the partitions of recordings", "clips have a column `partition`, or --split"
            raise DataError(problem, code="conflict", field="--train, --dev, --partitions", hint=hint)


def _prepare(settings: PrepareCommand, say: Say) -> Preparation:
    recordings, names, partitions = _recordings(settings, say)
    outcomes = prepare(
        recordings, dimension_root(settings.out, settings.crops.dimension), settings.crops, layout=settings.layout,
        names=names, partitions=partitions, boxes=settings.boxes, unlabelled=settings.unlabelled, jobs=settings.jobs,
        cluster=settings.cluster, fresh=settings.fresh, say=say,
    )  # fmt: skip
    return Preparation(tuple(outcomes))


def _recordings(settings: PrepareCommand, say: Say) -> tuple[Path, Sequence[str], Partitions | None]:
    """Return the folder of recordings, the names of those to prepare, and their partitions; clips are copied first."""
    if settings.recordings is not None:
        return settings.recordings, settings.names, settings.partitions
    assert settings.clips is not None  # one of both is given
    clips, dimension = read_clips(settings.clips, settings.reading), settings.crops.dimension
    if dimension not in clips.dimensions:
        hint = f"the labels are {', '.join(clips.names)}"
        raise DataError("no such label", code="name-unknown", file=clips.path, field=dimension, hint=hint)
    folder = settings.out / "recordings"
    partitions = write_recordings(clips, folder, fresh=settings.fresh, say=say)
    return folder, settings.names or [clip.name for clip in clips.clips], partitions


def _show_prepared(preparation: Preparation, _settings: PrepareCommand) -> None:
    print("", *table_lines(table(preparation.recordings)), sep="\n")


def _failures(preparation: Preparation) -> list[str]:
    failed = [outcome.name for outcome in preparation.recordings if outcome.status == "failed"]
    return [f"{len(failed)} of {len(preparation.recordings)} failed: {', '.join(failed)}"] if failed else []


@dataclass(frozen=True, kw_only=True)
class H5Command(Settings):
    """Settings of ``data h5``."""

    out: Path = option(
        help="the output folder of `data prepare`; for other labels than valence ROOT/arousal or ROOT/both",
        metavar="ROOT",
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
        settings.out, files, partitions=chosen_partitions(table=settings.partitions), fresh=settings.fresh, say=say
    )  # fmt: skip


def _show_h5(results: H5Results, _settings: H5Command) -> None:
    print(f"  {results.folder}/train.txt\n  {results.folder}/test.txt")


def _degrade(settings: DegradeSettings, _say: Say) -> DegradedVideo:
    from tqdm import tqdm

    with tqdm(desc=printable(settings.video.name), unit=" frames", disable=None, leave=False) as bar:
        return degrade_video(settings, bar.update)


def _show_degraded(result: DegradedVideo, settings: DegradeSettings) -> None:
    rate = "" if result.rate is None else f", {result.rate / 1000:.1f} kbit/s"
    print(
        printable(f"{settings.out}: {counted(result.frames, 'frame')} of {result.width} x {result.height} in ")
        + f"{result.seconds:.2f} s, {result.bits} bits, {result.bpp:.4f} per pixel{rate}"
    )


RECORDINGS = Command(SyntheticSettings, make_recordings, _show_recordings, json=False)
RAVDESS = Command(RavdessTreeSettings, make_ravdess, _show_ravdess, json=False)
FERPLUS = Command(FerTreeSettings, make_ferplus, json=False)
PREPARE = Command(PrepareCommand, _prepare, _show_prepared, _failures)
H5 = Command(H5Command, _h5, _show_h5)
DEGRADE = Command(DegradeSettings, _degrade, _show_degraded)
