"""Tables (a), (b) and (c): the clips of RAVDESS in versions of many sizes and rates, by stages.

ROOT/ravdess/boxes/CLIP.csv has the face in each frame of a clip, found at full size; features/actor_NN.h5 the
features and class scores of all frames of an actor's clips in all versions, as VERSION/CLIP. Each LSTM learns windows
of 30 frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from caffe_compat.errors import FileError
from caffe_compat.formats.files import atomic_path, new_hdf5, write_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.devices import choose_device
from lq_emotion.common.json_files import contents_of, read_json, write_json
from lq_emotion.common.progress import Say
from lq_emotion.crops.versions import Version, clip_boxes, crop_version, read_clip
from lq_emotion.datasets.ferplus import EMOTIONS as IMAGE_EMOTIONS
from lq_emotion.datasets.ravdess import EMOTIONS, WINDOW, RavdessClip, window_frames
from lq_emotion.evaluation.aggregation import AGGREGATIONS
from lq_emotion.faces.boxfiles import read_boxes, write_boxes
from lq_emotion.metrics.classification import class_scores
from lq_emotion.nets.head import adam
from lq_emotion.nets.lstm import SequenceHead
from lq_emotion.studies.cloud_robotics.images import best_base, net_path
from lq_emotion.studies.cloud_robotics.link.table import RateTable, clip_cost, operating_point
from lq_emotion.studies.cloud_robotics.paper import Aggregation
from lq_emotion.studies.cloud_robotics.plan import ALL, BEST, CloudPlan
from lq_emotion.studies.cloud_robotics.results import ClipResult
from lq_emotion.training.features import FeatureNet
from lq_emotion.training.plateau import PLATEAU, best_iteration, read_losses
from lq_emotion.training.run import Run, train
from lq_emotion.training.sequences import predict_sequences, write_sequences

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
NAMES: Mapping[str, str] = {
    "happiness": "happy", "surprise": "surprised", "sadness": "sad", "anger": "angry", "fear": "fearful",
}  # fmt: skip
"""RAVDESS's names of the emotions of FER+; the others have the same, or none: contempt. Nothing in FER+ is calm."""
_LSTM = "lstm-"  # begins the names of LSTMs
_TESTS = 20  # of an LSTM's training


@dataclass(frozen=True)
class ClipFeatures:
    """A clip in a version as the net sees it."""

    features: Singles
    """(T, C)."""
    scores: Singles
    """(T, k), of the classes of FER+."""
    times: Doubles
    """(T,), seconds."""
    bits: Doubles
    """(T,), of each frame as it was coded; NaN if it was not."""


def boxes_path(plan: CloudPlan, clip: RavdessClip) -> Path:
    """Return the file with the boxes of the face in a clip."""
    return plan.out / "ravdess" / "boxes" / f"{clip.name}.csv"


def features_path(plan: CloudPlan, actor: int, *, coded: bool = False) -> Path:
    """Return the HDF5 file with the features of an actor's clips, in the coded versions or the others."""
    return plan.out / "ravdess" / ("coded" if coded else "features") / f"actor_{actor:02}.h5"


def lstm_path(plan: CloudPlan, name: str) -> Path:
    """Return the weights of an LSTM."""
    return plan.out / "nets" / f"{_LSTM}{name}" / f"{_LSTM}{name}.caffemodel"


def decisions_path(plan: CloudPlan, name: str) -> Path:
    """Return the file with a method's classes of the test clips: ``mean``, ``mode``, ``lstm-720p30``.

    It has the number of the class, an index of `EMOTIONS`, by version and clip.
    """
    return plan.out / "ravdess" / "decisions" / f"{name}.json"


def clips_of(plan: CloudPlan, actors: Sequence[int]) -> list[RavdessClip]:
    """Return the clips of actors."""
    return [clip for clip in plan.clips if clip.actor in actors]


def do_boxes(plan: CloudPlan, actor: int, say: Say) -> None:
    """Find the face in each frame of an actor's clips."""
    for clip in clips_of(plan, [actor]):
        _, times = read_clip(clip.path)
        tracked = clip_boxes(clip.path, times)
        write_boxes(boxes_path(plan, clip), tracked.bbox, times, detected=tracked.detected)
        say(f"{clip.name}: a face in {int(tracked.detected.sum())} of {len(times)} frames")


def do_features(plan: CloudPlan, actor: int, say: Say, *, coded: bool = False) -> None:
    """Compute features and scores of an actor's clips in all versions, by the net that is best on FER+."""
    base = best_base(plan)
    net = FeatureNet(base.net.deploy, net_path(plan, BEST), base.blob, device=plan.device)
    path = features_path(plan, actor, coded=coded)
    with new_hdf5(path) as writer:
        for clip in clips_of(plan, [actor]):
            frames, times = read_clip(clip.path)
            boxes = read_boxes(boxes_path(plan, clip)).bbox
            for version in plan.coded if coded else plan.versions:
                crops = crop_version(frames, times, boxes, version, side=base.side, grow=plan.choices.grow)
                features, scores = net(np.stack([base.preprocessing(image) for image in crops.frames]))
                values = ClipFeatures(features, scores, crops.times, crops.bits)
                writer.do(partial(_fill, name=f"{version.name}/{clip.name}", values=values))
            say(f"{clip.name}: {len(frames)} frames")


def _fill(file: h5py.File, name: str, values: ClipFeatures) -> None:
    group = file.create_group(name)
    for field in fields(ClipFeatures):
        group[field.name] = getattr(values, field.name)


def read_features(plan: CloudPlan, version: Version, clip: RavdessClip) -> ClipFeatures:
    """Return a clip in a version."""
    path = features_path(plan, clip.actor, coded=version.qp is not None)
    try:
        with h5py.File(path, "r") as file:
            group = file[f"{version.name}/{clip.name}"]
            return ClipFeatures(*(group[field.name][:] for field in fields(ClipFeatures)))
    except FileNotFoundError:
        raise FileError("no such file", code="file-missing", file=path) from None
    except (KeyError, OSError) as error:
        hint = "remove it, and run again"
        raise FileError(f"contains no features: {error}", code="damaged-file", file=path, hint=hint) from None


@dataclass(frozen=True)
class Windows:
    """The 30 frames that an LSTM sees of clips, each in every version, (30, C), with the number of its emotion."""

    plan: CloudPlan
    versions: Sequence[Version]
    clips: Sequence[RavdessClip]

    def __len__(self) -> int:
        return len(self.versions) * len(self.clips)

    def __getitem__(self, index: int, /) -> tuple[Singles, int]:
        version, clip = self.versions[index // len(self.clips)], self.clips[index % len(self.clips)]
        features = read_features(self.plan, version, clip).features
        return features[window_frames(len(features), self.plan.choices.window)], clip.label


def sequence_head(plan: CloudPlan) -> SequenceHead:
    """Return the sizes of the LSTM and its dense layers."""
    base, recipe = best_base(plan), plan.recipe
    return SequenceHead(WINDOW, base.features, recipe.memory, recipe.sequence_hidden, len(EMOTIONS))


def do_lstm(plan: CloudPlan, name: str, say: Say) -> None:
    """Train an LSTM on the windows of its versions, and decide on the clips of the test actors in all versions.

    Of its snapshots, the one that is best on dev is kept.
    """
    recipe, versions, split = plan.recipe, plan.regimes[name], plan.split
    run = Run((plan.out / "runs" / f"{_LSTM}{name}").resolve(), "lstm", f"LSTM {name}")
    run.folder.mkdir(parents=True, exist_ok=True)
    batch, target, head = recipe.sequence_batch, lstm_path(plan, name), sequence_head(plan)
    parts = {"train": split.train, "dev": split.dev} if split.dev else {"train": split.train}
    data = []
    for (part, actors), phase in zip(parts.items(), (pb.TRAIN, pb.TEST), strict=False):
        shown = Windows(plan, versions, clips_of(plan, actors))
        source = write_sequences(shown, run.folder, part, batch=batch, seed=plan.seed)
        data.append(head.data(str(source), batch, phase))
    tests = -(-len(clips_of(plan, split.dev)) * len(versions) // batch)
    solver = _solver(plan, run, tests)
    inputs = [run.folder / file for part in parts for file in sorted(run.folder.glob(f"{part}_*.h5"))]
    message, device = head.training(data, sequences=batch), choose_device(plan.device)
    train(run, message, solver, say, inputs=inputs, device=device, on_plateau=bool(tests), only_best=bool(tests))
    best = solver.max_iter
    if tests:
        losses = read_losses(run.folder / PLATEAU, solver.max_iter + 1)
        best = best_iteration(losses) or solver.max_iter
        say(f"iteration {best} of {solver.max_iter} is best on dev")
    write_text(head.deploy(), target.with_suffix(".prototxt"))
    with atomic_path(target) as partial_path:
        partial_path.write_bytes(run.snapshot(best).read_bytes())
    write_json(answers(plan, name, plan.versions), decisions_path(plan, f"{_LSTM}{name}"))


def _solver(plan: CloudPlan, run: Run, tests: int) -> pb.SolverParameter:
    """Return Adam, whose rate is divided by ten when the loss on dev stalls, if there is a dev."""
    recipe = plan.recipe
    interval = max(1, recipe.sequence_iterations // _TESTS)
    solver = adam(
        net=str(run.folder / "net.prototxt"), snapshot_prefix=str(run.prefix), base_lr=recipe.sequence_lr,
        max_iter=recipe.sequence_iterations, snapshot=interval, random_seed=plan.seed,
        test_iter=tests, test_interval=interval if tests else 0,
    )  # fmt: skip
    solver.snapshot_format = pb.SolverParameter.BINARYPROTO
    if tests:
        solver.lr_policy, solver.gamma = "multistep", 0.1
    return solver


def do_frames(plan: CloudPlan, _say: Say) -> None:
    """Decide on the clips of the test actors by the mean and by the mode of all their frames."""
    names = IMAGE_EMOTIONS[: plan.choices.classes]
    known = [place for place, name in enumerate(names) if NAMES.get(name, name) in EMOTIONS]
    numbers = [EMOTIONS.index(NAMES.get(names[place], names[place])) for place in known]
    for method, aggregate in AGGREGATIONS.items():
        decided = {
            version.name: {
                clip.name: numbers[aggregate(read_features(plan, version, clip).scores[:, known])]
                for clip in clips_of(plan, plan.split.test)
            }
            for version in plan.versions
        }
        write_json(decided, decisions_path(plan, method))


def answers(plan: CloudPlan, name: str, versions: Sequence[Version]) -> dict[str, dict[str, int]]:
    """Return an LSTM's predictions for the test actors' clips, by version and clip: numbers of `EMOTIONS`."""
    head, clips, decided = sequence_head(plan), clips_of(plan, plan.split.test), {}
    for version in versions:
        shown = Windows(plan, [version], clips)
        features = np.stack([shown[index][0] for index in range(len(shown))])
        probabilities = predict_sequences(head, lstm_path(plan, name), features, device=plan.device)
        names = [clip.name for clip in clips]
        decided[version.name] = dict(zip(names, probabilities.argmax(axis=1).tolist(), strict=True))
    return decided


def clip_results(plan: CloudPlan, name: str) -> Iterator[ClipResult]:
    """Yield the confusions of a method in each version: ``mean``, ``mode``, ``lstm-720p30``."""
    path, labels = decisions_path(plan, name), {clip.name: clip.label for clip in plan.clips}
    trained = name.removeprefix(_LSTM) if name.startswith(_LSTM) else None
    method = Aggregation(name) if trained is None else Aggregation.LSTM
    with contents_of(path):
        for version, decided in read_json(path).items():
            scores = class_scores(list(decided.values()), [labels[clip] for clip in decided], len(EMOTIONS))
            confusion = tuple(tuple(row) for row in scores.confusion.tolist())
            yield ClipResult(method=method, trained=trained, version=version, confusion=confusion)


def table_path(plan: CloudPlan) -> Path:
    """Return the file that ``lq-emotion link --table`` takes."""
    return plan.out / "link" / "table.json"


def do_coded(plan: CloudPlan, _say: Say) -> None:
    """Write the table of coded versions: the rate of the test clips, and the accuracy of the LSTM of all versions."""
    decided, clips, points = answers(plan, ALL, plan.coded), clips_of(plan, plan.split.test), []
    for version in plan.coded:
        features = (read_features(plan, version, clip) for clip in clips)
        costs = [clip_cost(clip.times, clip.bits) for clip in features]
        correct = [decided[version.name][clip.name] == clip.label for clip in clips]
        actors = [f"{clip.actor:02}" for clip in clips]
        points.append(operating_point(version, costs, correct, actors, model=f"{_LSTM}{ALL}"))
    write_json(RateTable(tuple(points)).to_json(), table_path(plan))
