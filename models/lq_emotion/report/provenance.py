"""Provenance of the results: data, settings, versions, times and trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lq_emotion.common.document import Block, Column, Row, Table, Text, code, duration, row
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.datasets.synthetic.package import SyntheticSettings
from lq_emotion.nets.names import Method, Net
from lq_emotion.nets.switches import describe_settings
from lq_emotion.report.parts import Absent
from lq_emotion.studies.robust_lq.results import StudyResults
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.training.settings import TrainingResults


def settings(store: Store) -> Iterator[Block]:
    """Yield the experiment's settings, versions and times."""
    table = store.table
    if store.maker is not None:
        with contents_of(store.maker):
            yield _synthetic(SyntheticSettings.from_json({"out": str(store.maker.parent), **read_json(store.maker)}))
    if table is None:
        raise Absent("No settings of an experiment: table/table.json is missing.")
    with store.contents():  # numbers may still be infinite
        yield from _settings(store, table)


def _settings(store: Store, table: StudyResults) -> Iterator[Block]:
    settings = table.settings
    mixture = ", ".join(map(str, settings.mixture))
    values = {
        "recordings": code(str(settings.recordings)) + (" (synthetic)" if store.synthetic else ""),
        "preset": code(settings.preset),
        "factors s": ", ".join(map(str, table.scales)),
        Method.JOINT_OA: f"super-resolution at {settings.largest_factor}, mixture of {mixture}",
        "super-resolution learnt from": _learnt_from(table),
        "switches": describe_settings(store.switches) or "as the code",
        "seed": str(settings.seed),
        "threads of a stage": str(settings.threads),
        "device": settings.device,
    }
    yield pairs("Settings of the experiment.", values, ("setting", "value"))
    yield software(table.versions)
    yield stage_times(table.seconds, _kind)


def sr_images(table: StudyResults) -> str | None:
    """Return what super-resolution was trained on: "faces" or a folder of images; None if it was not trained."""
    trained = any(cell.method not in (Method.HR, Method.LR) for cell in table.cells)
    return table.sr_images if trained else None


def _learnt_from(table: StudyResults) -> str:
    images = sr_images(table)
    if images is None:
        return "–"
    return "faces of the training recordings" if images == "faces" else f"the images in {code(images)}"


def _synthetic(settings: SyntheticSettings) -> Text:
    return Text(
        f"No person was filmed: {settings.train} recordings to train with and {settings.dev} to be scored on, of "
        f"{settings.frames:,} frames of {settings.size[0]} × {settings.size[1]} pixels, were drawn by "
        f"`lq-emotion data make recordings` with seed {settings.seed}. Mouth, eyes and brows follow random traces of "
        "valence and arousal."
    )


def software(versions: Mapping[str, str | None]) -> Table:
    """Return the table of versions."""
    values = {name: version or "from a source tree" for name, version in versions.items()}
    return pairs("Versions of what computed it.", values, ("package", "version"))


def pairs(caption: str, values: Mapping[str, Any], titles: tuple[str, str]) -> Table:
    """Return a table of names and values."""
    columns = tuple(Column(title, number=False) for title in titles)
    return Table(caption, columns, tuple(row(name, str(value)) for name, value in values.items()))


def stage_times(seconds: Mapping[str, float | None], kind_of: Callable[[str], str]) -> Table:
    """Return the table of the time that each kind of stage took; `kind_of` maps a stage's name to its kind."""
    times: dict[str, list[float]] = {}
    for name, taken in seconds.items():
        if taken is not None:
            times.setdefault(kind_of(name), []).append(taken)
    times["together"] = [taken for group in times.values() for taken in group]
    rows = [row(kind, str(len(group)), duration(sum(group))) for kind, group in times.items()]
    columns = (Column("kind", number=False), Column("stages"), Column("time"))
    return Table("Time of the stages, each once; several may have run at a time.", columns, tuple(rows))


def _kind(stage: str) -> str:
    kinds = {
        "prepare": "crops of faces",
        "h5": "HDF5 files",
        "faces": "data for super-resolution",
        "patches": "data for super-resolution",
        "train": "training",
        "score": "scores",
    }
    return kinds.get(stage.split(" ", 1)[0], stage)


def recordings(store: Store) -> Iterator[Block]:
    """Yield the outcome of preparing each recording."""
    if not store.prepared:
        raise Absent("No recordings were prepared in this folder: data/prepare.json is missing.")
    titles = {"rows": "frames", "kept": "kept", "no_face": "no face", "small": "too small", "held": "box held"}
    columns = [Column("Recording", number=False), *map(Column, titles.values()), Column("boxes from", number=False)]
    rows, failed = [], []
    for outcome in store.prepared:
        numbers = [f"{getattr(outcome, key):,}" for key in titles]
        if outcome.status == "failed":
            numbers = ["failed", *[""] * 4]
            failed.append(Text(f"{outcome.name} failed: {outcome.error}", "note"))
        rows.append(row(outcome.name, *numbers, outcome.boxes))
    small = ", or with one of 100 pixels or fewer, are left out, as the code does"
    if store.switches.get("smallest_face") == 0:
        small = " are left out; small ones are kept, as the paper has it"
    caption = f"Recordings. Frames without a face{small}."
    yield Table(caption, tuple(columns), tuple(rows))
    yield from failed


def trainings(store: Store) -> Iterator[Block]:
    """Yield the trainings, and how they differ from the authors' definitions."""
    if not store.runs:
        raise Absent("No net was trained in this folder: runs/*/train.json is missing.")
    columns = (
        Column("Run", number=False),
        Column("net", number=False),
        Column("seed"),
        Column("iterations"),
        Column("first", "training loss"),
        Column("last", "training loss"),
        Column("last", "test loss"),
        Column("time"),
    )
    rows = []
    together: dict[tuple[str, str], list[str]] = {}
    for name, run in store.runs.items():
        with store.contents("runs", name, "train.json"):
            rows.append(_run(name, run))
        together.setdefault((run.net, _changes(run)), []).append(name)
    caption = (
        f"Trainings. The loss is half the mean of squared errors, of a frame's {store.dimension}, or summed over a "
        "patch of 16 × 16 pixels (pretrain), unless a change below says otherwise; the training loss is of one batch."
    )
    yield Table(caption, columns, tuple(rows))
    changed = [row(", ".join(names), changes) for (_, changes), names in together.items()]
    caption = "What was changed of the authors' nets and solvers, in Caffe's names: theirs → here."
    yield Table(caption, (Column("Runs", number=False), Column("changes", number=False)), tuple(changed))


def _run(name: str, training: TrainingResults) -> Row:
    train, test = list(training.train_loss.values()), list(training.test_loss.values())
    losses = (train[0] if train else None, train[-1] if train else None, test[-1] if test else None)
    seed = next((change.split("-> ")[-1] for change in training.changes if change.startswith("random_seed")), "")
    shown = ("–" if loss is None else f"{loss:.3g}" for loss in losses)
    return row(name, code(training.net), seed, f"{training.iterations:,}", *shown, duration(training.seconds))


def _changes(training: TrainingResults) -> str:
    """Return the changes of a run, without the seed, which is in the other table."""
    changes = [change for change in training.changes if not change.startswith("random_seed")]
    return "; ".join(change.replace("->", "→") for change in changes) or "nothing"


def finished_quickly(store: Store) -> int | None:
    """Return the most iterations of a valence net, if fewer than the authors' shortest training; else None."""
    fewest = 30_000
    iterations = [run.iterations for run in store.runs.values() if run.net is not Net.SR_FCN]
    most = max(iterations, default=fewest)
    return most if most < fewest else None
