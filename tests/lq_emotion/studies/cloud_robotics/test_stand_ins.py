"""The small nets in place of the published ones."""

import numpy as np
import pytest
import torch

from caffe_compat import load_net
from lq_emotion.nets.known.loading import find_description
from lq_emotion.studies.cloud_robotics.stand_ins import DRAWINGS, SHAPES, make_stand_in
from tests.lq_emotion.commands import quiet
from tests.refusals import refused


def make(base, out, iterations=2):
    return make_stand_in(base, out, size=16, seed=0, iterations=iterations, threads=1, say=quiet)


def test_a_stand_in_is_weights_with_a_definition_and_their_preprocessing(tmp_path):
    weights = make("imagenet", tmp_path / "imagenet.caffemodel")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "imagenet.caffemodel", "imagenet.preprocess.json", "imagenet.prototxt",
    ]  # fmt: skip
    described = find_description(weights, any_outputs=True)
    assert described.weights == weights
    assert (described.preprocessing.short_side, described.preprocessing.crop) == (18, (16, 16))
    net = load_net(described.definition, described.weights)
    assert net(torch.zeros(1, 3, 16, 16)).shape == (1, len(SHAPES))
    factors = [float(value) for name, value in net.state_dict().items() if name.endswith(".factor")]
    assert factors == pytest.approx([1.95] * 13)  # of two iterations: BatchNorm has learnt its statistics


def test_trainings_of_a_seed_are_equal(tmp_path):
    first, second = (make("imagenet", tmp_path / name / "a.caffemodel") for name in ("one", "with a blank"))
    assert first.read_bytes() == second.read_bytes()


def test_drawn_people_and_shapes_are_images_of_all_classes():
    rng = np.random.default_rng(0)
    shapes = list(DRAWINGS["imagenet"](rng, 24))
    assert {label for _, label in shapes} == set(range(10))
    face, label = next(DRAWINGS["vggface2"](rng, 24))
    assert (face.shape, face.dtype, label) == ((24, 24, 3), np.uint8, 0)
    assert shapes[0][0].std() > 5


def test_an_unknown_base_has_no_stand_in(tmp_path):
    with refused("name-unknown", field="base"):
        make("vggface", tmp_path / "out" / "a.caffemodel")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("base", "chance"), [("vggface2", 1 / 64), ("imagenet", 1 / 10)])
def test_a_stand_in_learns_its_task(tmp_path, base, chance):
    lines = []
    make_stand_in(base, tmp_path / "a.caffemodel", size=32, seed=0, iterations=200, threads=2, say=lines.append)
    assert float(lines[0].split("accuracy ")[1].split()[0]) > 3 * chance
