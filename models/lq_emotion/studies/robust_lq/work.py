"""The work of the study's stages; each may be called in another process, or on another machine."""

from __future__ import annotations

import os
from glob import escape
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.files import atomic_path, write_text
from caffe_compat.formats.image_size import open_image
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.common.lists import write_list
from lq_emotion.common.progress import Say
from lq_emotion.crops.h5 import OWN, RESULTS, H5Settings, PhaseResults, make_h5, named_apart
from lq_emotion.crops.prepare import prepare
from lq_emotion.crops.recording import PreparationSettings, shrink
from lq_emotion.datasets.avec.partitions import Partitions
from lq_emotion.evaluation.evaluate import evaluate
from lq_emotion.evaluation.settings import EvaluationSettings, SubmissionSettings
from lq_emotion.evaluation.submission import write_submission
from lq_emotion.nets.cnn_d import with_outputs
from lq_emotion.nets.definitions import builder
from lq_emotion.nets.names import Method, crops_folder
from lq_emotion.nets.sr_fcn import PATCH, output_size
from lq_emotion.studies.robust_lq.cells import StudyCell, Training, data_of, settings_of, weights_of
from lq_emotion.studies.robust_lq.figure1 import draw_factors, levels_of
from lq_emotion.studies.robust_lq.figure2 import draw_pipeline
from lq_emotion.studies.robust_lq.figure3 import draw_architectures
from lq_emotion.studies.robust_lq.image_sources import in_folder
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.studies.robust_lq.rate_distortion import SweepSettings, sweep_results
from lq_emotion.training.training_run import train
from matlab_ports.generate_test import generate_test
from matlab_ports.generate_train import generate_train
from matlab_ports.matfile import open_frames
from matlab_ports.prepare_dataset import stretch_luma
from matlab_ports.randstream import RandStream

DRAWS = 10
"""Passes in a mixture's file, each with its own draws, if `PaperSwitches.mixture` is "each_epoch"."""
PHASES = {"train": "train", "test": "dev"}  # Caffe's TEST phase sees the development recordings by default
_FOLDERS = {  # the first with images is used
    "train": ("Train", "train"),
    "test": ("Test/Set5", "Set5", "Test", "test"),
}


def do_prepare(plan: StudyPlan, names: tuple[str, ...], say: Say, *, unlabelled: bool = False) -> None:
    """Make the crops of recordings, HQ and at every factor; of recordings without labels HQ only."""
    jobs = min(2, os.cpu_count() or 1)
    settings = PreparationSettings(
        scales=() if unlabelled else plan.scales,
        dimension=plan.dimension,
        delay=plan.delay,
        smallest=plan.switches.smallest_face,
        figures=plan.previews,
        luma="gray" if plan.switches.luminance == "gray" else "rgb",
    )
    outcomes = prepare(
        plan.recordings, plan.root, settings, names=names, boxes=plan.boxes, jobs=jobs, say=say,
        partitions=plan.partitions if plan.partitions.chosen else None, unlabelled=unlabelled,
    )  # fmt: skip
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        problem = f"{len(failed)} recordings could not be prepared: {failed[0].error}"
        raise DataError(problem, code="invalid", file=plan.recordings)


def do_h5(plan: StudyPlan, training: Training, validation: tuple[str, ...], say: Say) -> None:
    """Make the HDF5 files of a training, test.h5 of `validation`, else of dev."""
    folder, factors = training.data, training.mixture
    of_file = plan.switches.normalisation == "file"
    draws = DRAWS if factors and plan.switches.mixture == "each_epoch" else 1
    source = crops_folder(1) if factors else folder
    settings = H5Settings(
        source=source, name=folder, mix=factors, mix_epochs=draws, mean_sub=of_file, norm=of_file, seed=plan.seed
    )
    make_h5(plan.root, settings, partitions=_while_learning(plan, validation), say=say)


def _while_learning(plan: StudyPlan, validation: tuple[str, ...]) -> Partitions:
    return plan.partitions.tested_on(validation) if validation else plan.partitions


def do_h5_of_sizes(plan: StudyPlan, training: Training, validation: tuple[str, ...], say: Say) -> None:
    """Make the HDF5 files of a mixture of faces at their own sizes, and the lists that name all of them.

    See `do_h5`.
    """
    folder, factors = training.data, training.mixture
    of_file = plan.switches.normalisation == "file"
    for factor in factors:  # in different orders, or a batch would contain each frame thrice
        name, seed = f"{folder}/{factor}", 100 * (plan.seed + 1) + factor
        source = f"{crops_folder(factor)}{OWN}"
        settings = H5Settings(source=source, name=name, mean_sub=of_file, norm=of_file, seed=seed)
        make_h5(plan.root, settings, partitions=_while_learning(plan, validation), say=say)
    first, *others = factors
    target = plan.root / "h5_files" / folder
    for phase in PHASES:
        for factor in others:
            named_apart(target / f"{factor}" / f"{phase}.h5", target / f"{phase}_{factor}.h5", f"_{factor}")
        files = [target / f"{first}" / f"{phase}.h5", *(target / f"{phase}_{factor}.h5" for factor in others)]
        write_list(files, target / f"{phase}.txt")


def do_own_size(s: int, files: tuple[tuple[Path, Path], ...], say: Say) -> None:
    """Make crops whose faces are 1/s as large, with the same times and labels."""
    for source, target in files:
        shrink(source, target, s)
        say(f"{target}: 1/{s} of {source}")


def do_train(plan: StudyPlan, training: Training, say: Say) -> None:
    """Train a net, or resume its training: on the CPU, bit for bit as if it had never stopped."""
    try:
        train(settings_of(plan, training), say)
    except DataError as error:
        raise DataError(f"{training.name}: {error}", code=error.code) from None


def do_evaluate(plan: StudyPlan, cell: StudyCell, say: Say) -> None:
    """Score a net on one kind of crops; one that was trained on several sizes, with its definition for theirs."""
    training, factor = cell.training, cell.tested
    h5, definition = data_of(plan, training), None
    if training.mixes_sizes:
        definition = plan.root / cell.scores / "deploy.prototxt"
        definition.parent.mkdir(parents=True, exist_ok=True)
        deploy = with_outputs(builder(training.net).deploy(plan.switches, factor), len(plan.score_folders))
        write_text(deploy, definition)
        h5 /= str(min(plan.mixture, key=lambda trained: abs(trained - factor)))
    mean, std = _statistics(plan, h5)
    if plan.switches.normalisation == "file":
        say(f"frames less the mean {mean:.6g}, over the deviation {std:.6g}")
    settings = EvaluationSettings(
        weights=weights_of(plan, training), data=plan.root / "data/raw_data" / cell.test, out=plan.root / cell.scores,
        partitions=plan.partitions, net=definition, mean=mean, std=std, device=plan.device,
        plots=isinstance(cell.method, Method) and training.seed == plan.seed,
    )  # fmt: skip
    evaluate(settings, say)


def _statistics(plan: StudyPlan, h5: Path) -> tuple[float, float]:
    """Return mean and standard deviation by which the training files were normalised; 0 and 1 if they were not."""
    if plan.switches.normalisation != "file":
        return 0.0, 1.0
    with contents_of(h5 / RESULTS):
        train = PhaseResults.from_json((read_json(h5 / RESULTS) or {})["train"])
        if train.mean is None or train.std is None:
            raise ValueError("the data were not normalised")
        return train.mean, train.std


def do_submission(plan: StudyPlan, cell: StudyCell, names: tuple[str, ...], say: Say) -> None:
    """Predict recordings without labels, in the form of the gold standard."""
    mean, std = _statistics(plan, data_of(plan, cell.training))
    settings = SubmissionSettings(
        weights=weights_of(plan, cell.training), data=plan.root / "data/raw_data" / cell.test,
        out=plan.root / "submission", names=names, mean=mean, std=std, device=plan.device,
    )  # fmt: skip
    write_submission(settings, say)


def do_figure1(plan: StudyPlan, crops: Path, _say: Say) -> None:
    """Draw a face of a recording, HR and at every factor."""
    levels = levels_of(plan.switches.luminance)
    draw_factors(crops, _figure(plan, 1), factors=plan.scales, levels=levels, synthetic=plan.synthetic)


def do_figure2(plan: StudyPlan, crops: Path, weights: Path, factor: int, _say: Say) -> None:
    """Draw the pipeline with what each step makes of a frame."""
    levels = levels_of(plan.switches.luminance)
    draw_pipeline(crops, weights, factor, _figure(plan, 2), levels=levels, synthetic=plan.synthetic)


def do_figure3(plan: StudyPlan, _say: Say) -> None:
    """Draw the architectures of SR-FCN and of the CNN."""
    draw_architectures(_figure(plan, 3), switches=plan.switches)


def _figure(plan: StudyPlan, number: int) -> Path:
    return plan.root / "study" / f"figure{number}.png"


def do_figure4(sweep: SweepSettings, _say: Say) -> None:
    """Score what the nets predicted of coded frames, and draw Figure 4."""
    sweep_results(sweep)


def do_faces(plan: StudyPlan, crops: tuple[Path, ...], count: int, _say: Say) -> None:
    """Sample faces evenly from the training recordings; the last tenth is held out."""
    faces = []
    for path in crops:
        with open_frames(path) as frames:
            share = min(len(frames), -(-count // len(crops)))
            taken = frames.take(np.linspace(0, len(frames) - 1, share).round().astype(int))
        faces += [np.asarray(np.round(255 * face).clip(0, 255), np.uint8) for face in np.moveaxis(taken, 2, 0)]
    held_out = max(1, len(faces) // 10)
    for phase, chosen in (("train", faces[:-held_out]), ("test", faces[-held_out:])):
        folder = plan.root / "sr/images" / phase
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
        for number, face in enumerate(chosen):
            with atomic_path(folder / f"face_{number:05d}.png") as partial_path:
                Image.fromarray(face).save(partial_path, format="png")
        (folder.parent / f"{phase}.made").write_text(f"{len(chosen)}\n", encoding="utf-8")


def do_sr_data(plan: StudyPlan, s: int, _say: Say) -> None:
    """Make the files of generate_train and generate_test with one random stream for both."""
    target = plan.root / "sr" / f"{s}"
    stream = RandStream(plan.seed)
    images = sr_images(plan)
    label = output_size(PATCH, switches=plan.switches)
    options: dict[str, Any] = {"scale": s, "gray": "repeat", "stream": stream, "size_label": label}
    strides = {"train": {"stride": plan.preset_of("sr")["scale_stride"]}, "test": {}}
    for phase, generate in (("train", generate_train), ("test", generate_test)):
        with atomic_path(target / f"{phase}.h5") as partial:
            names = [escape(path.name) for path in images[phase]]
            generate(images[phase][0].parent, partial, pattern=names, **strides[phase], **options)
            if plan.switches.luminance == "gray":
                _stretch(partial)
    for phase in PHASES:
        write_list([target / f"{phase}.h5"], target / f"{phase}.txt")


def _stretch(path: Path) -> None:
    """Stretch Y, from 16/255 to 235/255, to gray, from 0 to 1, in a file of patches."""
    with h5py.File(path, "r+") as file:
        for name in ("data", "label"):
            file[name][...] = stretch_luma(file[name][...])


def sr_images(plan: StudyPlan) -> dict[str, list[Path]]:
    """Return the images for training and for testing: Train and Test/Set5 in the authors' ``pretrain``."""
    if plan.natural is None:
        return {phase: in_folder(plan.root / "sr/images" / phase) for phase in PHASES}
    chosen = {}
    for phase, names in _FOLDERS.items():
        present = (plan.natural / name for name in names if (plan.natural / name).is_dir())
        chosen[phase] = next((images for folder in present if (images := in_folder(folder))), [])
        if not chosen[phase]:
            hint = f"add a folder {' or '.join(names)}, as in the authors' folder pretrain"
            problem = f"no images to {phase} with"
            raise FileError(problem, code="empty", file=plan.natural, field="--sr-images", hint=hint)
    for path in (path for paths in chosen.values() for path in paths):
        _require_image(path)
    return chosen


def _require_image(path: Path) -> None:
    """Refuse a file whose header is not an image's; a truncated image is refused by the stage that reads it."""
    try:
        open_image(path).close()
    except (OSError, SyntaxError, ValueError):
        hint = "remove it, or convert it to BMP"
        raise FileError("not a readable image", code="damaged-file", file=path, hint=hint) from None
