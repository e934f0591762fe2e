"""Table 1: nets that learn the images of FER+, by stages; each may be called in another process.

A net begins with a base whose top is taken off, and two dense layers put on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from caffe_compat.build.net import load_net
from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.build.weights import read_weights, save_weights
from caffe_compat.errors import DataError, FileError, NetError, SolverError, WeightsError
from caffe_compat.formats.files import atomic_path
from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import contents_of, read_json, read_record, write_json
from lq_emotion.common.lists import write_lines
from lq_emotion.common.progress import Say
from lq_emotion.datasets.ferplus import EMOTIONS, labelled, read_ferplus
from lq_emotion.metrics.classification import ClassScores, class_scores
from lq_emotion.nets.blocks import hdf5_data
from lq_emotion.nets.head import LABEL, HeadedNet, features_input, headed_training_net, sgd, with_head
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.installation import write_sidecars
from lq_emotion.nets.known.loading import find_description
from lq_emotion.nets.known.outputs import Labels
from lq_emotion.studies.cloud_robotics.plan import BEST, CloudPlan
from lq_emotion.studies.cloud_robotics.results import ImageResult, best_on_dev
from lq_emotion.training.features import FeatureNet, cache_features
from lq_emotion.training.run import Run, train
from lq_emotion.workflow.search import Parameter, Trial

Partition = Literal["train", "dev", "test"]
PARTITIONS: tuple[Partition, ...] = ("train", "dev", "test")
SPACE = (
    Parameter("stage1_lr", 1e-4, 1e-1, log=True),
    Parameter("stage2_lr", 1e-5, 3e-2, log=True),
    Parameter("weight_decay", 1e-5, 1e-2, log=True),
)
"""The parameters of the search; the paper does not state them. Stage 1 trains the head, stage 2 everything."""
WEIGHTS = "net.caffemodel"  # in the folder of a trial
_SNAPSHOTS = 4  # of a training


def list_path(plan: CloudPlan, partition: Partition) -> Path:
    """Return the list of a partition's images: in each line a file and the number of its class."""
    return plan.out / "ferplus" / f"{partition}.txt"


def features_path(plan: CloudPlan, name: str) -> Path:
    """Return the HDF5 file with a base's features of the training images."""
    return plan.out / "ferplus" / "features" / f"{name}.h5"


def trials_folder(plan: CloudPlan, name: str) -> Path:
    """Return the folder of a base's trials."""
    return plan.out / "ferplus" / ("search" if plan.trials else "trained") / name


def net_path(plan: CloudPlan, name: str) -> Path:
    """Return the weights of a base's net; a copy of the best base's is called ``best``."""
    return plan.out / "nets" / name / f"{name}.caffemodel"


def result_path(plan: CloudPlan, name: str) -> Path:
    """Return the file with the scores of a base's net."""
    return plan.out / "ferplus" / "scores" / f"{name}.json"


@dataclass(frozen=True)
class Base:
    """A net to fine-tune."""

    name: str
    """``vggface2``, ``imagenet``."""
    weights: Path
    blob: str
    """The last that is kept, whose values are the features."""
    net: HeadedNet
    """The whole net with its new head."""
    head: HeadedNet
    """The head alone, whose input is the features."""
    preprocessing: Preprocessing
    """Makes the input of the net from a crop."""

    @property
    def side(self) -> int:
        """Height and width that crops are resized to, before the centre is cut out."""
        prepared = self.preprocessing
        return prepared.short_side or (prepared.resize or prepared.crop or self._input)[0]

    @property
    def features(self) -> int:
        """Number of features of an image."""
        layer = next(layer for layer in self.head.deploy.layer if layer.type == "Input")
        return math.prod(layer.input_param.shape[0].dim[1:])

    @property
    def _input(self) -> tuple[int, int]:
        layer = next(layer for layer in self.net.deploy.layer if layer.type == "Input")
        height, width = layer.input_param.shape[0].dim[2:]
        return height, width

    def images(self, source: Path, batch: int, *, augmented: bool) -> pb.LayerParameter:
        """Return the data layer that feeds a list's images in order; `augmented`, mirrored and cropped at random."""
        prepared, crop = self.preprocessing, self.preprocessing.crop or (0, 0)
        layer = pb.LayerParameter(name="data", type="ImageData", top=[prepared.input, LABEL])
        images, transform = layer.image_data_param, layer.transform_param
        images.source, images.root_folder, images.batch_size = str(source), f"{source.parent}/", batch
        images.new_height = images.new_width = self.side
        images.is_color = prepared.channels != "GRAY"
        if prepared.mean is not None:
            means = prepared.mean.reshape(len(prepared.mean), -1).mean(axis=1) / prepared.raw_scale
            transform.mean_value.extend(means.astype(np.float32).tolist())
        if (scale := prepared.raw_scale * prepared.scale) != 1:
            transform.scale = scale
        if crop != (0, 0):
            transform.crop_size = crop[0]
        transform.mirror = augmented
        layer.phase = pb.TRAIN if augmented else pb.TEST  # of TEST is the crop in the middle
        return layer


def load_base(plan: CloudPlan, name: str) -> Base:
    """Return a base with a head for the plan's classes."""
    described, recipe = find_description(plan.weights[name], any_outputs=True), plan.recipe
    definition, blob = described.definition, last_features(described.definition)
    whole, alone = (
        with_head(below, blob=blob, hidden=recipe.hidden, classes=plan.choices.classes, dropout=recipe.dropout)
        for below in (definition, features_input(definition, blob))
    )
    crop = described.preprocessing.crop
    if crop is not None and crop[0] != crop[1]:
        raise WeightsError(
            "images must be square", code="unsupported", file=described.weights, field="crop", value=crop
        )
    return Base(name, described.weights, blob, whole, alone, described.preprocessing)


def last_features(definition: pb.NetParameter) -> str:
    """Return the blob that the last layer with weights reads; its output if that is no InnerProduct."""
    layers = [layer for layer in definition.layer if facts(layer.type).weight_message]
    if not layers:
        raise NetError("no layer with weights", code="unsupported", field="definition")
    if layers[-1].type == "InnerProduct":
        return str(layers[-1].bottom[0])
    return str(definition.layer[-1].top[0])


def do_images(plan: CloudPlan, say: Say) -> None:
    """Write the images that have a class as PNG, and a list for each partition; that of train in a drawn order."""
    import cv2

    data = read_ferplus(plan.ferplus)
    folder = plan.out / "ferplus" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(plan.seed)
    for partition in PARTITIONS:
        indices, labels = labelled(data, partition, **plan.labels)
        if not len(indices):
            problem, hint = "no image has a class", "another --rule or --split"
            raise DataError(problem, code="empty", file=data.path, field=partition, hint=hint)
        rows = list(zip(indices.tolist(), labels.tolist(), strict=True))
        if partition == "train":
            rows = [rows[place] for place in rng.permutation(len(rows))]
        for index, _ in rows:
            path = folder / f"{index:05d}.png"
            if not cv2.imwrite(str(path), data.image(index)):
                raise FileError("cannot be written", code="file-unwritable", file=path)
        write_lines([f"images/{index:05d}.png {label}" for index, label in rows], list_path(plan, partition))
        say(f"{partition}: {len(rows)} images")


def do_features(plan: CloudPlan, name: str, say: Say) -> None:
    """Compute a base's features of the training images, once for all trials."""
    base, source = load_base(plan, name), list_path(plan, "train")
    rows = len(source.read_text(encoding="utf-8").splitlines())
    data = base.images(source, plan.recipe.batch * plan.recipe.iter_size, augmented=False)
    out = features_path(plan, name)
    cache_features(
        base.net, base.blob, base.weights, data, rows, out, threads=plan.threads, device=plan.device, say=say
    )


def do_trial(plan: CloudPlan, name: str, parameters: Mapping[str, float], folder: Path, say: Say) -> float:
    """Train a base's net with values of `SPACE`, or go on, to FOLDER/net.caffemodel; return its error rate on dev."""
    base = load_base(plan, name)
    head = _train_head(plan, base, parameters, folder / "head", say)
    start = folder / "start.caffemodel"
    _join(base, head, start)
    weights = _train_all(plan, base, parameters, folder / "net", start, say)
    wrong = 1.0
    if _finite(weights):
        save_weights(load_net(base.net.deploy, weights), folder / WEIGHTS)
        scores = score(plan, base, folder / WEIGHTS, "dev")
        wrong -= scores.accuracy
        say(f"dev: {scores.accuracy:.4f} of {scores.count} images")
    else:
        say("diverged")
        (folder / WEIGHTS).unlink(missing_ok=True)
    for path in [start, *(folder / "head").rglob("*_iter_*"), *(folder / "net").rglob("*_iter_*")]:
        path.unlink(missing_ok=True)
    return wrong


def do_preset(plan: CloudPlan, name: str, say: Say) -> None:
    """Train a base's net with the rates of the preset, as the only trial."""
    folder = trials_folder(plan, name) / "trial_00"
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {parameter.name: float(getattr(plan.recipe, parameter.name)) for parameter in SPACE}
    wrong = do_trial(plan, name, parameters, folder, say)
    write_json(Trial(0, parameters, wrong).to_json(), folder.with_suffix(".json"))


def do_test(plan: CloudPlan, name: str, trials: tuple[Path, ...], _say: Say) -> None:
    """Take the best trial of a base on dev as its net, and score it on test."""
    course = [read_record(path, Trial) for path in trials]
    trial = min(course, key=lambda trial: trial.objective)
    base, weights = load_base(plan, name), trials_folder(plan, name) / f"trial_{trial.number:02}" / WEIGHTS
    if not weights.is_file():
        problem, hint = "all trainings diverged", "smaller rates: --set stage1_lr=0.001 stage2_lr=0.0001"
        raise SolverError(problem, code="not-finite", field="--weights", value=name, hint=hint)
    target = net_path(plan, name)
    with atomic_path(target) as partial:
        partial.write_bytes(weights.read_bytes())
    names = EMOTIONS[: plan.choices.classes]
    crop = FaceCrop(margin=plan.choices.grow / 2)
    write_sidecars(target, base.net.deploy, base.preprocessing, Labels(names), crop)
    scores = score(plan, base, target, "test")
    result = ImageResult(
        base=name,
        weights=target.relative_to(plan.out).as_posix(),
        sha256=file_sha256(target),
        classes=names,
        confusion=tuple(tuple(row) for row in scores.confusion.tolist()),
        trial=trial.number if plan.trials else None,
        parameters=dict(trial.parameters),
        dev_accuracy=1 - trial.objective,
        space=SPACE if plan.trials else (),
        course=tuple(course) if plan.trials else (),
    )
    write_json(result.to_json(), result_path(plan, name))


def do_choose(plan: CloudPlan, _say: Say) -> None:
    """Copy the net that is best on dev, with the files that describe it, to nets/best."""
    best = best_on_dev([read_result(plan, name) for name in plan.weights]).base
    source, target = net_path(plan, best), net_path(plan, BEST)
    suffixes = (".prototxt", ".preprocess.json", ".labels.txt", ".crop.json", ".caffemodel")
    for suffix in suffixes:
        with atomic_path(target.with_suffix(suffix)) as partial:
            partial.write_bytes(source.with_suffix(suffix).read_bytes())
    write_json({"base": best}, target.with_suffix(".json"))


def read_result(plan: CloudPlan, name: str) -> ImageResult:
    """Return the scores of a base's net."""
    return read_record(result_path(plan, name), ImageResult)


def best_base(plan: CloudPlan) -> Base:
    """Return the base whose net is best on dev."""
    path = net_path(plan, BEST).with_suffix(".json")
    with contents_of(path):
        return load_base(plan, str(read_json(path)["base"]))


def score(plan: CloudPlan, base: Base, weights: Path, partition: Partition) -> ClassScores:
    """Return how a net does on the images of a partition."""
    import cv2

    net = FeatureNet(base.net.deploy, weights, base.blob, device=plan.device)
    source = list_path(plan, partition)
    lines = [line.rsplit(" ", 1) for line in source.read_text(encoding="utf-8").splitlines()]
    answers: list[npt.NDArray[np.int64]] = []
    for first in range(0, len(lines), 64):
        images = [cv2.imread(str(source.parent / name), cv2.IMREAD_GRAYSCALE) for name, _ in lines[first : first + 64]]
        _, probabilities = net(np.stack([base.preprocessing(image) for image in images if image is not None]))
        answers.append(probabilities.argmax(axis=1))
    labels = [int(label) for _, label in lines]
    return class_scores(np.concatenate(answers), labels, plan.choices.classes)


def _train_head(plan: CloudPlan, base: Base, parameters: Mapping[str, float], folder: Path, say: Say) -> Path:
    """Stage 1: train the head on features, in one pass of as many images as all of stage 2's, and return a snapshot."""
    source = features_path(plan, base.name).with_suffix(".txt")
    batch = plan.recipe.batch * plan.recipe.iter_size
    message = headed_training_net(base.head, [hdf5_data(str(source), batch, tops=(base.blob, LABEL))], frozen=False)
    fields = _fields(plan, folder, parameters["stage1_lr"], plan.recipe.stage1_iterations)
    solver = sgd(weight_decay=parameters["weight_decay"], **fields)
    return _train(plan, message, solver, folder, [features_path(plan, base.name)], None, say)


def _train_all(
    plan: CloudPlan, base: Base, parameters: Mapping[str, float], folder: Path, weights: Path, say: Say
) -> Path:
    """Stage 2: train everything, and return a snapshot."""
    source = list_path(plan, "train")
    data = base.images(source, plan.recipe.batch, augmented=True)
    fields = _fields(plan, folder, parameters["stage2_lr"], plan.recipe.stage2_iterations)
    solver = sgd(iter_size=plan.recipe.iter_size, weight_decay=parameters["weight_decay"], **fields)
    return _train(
        plan, headed_training_net(base.net, [data], frozen=False), solver, folder, [source, weights], weights, say
    )


def _fields(plan: CloudPlan, folder: Path, rate: float, iterations: int) -> dict[str, Any]:
    """Return the fields of a solver that both stages have."""
    return {
        "net": str(folder / "net.prototxt"), "snapshot_prefix": str(Run(folder, "net", "").prefix), "base_lr": rate,
        "max_iter": iterations, "snapshot": max(1, iterations // _SNAPSHOTS), "random_seed": plan.seed,
    }  # fmt: skip


def _train(
    plan: CloudPlan,
    message: pb.NetParameter,
    solver: pb.SolverParameter,
    folder: Path,
    inputs: Sequence[Path],
    weights: Path | None,
    say: Say,
) -> Path:
    run = Run(folder, "net", f"{folder.parent.name} {folder.name}")
    return train(run, message, solver, say, inputs=inputs, device=choose_device(plan.device), weights=weights)


def _finite(weights: Path) -> bool:
    return all(
        np.isfinite(blob).all() for blobs in read_weights(weights).values() for blob in blobs if blob is not None
    )


def _join(base: Base, head: Path, path: Path) -> None:
    """Write the base's weights and those of a trained head as one file."""
    blobs = {**read_weights(base.weights), **read_weights(head)}
    save_weights(load_net(base.net.deploy, blobs), path)
