"""PSNR and the orientation in which the net is shown images."""

import math

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from caffe_compat import load_net
from lq_emotion import prototxt
from lq_emotion.studies.robust_lq.sr_demo.recipe import DEPLOY, make_recipe
from lq_emotion.studies.robust_lq.sr_demo.upscaling import enlarge, psnr, rounded, run_net
from matlab_ports import generate_test, im2double, imread, imresize, modcrop, rgb2ycbcr


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
    recipe = make_recipe(scale=12, iterations=7, test_patches=10)
    assert not any(change.startswith("scale") for change in recipe.changes)
    assert "test_iter: 556 -> 5" in recipe.changes
    assert recipe.solver.max_iter == 7
    assert recipe.solver.momentum == pytest.approx(0.9)


def test_values_become_bytes_as_in_matlab():
    values = np.array([0.5, 1.5 / 255, -1, 2, np.nan, np.inf, -np.inf])
    assert rounded(values).tolist() == [128, 2, 0, 255, 0, 255, 0]
