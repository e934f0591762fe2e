"""The paper's experiment as stages, each done once: recordings to crops to HDF5 files to nets to scores.

Folders below ROOT: ``data``, ``h5_files`` and ``runs`` as the single commands write them; ``sr`` (images and patches
for super-resolution); ``scores/<run>_on_<crops>``; ``table`` (ledger.json, logs, table.json and the tables).

The number of threads of a training is fixed, because it determines the order of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError, FileError
from lq_emotion.crops.h5 import OWN
from lq_emotion.datasets.avec.layout import Recording, find_recordings
from lq_emotion.nets import definitions
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.names import Method, Net, crops_folder
from lq_emotion.nets.switches import changed_settings
from lq_emotion.studies.robust_lq import recipes
from lq_emotion.studies.robust_lq import stages as work
from lq_emotion.studies.robust_lq.stages import PHASES, StudyPlan, TableCell
from lq_emotion.training.estimate import PlannedTraining
from lq_emotion.workflow.stages import Ledger
from lq_emotion.workflow.stages import Stage as AnyStage

Stage = AnyStage[PlannedTraining]


def check(plan: StudyPlan) -> None:
    """Refuse a plan that cannot be run.

    Raises
    ------
    DataError, FileError
        A setting is out of range, or images are missing.
    """
    invalid = {
        "scales": not _are_factors(plan.scales),
        "rows": not plan.rows or any(row not in list(Method) for row in plan.rows),
        "preset": plan.preset not in recipes.PRESETS,
        "max_factor": not 2 <= plan.largest_factor <= 16,
        "mixture": not _are_factors(plan.mixture),
        "threads": plan.threads < 1,
        "seed": plan.seed < 0,
        "delay": not 0 <= plan.delay < math.inf,
    }
    hints = {"rows": ", ".join(Method), "preset": ", ".join(recipes.PRESETS), "scales": "2 to 16, each once"}
    for name, is_invalid in invalid.items():
        if is_invalid:
            value, hint = getattr(plan, name), hints.get(name)
            raise DataError("out of range", code="out-of-range", field=name, value=value, hint=hint)
    if plan.switches.input_size == "own":
        for name in ("scales", "mixture"):
            if any(SIZE % factor for factor in getattr(plan, name)):
                value, hint = getattr(plan, name), "faces at their own size need divisors of 96"
                raise DataError("does not divide 96", code="out-of-range", field=name, value=value, hint=hint)
    if plan.images is not None and not plan.images.is_dir():
        raise FileError("folder of images not found", code="file-missing", file=plan.images, field="--sr-images")
    if plan.natural is not None:
        work.sr_images(plan)


def _are_factors(values: Sequence[int]) -> bool:
    return bool(values) and len(set(values)) == len(values) and all(2 <= value <= 16 for value in values)


def cells(plan: StudyPlan) -> list[TableCell]:
    """Return the cells of the table."""
    return [cell for _, _, cell in _scored(plan)]


def _scored(plan: StudyPlan) -> Iterator[tuple[recipes.Recipe, int, TableCell]]:
    for method in plan.rows:
        row = recipes.recipe(method)
        for s in (1,) if method is Method.HR else plan.scales:
            yield row, s, TableCell(method, s, row.row.format(**_filled(plan, s)), _test(plan, row, s))


def _filled(plan: StudyPlan, s: int) -> dict[str, Any]:
    return {"s": s, "max": plan.largest_factor, "mixture": "_".join(map(str, plan.mixture))}


def _own(plan: StudyPlan, row: recipes.Recipe) -> bool:
    """Tell whether a row's nets take faces at their own size; HQ faces and those for SR-FCN have one size only."""
    return plan.switches.input_size == "own" and definitions.builder(row.net).own_size and row.data != crops_folder(1)


def _mixed(row: recipes.Recipe) -> bool:
    return row.data.startswith("mix_")


def _factors(plan: StudyPlan, row: recipes.Recipe, s: int) -> tuple[int, ...]:
    """Return the factors by which a row's training faces are smaller than 96 x 96."""
    if not _own(plan, row):
        return (1,)
    return tuple(sorted(plan.mixture)) if _mixed(row) else (s,)


def _data(plan: StudyPlan, row: recipes.Recipe, s: int) -> str:
    """Return the folder of h5_files with a row's training data."""
    return row.data.format(**_filled(plan, s)) + (OWN if _own(plan, row) else "")


def _test(plan: StudyPlan, row: recipes.Recipe, s: int) -> str:
    """Return the folder of crops on which a row is scored."""
    return row.test.format(**_filled(plan, s)) + (OWN if _own(plan, row) else "")


def stages(plan: StudyPlan) -> list[Stage]:
    """Return all stages, each after those it depends on."""
    check(plan)
    names = _names(plan)
    rows = [recipes.recipe(method) for method in plan.rows]
    pairs = [(row, s) for row in rows for s in plan.scales]

    def crops(kind: str) -> list[Path]:
        return [plan.out / "data/raw_data" / kind / f"{name}.mat" for name in names]

    all_stages = [_prepare(plan, names, [path for s in (1, *plan.scales) for path in crops(crops_folder(s))])]
    owned = {factor for row, s in pairs if _own(plan, row) for factor in (s, *_factors(plan, row, s))}
    all_stages += [_own_size(plan, s, crops(crops_folder(1)), crops(f"{crops_folder(s)}{OWN}")) for s in sorted(owned)]
    files = {}
    for folder, (row, s) in sorted({_data(plan, row, s): (row, s) for row, s in pairs}.items()):
        if _mixed(row) and _own(plan, row):
            kinds = [f"{crops_folder(factor)}{OWN}" for factor in _factors(plan, row, s)]
            all_stages.append(_h5_of_sizes(plan, folder, [path for kind in kinds for path in crops(kind)]))
        else:
            all_stages.append(_h5(plan, folder, crops(crops_folder(1) if _mixed(row) else folder), mixed=_mixed(row)))
        files[folder] = all_stages[-1].writes
    train_crops = [path for path in crops(crops_folder(1)) if plan.partitions.of(path.stem) == "train"]
    all_stages += _pretrainings(plan, pairs, train_crops)
    runs = {}
    for row, s in pairs:
        name, start = (text.format(**_filled(plan, s)) for text in (row.row, row.start))
        data, factors = _data(plan, row, s), _factors(plan, row, s)
        source, seed = plan.out / "h5_files" / data, 10 * row.seed
        runs[name] = _train(plan, name, row.net, source, files[data], start, seed=seed, factors=factors)
    all_stages += runs.values()
    for row, s, cell in _scored(plan):
        tested = [path for path in crops(cell.test) if plan.partitions.of(path.stem) == "dev"]
        data, factor = _data(plan, row, s), s if _own(plan, row) and _mixed(row) else None
        all_stages.append(_evaluate(plan, cell, row.net, runs[cell.run].writes[0], tested, data, factor))
    return all_stages


def _pretrainings(plan: StudyPlan, pairs: Sequence[tuple[recipes.Recipe, int]], faces: list[Path]) -> list[Stage]:
    """Return the stages of super-resolution, from whose weights rows start."""
    factors = sorted({_factor(row.start.format(**_filled(plan, s))) for row, s in pairs if row.start})
    stages = [_faces(plan, faces)] if factors and plan.natural is None else []
    for s in factors:
        data = _sr_data(plan, s)
        run = _train(plan, f"{Net.SR_FCN}-{s}", Net.SR_FCN, plan.out / "sr" / f"{s}", data.writes, "", seed=100 + s)
        stages += [data, run]
    return stages


def _recordings(plan: StudyPlan) -> list[Recording]:
    return find_recordings(plan.recordings, dimension=plan.dimension, skip=[plan.root.resolve()])


def _names(plan: StudyPlan) -> list[str]:
    labelled = [recording.name for recording in _recordings(plan) if recording.labelled]
    names = [name for name in labelled if plan.partitions.of(name) in PHASES.values()]
    plan.partitions.require_known(labelled, plan.recordings, *PHASES.values())
    for partition in PHASES.values():
        if not plan.partitions.members(partition, names):
            hint = f"name some with --{partition}: {', '.join(labelled)}"
            problem = f"no labelled {partition} recording found"
            raise DataError(problem, code="empty", file=plan.recordings, hint=hint)
    return names


def _factor(run: str) -> int:
    return int(run.rpartition("-")[2])


def _otherwise(plan: StudyPlan, *parts: str) -> dict[str, Any]:
    """Return a stage's settings that depend on switches: none where they are the code's."""
    changed = changed_settings(plan.switches, *parts)
    changed.pop("sr_images", None)  # the files that are read differ
    return {"switches": changed} if changed else {}


def _partitioned(plan: StudyPlan) -> dict[str, Any]:
    """Return a stage's settings that depend on partitions given by the user."""
    return {"partitions": dict(plan.partitions.chosen)} if plan.partitions.chosen else {}


def _prepare(plan: StudyPlan, names: Sequence[str], crops: list[Path]) -> Stage:
    recordings = [recording for recording in _recordings(plan) if recording.name in names]
    files = [
        path
        for recording in recordings
        for path in (recording.video, recording.frame_time, recording.gold, recording.ratings)
        if path is not None
    ]
    boxes = [path for path in sorted(plan.boxes.iterdir()) if path.is_file()] if plan.boxes else []
    run = partial(work.do_prepare, plan, tuple(names))
    settings = {
        "names": list(names),
        "scales": list(plan.scales),
        "boxes": plan.boxes is not None,
        **_partitioned(plan),
        **({"delay": plan.delay} if plan.delay else {}),
        **_otherwise(plan, "prepare"),
    }
    return Stage("prepare", run, settings, (*files, *boxes), tuple(crops))


def _own_size(plan: StudyPlan, s: int, crops: list[Path], writes: list[Path]) -> Stage:
    run = partial(work.do_own_size, plan, s, tuple(zip(crops, writes, strict=True)))
    return Stage(f"own size {s}", run, {"scale": s}, tuple(crops), tuple(writes))


def _h5(plan: StudyPlan, folder: str, crops: list[Path], *, mixed: bool) -> Stage:
    target = plan.out / "h5_files" / folder
    writes = tuple(target / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt"))
    switched = _otherwise(plan, "h5", *(("h5 of the mixture",) if mixed else ()))
    settings = {"folder": folder, "mixture": list(plan.mixture) if mixed else [], "seed": plan.seed, **switched}
    settings |= _partitioned(plan)
    return Stage(f"h5 {folder}", partial(work.do_h5, plan, folder, mixed), settings, tuple(crops), writes)


def _h5_of_sizes(plan: StudyPlan, folder: str, crops: list[Path]) -> Stage:
    """Return the stage of a mixture of faces at their own sizes: a file per factor, and lists of all files."""
    target, factors = plan.out / "h5_files" / folder, sorted(plan.mixture)
    writes = [target / f"{phase}.txt" for phase in PHASES]
    writes += [target / f"{factor}" / f"{phase}.h5" for factor in factors for phase in PHASES]
    writes += [target / f"{phase}_{factor}.h5" for factor in factors[1:] for phase in PHASES]
    settings = {"folder": folder, "factors": factors, "seed": plan.seed, **_otherwise(plan, "h5")}
    settings |= _partitioned(plan)
    return Stage(f"h5 {folder}", partial(work.do_h5_of_sizes, plan, folder), settings, tuple(crops), tuple(writes))


def _faces(plan: StudyPlan, crops: list[Path]) -> Stage:
    count = plan.preset_of("sr")["faces"]
    writes = tuple(plan.out / "sr/images" / f"{phase}.made" for phase in PHASES)
    settings = {"faces": count, "seed": plan.seed}
    return Stage(
        "faces for super-resolution", partial(work.do_faces, plan, tuple(crops), count), settings, tuple(crops), writes
    )


def _sr_data(plan: StudyPlan, s: int) -> Stage:
    target = plan.out / "sr" / f"{s}"
    reads: tuple[Path, ...]
    if plan.natural is None:
        reads = tuple(plan.out / "sr/images" / f"{phase}.made" for phase in PHASES)
    else:
        reads = tuple(path for paths in work.sr_images(plan).values() for path in paths)
    writes = tuple(target / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt"))
    stride = plan.preset_of("sr")["scale_stride"]
    settings = {"scale": s, "stride": stride, "seed": plan.seed, **_otherwise(plan, "patches")}
    return Stage(f"patches for super-resolution at {s}", partial(work.do_sr_data, plan, s), settings, reads, writes)


def _train(
    plan: StudyPlan,
    name: str,
    net: Net,
    data: Path,
    files: Sequence[Path],
    start: str,
    *,
    seed: int,
    factors: Sequence[int] = (1,),
) -> Stage:
    changes = {**plan.preset_of(net), "random_seed": plan.seed + seed}
    out = plan.out / "runs" / name
    weights = _weights(plan, out, net)
    reads = list(files)
    initial = _weights(plan, plan.out / "runs" / start, Net.SR_FCN) if start else None
    if initial:
        reads.append(initial)
    switched = definitions.settings(net, plan.switches, factors)
    settings = {"net": net, "changes": changes, "threads": plan.threads, "device": plan.device}
    settings |= {"switches": switched} if switched else {}
    run = partial(work.do_train, plan, name, net, data, initial, changes)
    training = PlannedTraining(net, changes, tuple(factors), out)
    return Stage(f"train {name}", run, settings, tuple(reads), (weights, out / "train.json"), training)


def _weights(plan: StudyPlan, run: Path, net: Net) -> Path:
    """Return the last snapshot of a training."""
    builder = definitions.builder(net)
    iterations = int(plan.preset_of(net).get("max_iter") or builder.solver(plan.switches).max_iter)
    return run / "snapshots" / f"{builder.snapshot_name}_iter_{iterations}.caffemodel"


def _evaluate(
    plan: StudyPlan, cell: TableCell, net: Net, weights: Path, crops: list[Path], data: str, factor: int | None
) -> Stage:
    out = plan.out / cell.scores
    run = partial(work.do_evaluate, plan, cell, net, weights, plan.out / "h5_files" / data, factor)
    settings = {"threads": plan.threads, "device": plan.device, **_otherwise(plan, "h5")}
    return Stage(f"score {cell.run} on {cell.test}", run, settings, (weights, *crops), (out / "scores.json",))


def ledger(plan: StudyPlan) -> Ledger:
    """Return the ledger of the stages done below ROOT."""
    (plan.out / "table").mkdir(parents=True, exist_ok=True)
    return Ledger(plan.out / "table" / "ledger.json")
