"""The paper's experiment as stages: recordings to crops to HDF5 files to nets to scores, each done once.

Folders below ROOT: ``data``, ``h5_files`` and ``runs`` as the single commands leave them; ``sr`` (pictures and patches
for super-resolution); ``scores/<run>_on_<crops>``; ``table`` (ledger.json, logs, table.json and the tables).

The number of threads a net is trained with is fixed: sums in another order are other numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError, FileError
from caffe_compat.models.robust_lq_emotion import protocol_work as work
from caffe_compat.models.robust_lq_emotion import recipes
from caffe_compat.models.robust_lq_emotion.avec.layout import find_recordings, partition_of
from caffe_compat.models.robust_lq_emotion.protocol_work import PHASES, Cell, Experiment
from caffe_compat.models.robust_lq_emotion.stages import Ledger, Stage

_SNAPSHOT = {"pretrain": "Pretrain"}  # what snapshots begin with, where it is not "emotion"


def check(plan: Experiment) -> None:
    """Refuse what cannot be run.

    Raises
    ------
    DataError, FileError
        A setting makes no sense, or there are no such recordings.
    """
    wrong = {
        "scales": not _are_factors(plan.scales),
        "rows": not plan.rows or any(row not in recipes.ROWS for row in plan.rows),
        "preset": plan.preset not in recipes.PRESETS,
        "max_factor": not 2 <= plan.max_factor <= 16,
        "mixture": not _are_factors(plan.mixture),
        "threads": plan.threads < 1,
        "seed": plan.seed < 0,
    }
    hints = {"rows": ", ".join(recipes.ROWS), "preset": ", ".join(recipes.PRESETS), "scales": "2 to 16, each once"}
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise DataError("cannot be used", field=name, value=getattr(plan, name), hint=hints.get(name))
    if plan.pictures is not None and not plan.pictures.is_dir():
        raise FileError("no such folder of pictures", file=plan.pictures)


def _are_factors(values: Sequence[int]) -> bool:
    return bool(values) and len(set(values)) == len(values) and all(2 <= value <= 16 for value in values)


def cells(plan: Experiment) -> list[Cell]:
    """Return what the table consists of."""
    found = []
    for name in plan.rows:
        row = recipes.recipe(name)
        for s in (1,) if name == "hr" else plan.scales:
            told = _filled(plan, s)
            found.append(Cell(row.row.split("-{")[0], s, row.row.format(**told), row.test.format(**told)))
    return found


def _filled(plan: Experiment, s: int) -> dict[str, Any]:
    return {"s": s, "max": plan.max_factor, "mixture": "_".join(map(str, plan.mixture))}


def stages(plan: Experiment) -> list[Stage]:
    """Return everything to be done, in an order that works."""
    check(plan)
    names = _names(plan)
    crops = {s: [plan.out / "data/raw_data" / _crops(s) / f"{name}.mat" for name in names] for s in (1, *plan.scales)}
    found = [_prepare(plan, names, crops)]
    rows = {name: recipes.recipe(name) for name in plan.rows}
    pairs = [(row, s) for row in rows.values() for s in plan.scales]
    wanted = {(row.data.format(**_filled(plan, s)), s if "{s}" in row.data else 1) for row, s in pairs}
    found += [_h5(plan, folder, crops[s]) for folder, s in sorted(wanted)]
    factors = {_factor(row.start.format(**_filled(plan, s))) for row, s in pairs if row.start}
    if factors and plan.pictures is None:
        found.append(_faces(plan, [path for path in crops[1] if partition_of(path.stem) == "train"]))
    for s in sorted(factors):
        found += [
            _sr_data(plan, s),
            _train(plan, f"pretrain-{s}", "pretrain", plan.out / "sr" / f"{s}", "", seed=100 + s),
        ]
    runs = {}
    for row in rows.values():
        for s in plan.scales:
            told = _filled(plan, s)
            name = row.row.format(**told)
            data, start = plan.out / "h5_files" / row.data.format(**told), row.start.format(**told)
            runs[name] = _train(plan, name, row.net, data, start, seed=10 * row.seed)
    found += runs.values()
    for cell in cells(plan):
        tested = [path for path in crops[max(cell.factor, 1)] if partition_of(path.stem) == "dev"]
        found.append(_evaluate(plan, cell, runs[cell.run].writes[0], tested))
    return found


def _names(plan: Experiment) -> list[str]:
    out = plan.out.resolve()
    there = [one for one in find_recordings(plan.recordings, skip=[out]) if one.labelled]
    names = [one.name for one in there if partition_of(one.name) in PHASES.values()]
    for partition in PHASES.values():
        if not any(partition_of(name) == partition for name in names):
            hint = "train_* to train with, dev_* to test on"
            raise DataError(f"has no labelled {partition} recording", file=plan.recordings, hint=hint)
    return names


def _crops(s: int) -> str:
    return "HQ" if s == 1 else f"LR{s}"


def _factor(run: str) -> int:
    return int(run.rpartition("-")[2])


def _prepare(plan: Experiment, names: Sequence[str], crops: dict[int, list[Path]]) -> Stage:
    there = {one.name: one for one in find_recordings(plan.recordings, skip=[plan.out.resolve()])}
    files = [
        path
        for name in names
        for path in (there[name].video, there[name].frame_time, there[name].gold, there[name].ratings)
        if path is not None
    ]
    boxes = [path for path in sorted(plan.boxes.iterdir()) if path.is_file()] if plan.boxes else []
    run = partial(work.do_prepare, plan, tuple(names))
    settings = {"names": list(names), "scales": list(plan.scales), "boxes": plan.boxes is not None}
    return Stage("prepare", run, settings, (*files, *boxes), tuple(path for each in crops.values() for path in each))


def _h5(plan: Experiment, folder: str, crops: list[Path]) -> Stage:
    target = plan.out / "h5_files" / folder
    writes = tuple(target / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt"))
    mixture = list(plan.mixture) if folder.startswith("mix_") else []
    settings = {"folder": folder, "mixture": mixture, "seed": plan.seed}
    return Stage(f"h5 {folder}", partial(work.do_h5, plan, folder, bool(mixture)), settings, tuple(crops), writes)


def _faces(plan: Experiment, crops: list[Path]) -> Stage:
    count = plan.preset_of("sr")["faces"]
    writes = tuple(plan.out / "sr/pictures" / f"{phase}.made" for phase in PHASES)
    settings = {"faces": count, "seed": plan.seed}
    return Stage(
        "faces for super-resolution", partial(work.do_faces, plan, tuple(crops), count), settings, tuple(crops), writes
    )


def _sr_data(plan: Experiment, s: int) -> Stage:
    target = plan.out / "sr" / f"{s}"
    reads: tuple[Path, ...]
    if plan.pictures is None:
        reads = tuple(plan.out / "sr/pictures" / f"{phase}.made" for phase in PHASES)
    else:
        reads = tuple(sorted(path for path in plan.pictures.rglob("*") if path.is_file()))
    writes = tuple(target / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt"))
    settings = {"scale": s, "stride": plan.preset_of("sr")["scale_stride"], "seed": plan.seed}
    return Stage(f"patches for super-resolution at {s}", partial(work.do_sr_data, plan, s), settings, reads, writes)


def _train(plan: Experiment, name: str, net: str, data: Path, start: str, *, seed: int) -> Stage:
    changes = {**plan.preset_of(net), "random_seed": plan.seed + seed}
    count = changes.get("max_iter") or _shipped_iterations(net)
    out = plan.out / "runs" / name
    weights = out / "snapshots" / f"{_SNAPSHOT.get(net, 'emotion')}_iter_{count}.caffemodel"
    reads = [data / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt")]
    begun: Path | None = None
    if start:
        from_run = plan.out / "runs" / start / "snapshots"
        count = plan.preset_of("pretrain").get("max_iter") or _shipped_iterations("pretrain")
        begun = from_run / f"Pretrain_iter_{count}.caffemodel"
        reads.append(begun)
    settings = {"net": net, "changes": changes, "threads": plan.threads, "device": plan.device}
    run = partial(work.do_train, plan, name, net, data, begun, changes)
    return Stage(f"train {name}", run, settings, tuple(reads), (weights, out / "train.json"))


def _shipped_iterations(net: str) -> int:
    from caffe_compat import prototxt
    from caffe_compat.files import read_solver
    from caffe_compat.models.robust_lq_emotion.experiment import NETS

    return int(read_solver(prototxt.path(NETS[net].solver)).max_iter)


def _evaluate(plan: Experiment, cell: Cell, weights: Path, crops: list[Path]) -> Stage:
    out = plan.out / cell.scores
    run = partial(work.do_evaluate, plan, cell, weights)
    settings = {"threads": plan.threads, "device": plan.device}
    return Stage(f"score {cell.run} on {cell.test}", run, settings, (weights, *crops), (out / "scores.json",))


def ledger(plan: Experiment) -> Ledger:
    """Return what is known to be done below ROOT."""
    (plan.out / "table").mkdir(parents=True, exist_ok=True)
    return Ledger(plan.out / "table" / "ledger.json")
