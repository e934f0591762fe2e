"""PSNR, the orientation in which the net is shown images, and what it gains on faces."""

import math

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from lq_emotion import prototxt
from lq_emotion.studies.robust_lq.super_resolution import make_recipe
from lq_emotion.studies.robust_lq.upscaling import DEPLOY, enlarge, psnr, rounded, run_net, sr_gain
from matlab_ports import generate_test, im2double, imread, imresize, modcrop, rgb2ycbcr
from matlab_ports.matfile import savemat
from tests.refusals import refused


@pytest.fixture(scope="module")
def net():
    return load_net(prototxt.path(DEPLOY), seed=3)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (50, 61, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_psnr_of_known_images():
    zeros = np.zeros((4, 4), np.uint8)
    assert psnr(zeros, zeros) == math.inf
    assert psnr(zeros, zeros + 255) == 0
    assert psnr(zeros, zeros + 1) == pytest.approx(48.1308, abs=1e-4)  # 20 log10 255


def test_all_methods_and_the_original_share_one_region(net, picture):
    result = enlarge(net, picture, 3)
    assert set(result.by) == {"nearest", "bicubic", "sr_fcn"}
    assert {values.shape for values in (result.original, *result.by.values())} == {(32, 44)}  # 48 x 60 less 8 per side
    luma = modcrop(rgb2ycbcr(imread(picture))[:, :, 0], 3)
    assert np.array_equal(result.original, luma[8:-8, 8:-8])
    assert result.psnr()["bicubic"] > result.psnr()["nearest"]


def test_the_net_sees_images_as_its_training_file_holds_them(net, picture, tmp_path):
    generate_test(tmp_path, tmp_path / "t.h5", scale=3, pattern="*.png")
    with h5py.File(tmp_path / "t.h5") as file:
        data = file["data"][...]
    luma = modcrop(im2double(rgb2ycbcr(imread(picture))[:, :, 0]), 3)
    bicubic = imresize(imresize(luma, 1 / 3, "bicubic"), luma.shape, "bicubic")
    corner = bicubic[:32, :32].astype(np.float32)
    (row,) = (patch for patch in data if np.array_equal(patch[0], corner.T))
    with torch.no_grad():
        patch = net(torch.from_numpy(row[None]))[0, 0].numpy()
    whole = run_net(net, bicubic)
    assert np.allclose(whole[:16, :16], patch.T, atol=1e-6 * np.abs(patch).max())


def test_a_recipe_at_the_authors_scale_has_no_change_of_scale():
    _, solver, changes = make_recipe(scale=12, iterations=7, test_patches=10)
    assert not any(change.startswith("scale") for change in changes)
    assert "test_iter: 556 -> 5" in changes
    assert solver.max_iter == 7
    assert solver.momentum == pytest.approx(0.9)


def test_values_become_bytes_as_in_matlab():
    values = np.array([0.5, 1.5 / 255, -1, 2, np.nan, np.inf, -np.inf])
    assert rounded(values).tolist() == [128, 2, 0, 255, 0, 255, 0]


@pytest.fixture
def crops(tmp_path):
    """Faces of 0.2, which LR-4 shows as 0.4: 51 and 102 in bytes."""
    for kind, value in (("HQ", 0.2), ("LR4", 0.4)):
        (tmp_path / kind).mkdir()
        for name in ("dev_1", "dev_2"):
            savemat(tmp_path / kind / f"{name}.mat", {"video": np.full((96, 96, 3), value)}, "-v6")
    return tmp_path


def write_net(path, factor):
    """Write an SR-FCN that multiplies every pixel by a factor."""
    net = load_net(prototxt.path(DEPLOY), seed=1)
    state = {name: value * 0 for name, value in net.state_dict().items()}
    for layer in range(1, 5):
        state[f"conv{layer}.weight"][0, 0, 2, 2] = factor if layer == 4 else 1
    net.load_state_dict(state)
    save_weights(net, path)
    return path


def test_a_net_that_changes_nothing_gains_nothing(crops, tmp_path):
    gain = sr_gain(write_net(tmp_path / "sr.caffemodel", 1), crops, ["dev_1", "dev_2"], 4, each=2)
    assert (gain.factor, gain.faces, gain.gain) == (4, 4, 0)
    assert gain.bicubic == pytest.approx(13.9794, abs=1e-4)  # 20 log10(255 / 51)


def test_a_net_that_comes_closer_gains(crops, tmp_path):
    gain = sr_gain(write_net(tmp_path / "sr.caffemodel", 0.75), crops, ["dev_1"], 4)
    assert gain.sr_fcn == pytest.approx(19.8313, abs=1e-4)  # 77 in bytes: 20 log10(255 / 26)
    assert gain.gain == pytest.approx(5.8519, abs=1e-4)


def test_crops_that_differ_in_number_are_refused(crops, tmp_path):
    savemat(crops / "LR4" / "dev_1.mat", {"video": np.full((96, 96, 2), 0.4)}, "-v6")
    with refused("wrong-count"):
        sr_gain(write_net(tmp_path / "sr.caffemodel", 1), crops, ["dev_1"], 4)
