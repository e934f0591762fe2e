"""The study as stages, each done once: recordings to crops to HDF5 files to nets to scores.

Folders below ROOT: ``data``, ``h5_files`` and ``runs`` as the single commands write them; ``sr`` (images and patches
for super-resolution); ``scores/<run>_on_<crops>``; ``rd`` (Figure 4); ``table`` (Table 1); ``study`` (the rest).

The number of threads of a training is fixed, because it determines the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError
from lq_emotion.crops.h5 import OWN
from lq_emotion.crops.recording import has_labels, own_files, places_of_labels
from lq_emotion.datasets.avec.layout import Recording, find_recordings
from lq_emotion.nets import definitions
from lq_emotion.nets.names import Method, Net, crops_folder
from lq_emotion.nets.switches import changed_settings
from lq_emotion.studies.robust_lq import work
from lq_emotion.studies.robust_lq.cells import (
    StudyCell,
    Training,
    cells,
    changes_of,
    settings_of,
    super_resolution,
    weights_of,
)
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan, check, validation_part
from lq_emotion.studies.robust_lq.rate_distortion import SweepSettings, result_files, sweep_stages
from lq_emotion.studies.robust_lq.rd_results import Model
from lq_emotion.studies.robust_lq.recipes import shown_lr
from lq_emotion.studies.robust_lq.work import PHASES
from lq_emotion.training.estimate import PlannedTraining
from lq_emotion.workflow.stages import Stage as AnyStage

Stage = AnyStage[PlannedTraining]


def stages(plan: StudyPlan) -> list[Stage]:
    """Return all stages, each after those it depends on; refuse a plan that cannot be run."""
    check(plan)
    if plan.natural is not None:
        work.sr_images(plan)
    found = find_recordings(plan.recordings, dimension=plan.dimension, skip=[plan.out.resolve()])
    recordings, all_cells = _usable(plan, found), cells(plan)
    names = [recording.name for recording in recordings]
    validation = validation_part(plan, names)
    trainings = list(dict.fromkeys(cell.training for cell in all_cells))

    def crops(kind: str) -> list[Path]:
        return [plan.root / "data/raw_data" / kind / f"{name}.mat" for name in names]

    hq = crops(crops_folder(1))
    dev = [path for path in hq if _is_dev(plan, path)]
    all_stages = [_prepare(plan, recordings, [path for s in (1, *plan.scales) for path in crops(crops_folder(s))])]
    tested = {cell.tested for cell in all_cells if cell.test.endswith(OWN)}
    sizes = sorted(tested.union(*(training.sizes for training in trainings)) - {1})
    all_stages += [_own_size(s, hq, crops(f"{crops_folder(s)}{OWN}")) for s in sizes]
    files = {}
    for folder, training in sorted({training.data: training for training in trainings}.items()):
        all_stages.append(_h5(plan, training, crops, validation))
        files[folder] = all_stages[-1].writes
    learnt = [name for name in names if plan.partitions.of(name) == "train" and name not in validation]
    all_stages += _pretrainings(plan, trainings, [path for path in hq if path.stem in learnt])
    all_stages += [_train(plan, training, files[training.data]) for training in trainings]
    for cell in {cell.scores: cell for cell in all_cells}.values():
        all_stages.append(_evaluate(plan, cell, [path for path in crops(cell.test) if _is_dev(plan, path)]))
    if Part.SUBMISSION in plan.parts:
        all_stages += _submission(plan, all_cells, found, names[0])
    if Part.FIGURES in plan.parts:
        all_stages += _figures(plan, all_cells, dev[0])
    if Part.FIGURE4 in plan.parts:
        all_stages += _coded(plan, dev)
    return all_stages


def _usable(plan: StudyPlan, found: Sequence[Recording]) -> list[Recording]:
    """Return the labelled recordings to train with and to score on; refuse to have none of either."""
    labelled = [recording for recording in found if has_labels(recording, plan.root, plan.dimension)]
    names = [recording.name for recording in labelled]
    usable = [recording for recording in labelled if plan.partitions.of(recording.name) in PHASES.values()]
    plan.partitions.require_known(names, plan.recordings, *PHASES.values())
    for partition in PHASES.values():
        if not plan.partitions.members(partition, [recording.name for recording in usable]):
            choice = f"name some with --{partition}: {', '.join(names)}"
            hint = choice if names else places_of_labels(plan.root, plan.dimension)
            problem = f"no labelled {partition} recording found"
            raise DataError(problem, code="empty", file=plan.recordings, hint=hint)
    return usable


def _pretrainings(plan: StudyPlan, trainings: Sequence[Training], faces: list[Path]) -> list[Stage]:
    """Return the stages of super-resolution, from whose weights trainings start."""
    starts = sorted({(t.start, t.seed) for t in trainings if t.start is not None}, key=lambda start: start[::-1])
    stages = [_faces(plan, faces)] if starts and plan.natural is None else []
    data = {s: _sr_data(plan, s) for s in sorted({s for s, _ in starts})}
    stages += data.values()
    return stages + [_train(plan, super_resolution(plan, s, seed), data[s].writes) for s, seed in starts]


def _otherwise(plan: StudyPlan, *parts: str) -> dict[str, Any]:
    """Return a stage's settings that depend on switches: none where they are the code's."""
    changed = changed_settings(plan.switches, *parts)
    changed.pop("sr_images", None)  # the files that are read differ
    return {"switches": changed} if changed else {}


def _partitioned(plan: StudyPlan) -> dict[str, Any]:
    """Return a stage's settings that depend on partitions given by the user."""
    return {"partitions": dict(plan.partitions.chosen)} if plan.partitions.chosen else {}


def _prepare(plan: StudyPlan, recordings: Sequence[Recording], crops: list[Path]) -> Stage:
    names = tuple(recording.name for recording in recordings)
    run = partial(work.do_prepare, plan, names)
    return Stage("prepare", run, _preparation(plan, names, plan.scales), _inputs(plan, recordings), tuple(crops))


def _preparation(plan: StudyPlan, names: Sequence[str], scales: Sequence[int]) -> dict[str, Any]:
    return {
        "names": list(names),
        "scales": list(scales),
        "boxes": plan.boxes is not None,
        **_partitioned(plan),
        **({"delay": plan.delay} if plan.delay else {}),
        **_otherwise(plan, "prepare"),
    }


def _inputs(plan: StudyPlan, recordings: Sequence[Recording]) -> tuple[Path, ...]:
    """Return the files that crops of recordings are made from, with those that the user put below ROOT."""
    own = (path for recording in recordings for path in own_files(recording.name, plan.root, plan.dimension))
    boxes = [path for path in sorted(plan.boxes.iterdir()) if path.is_file()] if plan.boxes else []
    return (*(path for recording in recordings for path in recording.files), *boxes, *own)


def _submission(plan: StudyPlan, all_cells: Sequence[StudyCell], found: Sequence[Recording], first: str) -> list[Stage]:
    """Return the stages that predict the test recordings without labels; none without such recordings or without HR.

    `first` is the first of the labelled recordings.
    """
    recordings = [
        one
        for one in found
        if plan.partitions.of(one.name) == "test" and not has_labels(one, plan.root, plan.dimension)
    ]
    cell = next((cell for cell in all_cells if cell.method is Method.HR), None)
    if not recordings or cell is None:
        return []
    names = tuple(recording.name for recording in recordings)
    folder = plan.root / "data/raw_data" / cell.test
    crops, after = tuple(folder / f"{name}.mat" for name in names), folder / f"{first}.mat"
    reads = (*_inputs(plan, recordings), after)  # prepare.json has one writer at a time
    run = partial(work.do_prepare, plan, names, unlabelled=True)
    prepare = Stage("prepare unlabelled", run, _preparation(plan, names, ()), reads, crops)
    settings = {"threads": plan.threads, "device": plan.device, **_otherwise(plan, "h5")}
    run, writes = partial(work.do_submission, plan, cell, names), (plan.root / "submission/submission.json",)
    return [prepare, Stage("submission", run, settings, (weights_of(plan, cell.training), *crops), writes)]


def _own_size(s: int, crops: list[Path], writes: list[Path]) -> Stage:
    run = partial(work.do_own_size, s, tuple(zip(crops, writes, strict=True)))
    return Stage(f"own size {s}", run, {"scale": s}, tuple(crops), tuple(writes))


def _h5(plan: StudyPlan, training: Training, crops: Callable[[str], list[Path]], validation: tuple[str, ...]) -> Stage:
    """Return the stage of a training's data; of a mixture of sizes, a file per factor, and lists of all files."""
    folder, mixture = training.data, training.mixture
    target = plan.root / "h5_files" / folder
    settings: dict[str, Any] = {"folder": folder, "seed": plan.seed}
    if training.mixes_sizes:
        kinds = [f"{crops_folder(factor)}{OWN}" for factor in mixture]
        writes = [target / f"{phase}.txt" for phase in PHASES]
        writes += [target / f"{factor}" / f"{phase}.h5" for factor in mixture for phase in PHASES]
        writes += [target / f"{phase}_{factor}.h5" for factor in mixture[1:] for phase in PHASES]
        settings |= {"factors": list(mixture), **_otherwise(plan, "h5")}
        work_of_kind = work.do_h5_of_sizes
    else:
        kinds = [crops_folder(1) if mixture else folder]
        writes = [target / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt")]
        settings |= {"mixture": list(mixture), **_otherwise(plan, "h5", *(["h5 of the mixture"] if mixture else []))}
        work_of_kind = work.do_h5
    settings |= _partitioned(plan) | ({"validation": list(validation)} if validation else {})
    reads = tuple(path for kind in kinds for path in crops(kind))
    return Stage(f"h5 {folder}", partial(work_of_kind, plan, training, validation), settings, reads, tuple(writes))


def _faces(plan: StudyPlan, crops: list[Path]) -> Stage:
    count = plan.preset_of("sr")["faces"]
    writes = tuple(plan.root / "sr/images" / f"{phase}.made" for phase in PHASES)
    settings = {"faces": count, "seed": plan.seed}
    return Stage(
        "faces for super-resolution", partial(work.do_faces, plan, tuple(crops), count), settings, tuple(crops), writes
    )


def _sr_data(plan: StudyPlan, s: int) -> Stage:
    target = plan.root / "sr" / f"{s}"
    reads: tuple[Path, ...]
    if plan.natural is None:
        reads = tuple(plan.root / "sr/images" / f"{phase}.made" for phase in PHASES)
    else:
        reads = tuple(path for paths in work.sr_images(plan).values() for path in paths)
    writes = tuple(target / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt"))
    stride = plan.preset_of("sr")["scale_stride"]
    settings = {"scale": s, "stride": stride, "seed": plan.seed, **_otherwise(plan, "patches")}
    return Stage(f"patches for super-resolution at {s}", partial(work.do_sr_data, plan, s), settings, reads, writes)


def _train(plan: StudyPlan, training: Training, files: Sequence[Path]) -> Stage:
    planned, net = settings_of(plan, training), training.net
    switched = definitions.settings(net, plan.switches, training.sizes)
    changes = changes_of(plan, training)
    settings = {"net": net, "changes": changes, "threads": plan.threads, "device": plan.device}
    settings |= {"switches": switched} if switched else {}
    reads = (*files, *(() if planned.weights is None else (planned.weights,)))
    run, writes = partial(work.do_train, plan, training), (weights_of(plan, training), planned.out / "train.json")
    return Stage(f"train {training.name}", run, settings, reads, writes, (planned, training.sizes))


def _evaluate(plan: StudyPlan, cell: StudyCell, crops: list[Path]) -> Stage:
    settings = {"threads": plan.threads, "device": plan.device, **_otherwise(plan, "h5")}
    writes = tuple(plan.root / cell.scores / folder / "scores.json" for folder in plan.score_folders.values())
    run, reads = partial(work.do_evaluate, plan, cell), (weights_of(plan, cell.training), *crops)
    return Stage(f"score {cell.run} on {cell.test}", run, settings, reads, writes)


def _is_dev(plan: StudyPlan, crops: Path) -> bool:
    return plan.partitions.of(crops.stem) == PHASES["test"]


def _figures(plan: StudyPlan, all_cells: Sequence[StudyCell], crops: Path) -> list[Stage]:
    """Return the stages of the figures 1 to 3; Figure 2 shows Joint-OA, on enlarged faces that are not normalised."""
    folder = plan.root / "study"
    switched = _otherwise(plan, "prepare")
    scales = {"scales": list(plan.scales), **switched}
    faces = Stage("figure 1", partial(work.do_figure1, plan, crops), scales, (crops,), (folder / "figure1.png",))
    settings = {str(net): definitions.settings(net, plan.switches) for net in (Net.SR_FCN, Net.JOINT)}
    nets = Stage("figure 3", partial(work.do_figure3, plan), settings, (), (folder / "figure3.png",))
    one_for_all = next((cell for cell in all_cells if cell.method is Method.JOINT_OA), None)
    if one_for_all is None or not plan.shows_enlarged_faces:
        return [faces, nets]
    weights = weights_of(plan, one_for_all.training)
    factor = 4 if 4 in plan.scales else plan.scales[0]
    run = partial(work.do_figure2, plan, crops, weights, factor)
    drawn = Stage("figure 2", run, {"factor": factor, **switched}, (crops, weights), (folder / "figure2.png",))
    return [faces, drawn, nets]


def _coded(plan: StudyPlan, crops: list[Path]) -> list[Stage]:
    """Return the stages of Figure 4: those of its sweep, then the curves."""
    sweep = SweepSettings(
        out=plan.root / "rd",
        data=plan.root / "data/raw_data" / crops_folder(1),
        models=tuple(coded_models(plan)),
        names=tuple(path.stem for path in crops),
        scales=plan.coding_factors,
        codecs=plan.codecs,
        qps=plan.qps,
        frames=plan.coded_frames,
        threads=plan.threads,
        device=plan.device,
    )
    stages: list[Stage] = list(sweep_stages(sweep, sweep.names))
    reads = tuple(path for stage in stages for path in stage.writes)
    settings = {"nets": [[model.name, model.scale] for model in sweep.models], **_partitioned(plan)}
    run = partial(work.do_figure4, sweep)
    return [*stages, Stage("figure 4", run, settings, (*crops, *reads), tuple(result_files(sweep)))]


def coded_models(plan: StudyPlan) -> list[Model]:
    """Return the nets of Figure 4, those of the first seed: each method at the factors that are coded."""
    models: dict[Model, None] = {}
    for cell in cells(plan):
        method, first = cell.method, cell.training.seed == plan.seed
        if first and isinstance(method, Method) and cell.factor in (1, *plan.coding_factors):
            scale = None if method.serves_all_factors else cell.factor
            models[Model(shown_lr(method), weights_of(plan, cell.training), scale)] = None
    return list(models)
