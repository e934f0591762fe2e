"""``rgb2ycbcr``, ``im2double``, ``modcrop`` and ``imread`` return what MATLAB returns."""

import json

import numpy as np
import pytest
from PIL import Image

from matlab_ports import im2double, imread, imresize, modcrop, rgb2ycbcr
from tests.refusals import refused


@pytest.fixture(scope="module")
def recorded(reference):
    return np.load(reference / "matlab" / "rgb2ycbcr" / "jinsuyoo_set5_uint8.npz")


def colour(path):
    image = imread(path)
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


SETS = [("Set5", f"{name}_GT") for name in ("baby", "bird", "butterfly", "head", "woman")]


@pytest.mark.parametrize(("folder", "name"), SETS)
def test_all_three_planes_of_uint8_equal_matlab(folder, name, recorded, reference):
    image = modcrop(colour(reference / "images" / folder / f"{name}.bmp"), 12)
    np.testing.assert_array_equal(rgb2ycbcr(image), recorded[f"{folder}_{name}_ycbcr"])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("folder", "name"), SETS)
def test_y_downsampled_and_upsampled_equals_matlab(folder, name, scale, recorded, reference):
    image = modcrop(colour(reference / "images" / folder / f"{name}.bmp"), 12)
    luma = im2double(rgb2ycbcr(image)[:, :, 0])
    blurred = imresize(imresize(luma, 1 / scale), luma.shape)
    written = np.clip(np.floor(255 * blurred + 0.5), 0, 255)
    np.testing.assert_array_equal(written, recorded[f"{folder}_{name}_Ybic{scale}"])


def test_every_recorded_image_is_tested(recorded):
    planes = {key.rsplit("_", 1)[0] for key in recorded}
    assert planes == {f"{folder}_{name}" for folder, name in SETS}


def test_ties_round_as_in_matlab(reference):
    ties = json.loads((reference / "matlab" / "rgb2ycbcr" / "tie_pixels.json").read_text())
    assert len(ties) == 13
    for tie in ties:
        pixel = np.array([[tie["rgb"]]], np.uint8)
        assert rgb2ycbcr(pixel)[0, 0, 0] == tie["matlab_y"]
        image = imread(reference / "images" / tie["image"])
        assert image[tie["row0"], tie["col0"]].tolist() == tie["rgb"]


# Pixels of Set5's bird and three ties, as MATLAB converts them
PIXELS = {
    (19, 40, 18): (43, 121, 120),
    (63, 107, 71): (93, 119, 111),
    (22, 53, 25): (51, 120, 116),
    (150, 103, 32): (110, 90, 154),
    (159, 174, 150): (159, 120, 123),
}
TIES = {(61, 39, 12): 52, (146, 124, 97): 125, (76, 30, 19): 52}  # exactly k + 0.5, which MATLAB rounds down


@pytest.mark.parametrize("rgb", list(PIXELS))
def test_a_pixel_equals_matlab(rgb):
    assert tuple(rgb2ycbcr(np.array([[rgb]], np.uint8))[0, 0].tolist()) == PIXELS[rgb]


@pytest.mark.parametrize("rgb", list(TIES))
def test_a_tie_rounds_down_because_the_matrix_is_multiplied_by_1_255(rgb):
    assert rgb2ycbcr(np.array([[rgb]], np.uint8))[0, 0, 0] == TIES[rgb]


def test_black_and_white_are_16_and_235():
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(rgb2ycbcr(ends), [[[16, 128, 128], [235, 128, 128]]])
    np.testing.assert_array_equal(
        rgb2ycbcr(ends.astype(np.uint16) * 257), [[[4112, 32896, 32896], [60395, 32896, 32896]]]
    )
    np.testing.assert_allclose(rgb2ycbcr(ends / 255.0)[0, :, 0], [16 / 255, 235 / 255], rtol=1e-15)


def test_single_is_double_rounded():
    rgb = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    result = rgb2ycbcr(rgb)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, rgb2ycbcr(rgb.astype(np.float64)).astype(np.float32))


def test_a_matrix_is_a_colormap():
    colormap = np.random.default_rng(0).random((7, 3))
    np.testing.assert_array_equal(rgb2ycbcr(colormap), rgb2ycbcr(colormap[:, None])[:, 0])
    with refused("shape-mismatch", field="rgb", hint="repeat a gray plane"):
        rgb2ycbcr(np.zeros((7, 4)))
    with refused("wrong-type", field="rgb"):
        rgb2ycbcr(np.zeros((7, 3), np.int32))


def test_im2double_maps_the_range_of_a_class_to_0_to_1():
    np.testing.assert_array_equal(im2double(np.array([0, 51, 255], np.uint8)), [0, 0.2, 1])
    np.testing.assert_array_equal(im2double(np.array([0, 65535], np.uint16)), [0, 1])
    np.testing.assert_array_equal(im2double(np.array([-32768, 32767], np.int16)), [0, 1])
    np.testing.assert_array_equal(im2double(np.array([False, True])), [0, 1])
    np.testing.assert_array_equal(im2double(np.array([-3, 7], np.float32)), [-3, 7])
    with refused("wrong-type", field="image"):
        im2double(np.zeros(2, np.int32))


def test_modcrop_cuts_bottom_and_right():
    image = np.arange(7 * 9).reshape(7, 9)
    np.testing.assert_array_equal(modcrop(image, 4), image[:4, :8])
    assert modcrop(np.zeros((7, 9, 3)), 3).shape == (6, 9, 3)
    assert modcrop(image, 8).shape == (0, 8)
    with refused("shape-mismatch", field="imgs"):
        modcrop(np.zeros(5), 2)
    with refused("out-of-range", field="modulo", value=0):
        modcrop(image, 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "I;16"])
def test_imread_returns_matlabs_classes_and_shapes(mode, tmp_path):
    path = tmp_path / "image.png"
    Image.new(mode, (5, 4)).save(path)
    image = imread(path)
    assert image.shape == ((4, 5, 3) if mode.startswith("RGB") else (4, 5))
    assert image.dtype == {"1": np.bool_, "I;16": np.uint16}.get(mode, np.uint8)


UNREADABLE = {
    "missing": "file-missing",
    "text": "damaged-file",
    "truncated": "damaged-file",
    "palette": "unsupported",
    "cmyk": "unsupported",
}


@pytest.mark.parametrize("kind", list(UNREADABLE))
def test_a_file_that_is_not_a_supported_image_is_refused(kind, tmp_path):
    path = tmp_path / "image.tif"
    if kind == "text":
        path.write_text("hello")
    if kind == "truncated":
        Image.effect_noise((64, 64), 50).save(path, "BMP")
        path.write_bytes(path.read_bytes()[:2000])
    if kind == "palette":
        Image.new("P", (5, 4)).save(path, "GIF")
    if kind == "cmyk":
        Image.new("CMYK", (5, 4)).save(path)
    with refused(UNREADABLE[kind], file=path):
        imread(path)
