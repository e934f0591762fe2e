"""Figures 1 to 3: what they show, and that they are written."""

import numpy as np
import pytest
from PIL import Image

from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_PAPER
from lq_emotion.studies.robust_lq.figure1 import draw_factors, levels_of
from lq_emotion.studies.robust_lq.figure2 import draw_pipeline
from lq_emotion.studies.robust_lq.figure3 import boxes, draw_architectures
from tests.lq_emotion.commands import draw_weights, save_crops
from tests.refusals import refused


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A recording of 12 crops that slowly brighten from left to right."""
    video = np.clip(np.linspace(0.2, 0.8, 96)[:, None] + 0.02 * np.arange(12), 0, 1)[None].repeat(96, axis=0)
    path = tmp_path_factory.mktemp("raw data") / "HQ" / "dev_8.mat"
    return save_crops(path, np.float32(video), valence=np.sin(0.04 * np.arange(12)))


LUMA = levels_of("luma")


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def test_figure_1_shows_a_face_at_every_factor(crops, tmp_path):
    path = tmp_path / "new folder" / "figure_1.png"
    draw_factors(crops, path, levels=LUMA)
    wide = pixels(path)
    draw_factors(crops, path, factors=(3,), levels=levels_of("gray"), synthetic=True)
    narrow = pixels(path)
    assert wide.shape[0] == narrow.shape[0]
    assert wide.shape[1] > 2 * narrow.shape[1]
    dark = (narrow[40:] < 250).sum(axis=0) > 100  # columns with faces
    assert np.diff(np.flatnonzero(np.diff(dark.astype(int)))).max() == pytest.approx(1.35 * 150, abs=2)


def test_figure_1_of_no_crops_is_refused(tmp_path):
    with refused("file-missing", file="dev_9.mat"):
        draw_factors(tmp_path / "dev_9.mat", tmp_path / "figure_1.png", levels=LUMA)
    assert list(tmp_path.iterdir()) == []


def test_figure_3_takes_layers_and_sizes_from_the_definitions():
    convolution = ("5 × 5 convolution", "ReLU")
    first = boxes(Net.SR_FCN)
    assert [(box.layer, box.shape) for box in first] == [
        ("", (1, 96, 96)), ("conv1", (64, 92, 92)), ("conv2", (128, 88, 88)), ("conv3", (256, 84, 84)), ("conv4", (1, 80, 80)),
    ]  # fmt: skip
    assert [box.texts for box in first] == [("face",), convolution, convolution, convolution, ("5 × 5 convolution",)]
    second = {box.layer: box for box in boxes(Net.JOINT)}
    assert list(second) == ["", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc4", "fc5"]
    assert (second["pool3"].shape, second["pool3"].texts) == ((256, 5, 5), ("4 × 4 max pooling",))
    assert (second["fc4"].shape, second["fc4"].texts) == ((300,), ("fully connected", "ReLU", "dropout 0.5"))


def test_figure_3_follows_the_switches(tmp_path):
    paper = {box.layer: box for box in boxes(Net.JOINT, AS_PAPER)}
    assert paper["conv3"].shape == (256, 24, 24)
    assert paper["pool3"].shape == (256, 2, 2)
    for name, switches in (("code", {}), ("paper", {"switches": AS_PAPER})):
        draw_architectures(tmp_path / f"{name}.png", **switches)
    assert pixels(tmp_path / "paper.png").shape[1] > pixels(tmp_path / "code.png").shape[1]  # a layer more


@pytest.mark.slow
def test_figure_2_codes_the_frames_and_shows_what_the_net_makes_of_one(crops, tmp_path):
    weights = tmp_path / "runs" / "Joint-OA" / "snapshots" / "emotion_iter_1.caffemodel"
    weights.parent.mkdir(parents=True)
    draw_weights(weights)
    draw_pipeline(crops, weights, 3, tmp_path / "figure_2.png", levels=LUMA)
    small = pixels(tmp_path / "figure_2.png")
    draw_pipeline(crops, weights, 4, tmp_path / "smaller.png", levels=LUMA, synthetic=True)
    assert small.shape == pixels(tmp_path / "smaller.png").shape
    assert (small != pixels(tmp_path / "smaller.png")).any()


def test_figure_2_without_weights_is_refused(crops, tmp_path):
    with refused("file-missing"):
        draw_pipeline(crops, tmp_path / "runs" / "Joint-OA", 4, tmp_path / "figure_2.png", levels=LUMA)
    assert not list(tmp_path.glob("*.png"))
