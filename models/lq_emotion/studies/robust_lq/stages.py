"""The study as stages, each done once: recordings to crops to HDF5 files to nets to scores.

Folders below ROOT: ``data``, ``h5_files`` and ``runs`` as the single commands write them; ``sr`` (images and patches
for super-resolution); ``scores/<run>_on_<crops>``; ``rd`` (Figure 4); ``table`` (Table 1); ``study`` (the rest).

The number of threads of a training is fixed, because it determines the order of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from lq_emotion.studies.robust_lq.cells import StudyCell, Training, cells, run_name
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan, check, validation_part
from lq_emotion.studies.robust_lq.rate_distortion import result_files, sweep_stages
from lq_emotion.studies.robust_lq.rd_results import Model
from lq_emotion.studies.robust_lq.recipes import shown_lr
from lq_emotion.studies.robust_lq.work import PHASES
from lq_emotion.training.estimate import PlannedTraining
from lq_emotion.workflow.stages import Stage as AnyStage

Stage = AnyStage[PlannedTraining]


def stages(plan: StudyPlan) -> list[Stage]:
    """Return all stages, each after those it depends on.

    Raises
    ------
    CaffeCompatError
        The plan cannot be run.
    """
    check(plan)
    if plan.natural is not None:
        work.sr_images(plan)
    names, all_cells = _names(plan), cells(plan)
    validation = validation_part(plan, names)
    trainings = list(dict.fromkeys(cell.training for cell in all_cells))

    def crops(kind: str) -> list[Path]:
        return [plan.root / "data/raw_data" / kind / f"{name}.mat" for name in names]

    all_stages = [_prepare(plan, names, [path for s in (1, *plan.scales) for path in crops(crops_folder(s))])]
    tested = {cell.tested for cell in all_cells if cell.test.endswith(OWN)}
    sizes = sorted(tested.union(*(training.sizes for training in trainings)) - {1})
    all_stages += [_own_size(s, crops(crops_folder(1)), crops(f"{crops_folder(s)}{OWN}")) for s in sizes]
    files = {}
    for folder, training in sorted({training.data: training for training in trainings}.items()):
        if training.mixture and training.sizes != (1,):
            kinds = [f"{crops_folder(factor)}{OWN}" for factor in training.mixture]
            of_sizes = [path for kind in kinds for path in crops(kind)]
            all_stages.append(_h5_of_sizes(plan, training, of_sizes, validation))
        else:
            of_one = crops(crops_folder(1) if training.mixture else folder)
            all_stages.append(_h5(plan, training, of_one, validation))
        files[folder] = all_stages[-1].writes
    learnt = [name for name in names if plan.partitions.of(name) == "train" and name not in validation]
    train_crops = [path for path in crops(crops_folder(1)) if path.stem in learnt]
    all_stages += _pretrainings(plan, trainings, train_crops)
    all_stages += [_train(plan, training, files[training.data]) for training in trainings]
    for cell in {cell.scores: cell for cell in all_cells}.values():
        dev = [path for path in crops(cell.test) if _is_dev(plan, path)]
        all_stages.append(_evaluate(plan, cell, dev))
    if Part.SUBMISSION in plan.parts:
        all_stages += _submission(plan, all_cells)
    if Part.FIGURES in plan.parts:
        all_stages += _figures(plan, all_cells, next(path for path in crops(crops_folder(1)) if _is_dev(plan, path)))
    if Part.FIGURE4 in plan.parts:
        dev = [path for path in crops(crops_folder(1)) if _is_dev(plan, path)]
        all_stages += _coded(plan, dev)
    return all_stages


def _pretrainings(plan: StudyPlan, trainings: Sequence[Training], faces: list[Path]) -> list[Stage]:
    """Return the stages of super-resolution, from whose weights trainings start."""
    starts = sorted({(t.start, t.seed) for t in trainings if t.start is not None}, key=lambda start: start[::-1])
    stages = [_faces(plan, faces)] if starts and plan.natural is None else []
    data = {s: _sr_data(plan, s) for s in sorted({s for s, _ in starts})}
    stages += data.values()
    for s, seed in starts:
        name, random_seed = sr_run(plan, s, seed), seed + 100 + s
        training = Training(name, Net.SR_FCN, f"{s}", None, (), (1,), random_seed, seed)
        stages.append(_train(plan, training, data[s].writes))
    return stages


def sr_run(plan: StudyPlan, s: int, seed: int) -> str:
    """Return the name of the super-resolution run at a factor."""
    return run_name(plan, f"{Net.SR_FCN}-{s}", seed)


def _recordings(plan: StudyPlan) -> list[Recording]:
    return find_recordings(plan.recordings, dimension=plan.dimension, skip=[plan.out.resolve()])


def _labelled(plan: StudyPlan, recording: Recording) -> bool:
    return has_labels(recording, plan.root, plan.dimension)


def _names(plan: StudyPlan) -> list[str]:
    labelled = [recording.name for recording in _recordings(plan) if _labelled(plan, recording)]
    names = [name for name in labelled if plan.partitions.of(name) in PHASES.values()]
    plan.partitions.require_known(labelled, plan.recordings, *PHASES.values())
    for partition in PHASES.values():
        if not plan.partitions.members(partition, names):
            choice = f"name some with --{partition}: {', '.join(labelled)}"
            hint = choice if labelled else places_of_labels(plan.root, plan.dimension)
            problem = f"no labelled {partition} recording found"
            raise DataError(problem, code="empty", file=plan.recordings, hint=hint)
    return names


def _otherwise(plan: StudyPlan, *parts: str) -> dict[str, Any]:
    """Return a stage's settings that depend on switches: none where they are the code's."""
    changed = changed_settings(plan.switches, *parts)
    changed.pop("sr_images", None)  # the files that are read differ
    return {"switches": changed} if changed else {}


def _partitioned(plan: StudyPlan) -> dict[str, Any]:
    """Return a stage's settings that depend on partitions given by the user."""
    return {"partitions": dict(plan.partitions.chosen)} if plan.partitions.chosen else {}


def _validated(validation: tuple[str, ...]) -> dict[str, Any]:
    """Return a stage's settings that depend on who validates: none where it is dev."""
    return {"validation": list(validation)} if validation else {}


def _prepare(plan: StudyPlan, names: Sequence[str], crops: list[Path]) -> Stage:
    recordings = [recording for recording in _recordings(plan) if recording.name in names]
    run = partial(work.do_prepare, plan, tuple(names))
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


def _submission(plan: StudyPlan, all_cells: Sequence[StudyCell]) -> list[Stage]:
    """Return the stages that predict the test recordings without labels; none without such recordings or without HR."""
    tested = [one for one in _recordings(plan) if plan.partitions.of(one.name) == "test"]
    recordings = [one for one in tested if not _labelled(plan, one)]
    nets = [cell for cell in all_cells if cell.method is Method.HR]
    if not recordings or not nets:
        return []
    cell, names = nets[0], tuple(recording.name for recording in recordings)
    crops = tuple(plan.root / "data/raw_data" / cell.test / f"{name}.mat" for name in names)
    run = partial(work.do_prepare, plan, names, unlabelled=True)
    after = plan.root / "data/raw_data" / cell.test / f"{_names(plan)[0]}.mat"  # prepare.json has one writer at a time
    prepare = Stage(
        "prepare unlabelled", run, _preparation(plan, names, ()), (*_inputs(plan, recordings), after), crops
    )
    weights = weights_of(plan, cell.run, cell.training.net)
    settings = {"threads": plan.threads, "device": plan.device, **_otherwise(plan, "h5")}
    h5 = plan.root / "h5_files" / cell.training.data
    submission = partial(work.do_submission, plan, cell, weights, h5, names)
    writes = (plan.root / "submission/submission.json",)
    return [prepare, Stage("submission", submission, settings, (weights, *crops), writes)]


def _own_size(s: int, crops: list[Path], writes: list[Path]) -> Stage:
    run = partial(work.do_own_size, s, tuple(zip(crops, writes, strict=True)))
    return Stage(f"own size {s}", run, {"scale": s}, tuple(crops), tuple(writes))


def _h5(plan: StudyPlan, training: Training, crops: list[Path], validation: tuple[str, ...]) -> Stage:
    folder, mixture = training.data, training.mixture
    target = plan.root / "h5_files" / folder
    writes = tuple(target / f"{phase}.{kind}" for phase in PHASES for kind in ("h5", "txt"))
    switched = _otherwise(plan, "h5", *(("h5 of the mixture",) if mixture else ()))
    settings = {"folder": folder, "mixture": list(mixture), "seed": plan.seed, **switched}
    settings |= _partitioned(plan) | _validated(validation)
    run = partial(work.do_h5, plan, folder, mixture, validation)
    return Stage(f"h5 {folder}", run, settings, tuple(crops), writes)


def _h5_of_sizes(plan: StudyPlan, training: Training, crops: list[Path], validation: tuple[str, ...]) -> Stage:
    """Return the stage of a mixture of faces at their own sizes: a file per factor, and lists of all files."""
    folder, factors = training.data, training.mixture
    target = plan.root / "h5_files" / folder
    writes = [target / f"{phase}.txt" for phase in PHASES]
    writes += [target / f"{factor}" / f"{phase}.h5" for factor in factors for phase in PHASES]
    writes += [target / f"{phase}_{factor}.h5" for factor in factors[1:] for phase in PHASES]
    settings = {"folder": folder, "factors": list(factors), "seed": plan.seed, **_otherwise(plan, "h5")}
    settings |= _partitioned(plan) | _validated(validation)
    run = partial(work.do_h5_of_sizes, plan, folder, factors, validation)
    return Stage(f"h5 {folder}", run, settings, tuple(crops), tuple(writes))


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
    name, net = training.name, training.net
    changes = {**plan.preset_of(net), "random_seed": training.random_seed}
    out = plan.root / "runs" / name
    weights = weights_of(plan, name, net)
    reads, initial = list(files), None
    if training.start is not None:
        initial = weights_of(plan, sr_run(plan, training.start, training.seed), Net.SR_FCN)
        reads.append(initial)
    switched = definitions.settings(net, plan.switches, training.sizes)
    settings = {"net": net, "changes": changes, "threads": plan.threads, "device": plan.device}
    settings |= {"switches": switched} if switched else {}
    run = partial(work.do_train, plan, name, net, _training_data(plan, training), initial, changes)
    cost = PlannedTraining(net, changes, training.sizes, out)
    return Stage(f"train {name}", run, settings, tuple(reads), (weights, out / "train.json"), cost)


def _training_data(plan: StudyPlan, training: Training) -> Path:
    return plan.root / ("sr" if training.net is Net.SR_FCN else "h5_files") / training.data


def weights_of(plan: StudyPlan, run: str, net: Net) -> Path:
    """Return the last snapshot of a run."""
    builder = definitions.builder(net)
    iterations = int(plan.preset_of(net).get("max_iter") or builder.solver(plan.switches).max_iter)
    return plan.root / "runs" / run / "snapshots" / f"{builder.snapshot_name}_iter_{iterations}.caffemodel"


def _evaluate(plan: StudyPlan, cell: StudyCell, crops: list[Path]) -> Stage:
    training = cell.training
    weights = weights_of(plan, training.name, training.net)
    factor = cell.tested if training.mixture and training.sizes != (1,) else None
    h5 = plan.root / "h5_files" / training.data
    run = partial(work.do_evaluate, plan, cell, training.net, weights, h5, factor)
    settings = {"threads": plan.threads, "device": plan.device, **_otherwise(plan, "h5")}
    writes = tuple(plan.root / cell.scores / folder / "scores.json" for folder in plan.score_folders.values())
    return Stage(f"score {cell.run} on {cell.test}", run, settings, (weights, *crops), writes)


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
    weights = weights_of(plan, one_for_all.run, Net.JOINT)
    factor = 4 if 4 in plan.scales else plan.scales[0]
    run = partial(work.do_figure2, plan, crops, weights, factor)
    drawn = Stage("figure 2", run, {"factor": factor, **switched}, (crops, weights), (folder / "figure2.png",))
    return [faces, drawn, nets]


def _coded(plan: StudyPlan, crops: list[Path]) -> list[Stage]:
    """Return the stages of Figure 4: those of its sweep, then the curves."""
    sweep = work.sweep_of(plan, coded_models(plan))
    stages: list[Stage] = list(sweep_stages(sweep, [path.stem for path in crops]))
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
            models[Model(shown_lr(method), weights_of(plan, cell.run, cell.training.net), scale)] = None
    return list(models)
