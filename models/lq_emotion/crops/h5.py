"""HDF5 training files from prepared crops: train.h5, test.h5 and their lists for HDF5Data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import h5py

from caffe_compat.errors import DataError, FileError, did_you_mean
from caffe_compat.formats.files import new_hdf5
from lq_emotion.common.fingerprints import fingerprint, named_hashes
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.lists import write_list
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, option
from lq_emotion.crops.prepare import RESULTS as PREPARED
from lq_emotion.crops.prepare import prepared_recordings
from lq_emotion.datasets.avec.layout import natural_order
from lq_emotion.datasets.avec.partitions import Partitions, stored_partitions
from matlab_ports.generate_h5 import Options, WrittenH5, generate_h5
from matlab_ports.matfile import open_frames
from matlab_ports.randstream import RandStream
from matlab_ports.run_eval import read_delay, read_label_names

RESULTS = "h5.json"
CROPS = Path("data") / "raw_data"
SIDE = 96  # height and width of a crop, in pixels
OWN = "_own"  # suffix of folders with crops at their own, smaller size
_PARTITION = {"train": "train", "test": "dev"}  # Caffe's TEST phase reads the development recordings


_MADE, _MULTI = "augmentation and normalisation", "three frames per sample, for your own nets (ours take one)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class H5Settings(Settings):
    """Settings of the training files."""

    source: str = option("HQ", "crops to use, a folder in ROOT/data/raw_data: HQ, LR3, ...", name="--from")
    name: str | None = option(
        None, "name of the folder below ROOT/h5_files (default: derived from the options: HQ, mix_3_4_6)"
    )
    seed: int = option(0, "random seed; 0 is that of a fresh MATLAB session", least=0, most=2**32 - 1)
    chunk: int = option(128, "samples per chunk; by default the authors' batch size", least=1)
    train: tuple[str, ...] = option((), "recordings to train on (default: the partition train)", metavar="NAME")
    test: tuple[str, ...] = option((), "recordings to test on (default: the partition dev)", name="--dev")
    mix: tuple[float, ...] = option(
        (), "downsample every frame by a factor drawn from these", least=1, metavar="S", group=_MADE
    )
    keep_clean: bool = option(False, "with --mix: include the clean frames", group=_MADE)
    mix_epochs: int = option(1, "with --mix: write N passes, each with newly drawn factors", least=1, group=_MADE)
    augment: bool = option(False, "mirror every frame; like the script, this replaces the original", group=_MADE)
    keep_unflipped: bool = option(False, "with --augment: include the original frames", group=_MADE)
    mean_sub: bool = option(False, "subtract each file's mean", group=_MADE)
    norm: bool = option(False, "divide by each file's standard deviation", group=_MADE)
    train_statistics: bool = option(
        False, "use the mean and standard deviation of the training file for the test file (the script uses those of "
        "each file)", group=_MADE,
    )  # fmt: skip
    keep_remainder: bool = option(False, "keep the samples of the last, incomplete chunk", group=_MADE)
    triplets: Literal["repaired", "clean"] | None = option(
        None, "use three consecutive frames as channels", group=_MULTI
    )
    label_frame: Literal["first", "middle", "last"] = option("first", offered=False)
    """The frame of three whose label is used."""

    @property
    def options(self) -> Options:
        """Return the options of `generate_h5`."""
        return Options(
            mode="multi" if self.triplets else "single", mix=bool(self.mix), mix_lr=self.mix or Options.mix_lr,
            keep_clean=self.keep_clean, mix_epochs=self.mix_epochs, augmentation=self.augment,
            keep_unflipped=self.keep_unflipped, mean_sub=self.mean_sub, norm=self.norm,
            remainder="keep" if self.keep_remainder else "drop", triplets=self.triplets or "repaired",
            label_frame=self.label_frame,
        )  # fmt: skip

    def folder(self) -> str:
        """Return the name of the folder."""
        if self.name is not None:
            return self.name
        mixed = "_".join(f"{factor:g}" for factor in self.mix)
        source = f"mix_{mixed}" if self.source == "HQ" else f"{self.source}_mix_{mixed}"
        parts = [source if self.mix else self.source]
        suffixes = {
            "and_clean": self.keep_clean,
            f"epochs{self.mix_epochs}": self.mix_epochs > 1,
            "mirrored": self.augment and not self.keep_unflipped,
            "both_sides": self.keep_unflipped,
            "mean": self.mean_sub,
            "norm": self.norm,
            "of_train": self.train_statistics,
            f"{self.triplets}_triplets": self.triplets is not None,
            f"seed{self.seed}": bool(self.seed),
        }
        return "_".join(parts + [suffix for suffix, applies in suffixes.items() if applies])


@dataclasses.dataclass(frozen=True)
class PhaseResults(Record):
    """The files of one phase."""

    recordings: tuple[str, ...]
    samples: int
    """Number of samples in the crops."""
    written: int
    """Number of samples in the files; an incomplete chunk may be dropped."""
    files: tuple[str, ...]
    position: int
    """Position of the random stream after them."""
    mean: float | None
    std: float | None
    """Numbers that were subtracted, and divided by; None for none."""


@dataclasses.dataclass(frozen=True)
class H5Results(Record):
    """h5.json: the folder, its settings, dimension and delay (in seconds) of the labels, and both phases."""

    folder: str
    settings: H5Settings
    labels: str
    delay: float
    train: PhaseResults
    test: PhaseResults


def make_h5(
    out: str | Path,
    settings: H5Settings | None = None,
    *,
    partitions: Partitions | None = None,
    fresh: bool = False,
    say: Say = print,
) -> H5Results:
    """Write ROOT/h5_files/NAME/{train.h5,test.h5,train.txt,test.txt}; resume an interrupted run.

    The result is the content of h5.json, which is also the journal. The test file's random numbers follow the training
    file's, as in the authors' script. The default settings are those of the authors' HQ files; the default partitions
    those stored by prepare, else those of AVEC's names.
    """
    out, settings = Path(out), settings or H5Settings()
    parts = partitions or stored_partitions(out / "data")
    crops = {phase: _crops(out, settings, phase, parts) for phase in _PARTITION}
    _require_disjoint(settings, crops)
    preparation = _common_preparation([path for paths in crops.values() for path in paths])
    folder = out / "h5_files" / settings.folder()
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / RESULTS, root=folder)
    if not fresh and journal.details.get("settings", settings.to_json()) != settings.to_json():
        say(f"{folder} contains files of other settings, which are replaced; --name keeps both")
    details = {"folder": str(folder.resolve()), "settings": settings.to_json(), **preparation}
    results: dict[str, PhaseResults] = {}
    stream, options = RandStream(settings.seed), settings.options
    for phase, paths in crops.items():
        if phase == "test" and settings.train_statistics:
            options = dataclasses.replace(options, mean=results["train"].mean, std=results["train"].std)
        inputs = fingerprint([named_hashes(paths), settings.to_json(), options.mean, options.std, stream.position])
        if journal.is_done(phase, inputs) and not fresh:
            with contents_of(journal.path):
                earlier = results[phase] = PhaseResults.from_json(journal.details[phase])
                stream = RandStream(settings.seed, position=earlier.position)
            say(f"{phase}: {earlier.written} samples are there already")
        else:
            say(f"{phase}: {', '.join(path.stem for path in paths)}")
            written = generate_h5(
                paths, _side(settings, paths), folder / phase, settings.chunk, options, stream=stream, resume=not fresh
            )
            names = tuple(path.stem for path in paths)
            targets = tuple(str(path.resolve()) for path in written.savepaths)
            results[phase] = PhaseResults(
                names, written.samples, written.written, targets, written.position, written.mean, written.std
            )
            say(_summary(phase, written, settings))
        files = [folder / Path(name).name for name in results[phase].files]
        write_list(files, folder / f"{phase}.txt")
        journal.details.update({**details, phase: results[phase].to_json()})
        journal.note(phase, inputs, files)  # a killed run keeps the finished training file
    return H5Results(str(folder.resolve()), settings, **preparation, train=results["train"], test=results["test"])


def named_apart(source: Path, target: Path, suffix: str) -> None:
    """Write a file that links to another file's datasets, under their names and under names with a suffix.

    HDF5Data reads the datasets named after its tops; a net with several HDF5Data layers needs distinct names per file.
    """

    def link(file: h5py.File) -> None:
        for name in ("data", "label"):
            for alias in (name, f"{name}{suffix}"):
                file[alias] = h5py.ExternalLink(source.relative_to(target.parent).as_posix(), f"/{name}")

    with new_hdf5(target) as writer:
        writer.do(link)


def _crops(out: Path, settings: H5Settings, phase: str, partitions: Partitions) -> list[Path]:
    """Return the existing MAT-files of a phase, in natural order or in the order of the settings."""
    folder = out / CROPS / settings.source
    if not folder.is_dir():
        present = sorted(path.name for path in (out / CROPS).glob("*") if path.is_dir())
        hint = f"choose one of {', '.join(present)}" if present else "run `lq-emotion data prepare` first"
        raise FileError("no crops", code="not-prepared", file=folder, hint=hint)
    files = {path.stem: path for path in sorted(folder.glob("*.mat"), key=lambda path: natural_order(path.stem))}
    names: Sequence[str] = getattr(settings, phase)
    if not names:
        names = partitions.members(_PARTITION[phase], files)
        _require_complete(out, partitions, set(files), phase)
    if not names:
        choice = f"choose some of {', '.join(files)} with --{_PARTITION[phase]}"
        hint = choice if files else "run `lq-emotion data prepare` first"
        raise FileError("no recording in this partition", code="empty", file=folder, field=_PARTITION[phase], hint=hint)
    for name in names:
        if name not in files:
            hint = did_you_mean(name, files) or f"the recordings are {', '.join(files)}"
            raise DataError(
                "no crops of this recording", code="name-unknown", file=folder, field=phase, value=name, hint=hint
            )
    return [files[name] for name in dict.fromkeys(names)]


def _common_preparation(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the dimension of the labels and their delay in seconds, which all recordings must share."""
    for what, read in (("labels", _label_names), ("delay", read_delay)):
        first, *rest = paths
        for path in rest:
            if read(path) != read(first):
                raise DataError(
                    f"{first.name} was prepared with {read(first)}", code="mismatch", file=path, field=what,
                    value=read(path), hint="prepare all recordings with the same options",
                )  # fmt: skip
    return {"labels": _label_names(paths[0]), "delay": read_delay(paths[0])}


def _label_names(path: Path) -> str:
    """Return ``valence``, ``arousal`` or ``valence and arousal``; valence for crops without labels (refused later)."""
    return " and ".join(read_label_names(path)) or "valence"


def _side(settings: H5Settings, paths: Sequence[Path]) -> int:
    if not settings.source.endswith(OWN):
        return SIDE
    with open_frames(paths[0]) as frames:
        return frames.shape[0]


def _require_complete(out: Path, partitions: Partitions, stems: set[str], phase: str) -> None:
    """Raise DataError if `prepare` failed on a recording of this phase."""
    names = [outcome.name for outcome in prepared_recordings(out)]
    lacking = [name for name in partitions.members(_PARTITION[phase], names) if name not in stems]
    if lacking:
        raise DataError(
            f"preparation of {', '.join(lacking)} failed; the {phase}ing file would be incomplete",
            code="not-prepared", file=out / PREPARED,
            hint=f"prepare again, or choose recordings with --{_PARTITION[phase]}",
        )  # fmt: skip


def _require_disjoint(settings: H5Settings, crops: dict[str, list[Path]]) -> None:
    both = [path.stem for path in crops["train"] if path in crops["test"]]
    if both:
        raise DataError("also given to train", code="conflict", field="test", value=both[0])
    if settings.train_statistics and not (settings.mean_sub or settings.norm):
        raise DataError("needs mean_sub or norm", code="conflict", field="train_statistics", value=True)


def _summary(phase: str, written: WrittenH5, settings: H5Settings) -> str:
    dropped = written.samples - written.written
    rest = f"; {dropped} that fill no chunk of {settings.chunk} were dropped" if dropped else ""
    resumed = f"; {written.resumed} of them were there from an interrupted run" if written.resumed else ""
    return f"{phase}: {written.written} samples of {written.recordings} recordings{rest}{resumed}"
