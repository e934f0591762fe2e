"""Small nets in place of the published ResNet-50s, for a study on drawn faces: their form, and trainings of their kind.

VGGFace2's tells people apart, ImageNet's things. So do these: drawn people under any expression, pose and light, and
drawn shapes and patterns. All are gray, as the images of FER+. Both learn the statistics of BatchNorm, which later
trainings keep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from caffe_compat import load_net
from caffe_compat.build.preprocess import Preprocessing, save_preprocessing
from caffe_compat.build.weights import save_weights
from caffe_compat.errors import DataError, did_you_mean
from caffe_compat.formats.files import write_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from lq_emotion.common.lists import write_list
from lq_emotion.common.progress import Say
from lq_emotion.datasets.synthetic.emotions import EMOTIONS, draw_emotion
from lq_emotion.datasets.synthetic.face import Image, Pose, Scene
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.nets.blocks import hdf5_data
from lq_emotion.nets.head import HeadedNet, answer, headed_training_net, sgd
from lq_emotion.nets.small_resnet import small_resnet

Doubles = npt.NDArray[np.float64]
Drawn = Iterator[tuple[Image, int]]
SHAPES = ("disc", "ring", "square", "triangle", "star", "cross", "stripes", "checks", "dots", "waves")
_PEOPLE, _PER_PERSON = 64, 32
_IMAGES = _PEOPLE * _PER_PERSON
_TESTED = 6  # batches
_BATCH, _RATE = 64, 0.05
_KEPT = 0.95  # of BatchNorm's statistics an iteration; Caffe's 0.999 is for long trainings
_MEAN = 120.0  # of every channel
_GRAY = np.array([0.299, 0.587, 0.114])


def stand_in_net(classes: int, size: int) -> HeadedNet:
    """Return `small_resnet` for images of a size, with one dense layer, ``classifier``, on pool5."""
    message = small_resnet((1, 1, 1), width=16, size=size)
    layer = message.layer.add(name="classifier", type="InnerProduct", bottom=["pool5"], top=["classifier"])
    layer.inner_product_param.num_output = classes
    layer.inner_product_param.weight_filler.type = "xavier"
    message.layer.append(answer("classifier"))
    return HeadedNet(message, ("classifier",), "classifier")


def make_stand_in(base: str, out: Path, *, size: int, seed: int, iterations: int, threads: int, say: Say) -> Path:
    """Train a stand-in for a base of `DRAWINGS`, `size` pixels wide; write weights, definition and preprocessing."""
    import torch

    if base not in DRAWINGS:
        hint = did_you_mean(base, DRAWINGS) or f"one of {', '.join(DRAWINGS)}"
        raise DataError("has no stand-in", code="name-unknown", field="base", value=base, hint=hint)
    torch.set_num_threads(threads)
    out.parent.mkdir(parents=True, exist_ok=True)
    side = round(size * 8 / 7)  # as the published nets: 256 and 224
    with TemporaryDirectory(dir=out.parent) as name:
        folder = Path(name)
        rng = np.random.default_rng([seed, list(DRAWINGS).index(base)])
        classes = _write_images(DRAWINGS[base](rng, side), size, rng, folder)
        net = stand_in_net(classes, size)
        with Solver(_solver(net, folder, iterations, seed)) as solver:
            solver.solve()
            tested = solver.test(0)
        assert tested is not None
        write_text(net.deploy, out.with_suffix(".prototxt"))
        mean = np.full(3, _MEAN, np.float32)
        save_preprocessing(Preprocessing(short_side=side, crop=(size, size), mean=mean), out)
        save_weights(load_net(net.deploy, folder / f"net_iter_{iterations}.caffemodel"), out)
    accuracy = dict(tested.scores)["accuracy"]
    say(f"{out.name}: {classes} classes, accuracy {accuracy:.2f} on drawings that it was not trained on")
    return out


def draw_people(rng: np.random.Generator, side: int) -> Drawn:
    """Yield faces (side, side, 3) uint8 RGB, cut out as a cascade would, with the number of the person."""
    import cv2

    emotions = list(EMOTIONS.values())
    for label in range(_PEOPLE):
        person = make_person(rng)
        for _ in range(_PER_PERSON):
            scene = Scene(person, rng, (120, 120))
            pose = Pose(*rng.normal((0, 0, 1, 0), (0.04, 0.04, 0.08, 0.1)).tolist())
            light = (float(rng.uniform(0.6, 1.3)), float(rng.uniform(-1, 1)))
            level, talk = rng.uniform((0, 0), (1, 0.5)).tolist()
            features = emotions[rng.integers(len(emotions))].at(level, talk=talk)
            frame = cv2.GaussianBlur(scene.draw_head(draw_emotion(person, features), pose, light), (0, 0), 0.6)
            left, top, extent, _ = scene.box(pose)
            zoom = side / extent
            matrix = np.array([[zoom, 0, -(left - 1) * zoom], [0, zoom, -(top - 1) * zoom]])
            face = cv2.warpAffine(frame, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
            yield np.asarray(face, np.uint8), label


def draw_shapes(rng: np.random.Generator, side: int) -> Drawn:
    """Yield images (side, side, 3) uint8 RGB with a shape or a pattern, and its number among `SHAPES`."""
    import cv2

    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    for index in range(_IMAGES):
        label = index % len(SHAPES)
        turn, size = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.42)
        right, down = rng.uniform(-0.12, 0.12, 2)
        u = (x - right) * math.cos(turn) + (y - down) * math.sin(turn)
        v = (y - down) * math.cos(turn) - (x - right) * math.sin(turn)
        front, back = rng.uniform(0, 255, (2, 3))
        image = np.where(_inside(SHAPES[label], u / size, v / size)[..., None], front, back)
        noisy = np.clip(image + 12 * rng.standard_normal((side, side, 1)), 0, 255)
        yield np.asarray(cv2.GaussianBlur(noisy, (0, 0), 0.7), np.uint8), label


DRAWINGS: dict[str, Callable[[np.random.Generator, int], Drawn]] = {"vggface2": draw_people, "imagenet": draw_shapes}
"""The data from which the stand-in of a base learns."""


def _inside(shape: str, u: Doubles, v: Doubles) -> npt.NDArray[np.bool_]:
    """Return which pixels belong to a shape of size 1; u and v are their places."""
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    inside: npt.NDArray[np.bool_] = {
        "disc": r < 0.9,
        "ring": (r < 1) & (r > 0.6),
        "square": np.maximum(np.abs(u), np.abs(v)) < 0.8,
        "triangle": (v > -0.5) & (np.abs(u) * 1.73 + v < 1),
        "star": r < 0.7 + 0.3 * np.cos(5 * angle),
        "cross": (np.minimum(np.abs(u), np.abs(v)) < 0.25) & (r < 1.1),
        "stripes": np.sin(9 * u) > 0,
        "checks": np.sin(8 * u) * np.sin(8 * v) > 0,
        "dots": np.sin(9 * u) * np.sin(9 * v) > 0.6,
        "waves": np.sin(9 * u + 2 * np.sin(5 * v)) > 0,
    }[shape]
    return inside


def _write_images(drawn: Drawn, size: int, rng: np.random.Generator, folder: Path) -> int:
    """Write drawings in gray, mirrored and cut out at random, to train and to test on; return the number of classes."""
    import h5py

    crops, labels = [], []
    for image, label in drawn:
        row, column = rng.integers(0, len(image) - size + 1, 2)
        gray = (image @ _GRAY)[row : row + size, column : column + size]
        crops.append(gray[:, ::-1] if rng.random() < 0.5 else gray)
        labels.append(label)
    data = np.repeat(np.stack(crops)[:, None].astype(np.float32) - _MEAN, 3, axis=1)
    order = rng.permutation(len(data))
    for phase, rows in (("test", order[: _TESTED * _BATCH]), ("train", order[_TESTED * _BATCH :])):
        with h5py.File(folder / f"{phase}.h5", "w") as file:
            file["data"], file["label"] = data[rows], np.array(labels, np.float32)[rows]
        write_list([folder / f"{phase}.h5"], folder / f"{phase}.txt")
    return max(labels) + 1


def _solver(net: HeadedNet, folder: Path, iterations: int, seed: int) -> pb.SolverParameter:
    data = [
        hdf5_data(str(folder / "train.txt"), _BATCH, pb.TRAIN, shuffle=True),
        hdf5_data(str(folder / "test.txt"), _BATCH, pb.TEST),
    ]
    message = headed_training_net(net, data, frozen=False, stored_statistics=False, accuracy=True)
    for layer in message.layer:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.moving_average_fraction = _KEPT
    write_text(message, folder / "net.prototxt")
    solver = sgd(
        net=str(folder / "net.prototxt"), snapshot_prefix=str(folder / "net"), base_lr=_RATE, max_iter=iterations,
        snapshot=0, display=0, random_seed=seed, test_iter=_TESTED, test_interval=iterations + 1,
    )  # fmt: skip
    solver.lr_policy, solver.power, solver.test_initialization = "poly", 1, False
    return solver
