"""``imresize`` returns MATLAB's bits: compared with MATLAB's output, a slow transcription, and literal values."""

import importlib
import json
import math
from fractions import Fraction

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matlab_ports import im2double, imread, imresize, modcrop, rgb2ycbcr
from matlab_ports._support.contributions import contributions, cube, cubic
from tests.reference import matlab_imresize as reference
from tests.refusals import refused

module = importlib.import_module("matlab_ports.imresize")
SET5 = ("baby", "bird", "butterfly", "head", "woman")


def read_image(name, reference):
    return imread(reference / "images" / "Set5" / f"{name}_GT.bmp")


# Recorded by MATLAB

# MATLAB R2019b, sanghyun-son/bicubic_pytorch. Where not exact, its pow is an ulp off for some cubes (`cube` says more):
# the share of equal values, and the largest difference there.
R2019B = {
    "down_down_irregular_noaa": (0.68, 3e-14),
    "down_down_irregular_aa": (0.82, 2e-14),
    "up_up_topleft_noaa": (0.52, 8e-14),
    "up_up_bottomright_noaa": (0.52, 8e-14),
    "up_up_irregular_noaa": (0.89, 2e-14),
    "up_up_irregular_aa": (0.89, 2e-14),
    "down_down_butterfly_irregular_noaa": (0.77, 9e-16),
    "down_down_butterfly_irregular_aa": (0.77, 7e-16),
}


@pytest.mark.parametrize(
    "case",
    [
        "down_down_small_noaa", "down_down_small_aa", "down_down_noaa", "down_down_aa", "down_down_x2_aa",
        "down_down_x3_aa", "down_down_x4_aa", "down_down_x5_aa", *R2019B,
    ],
)  # fmt: skip
def test_double_equals_matlab_r2019b(case, reference):
    folder = reference / "matlab" / "imresize"
    record = json.loads((folder / "bicubic_pytorch_R2019b_double.json").read_text())[case]
    values = np.load(folder / "bicubic_pytorch_R2019b_double.npz")
    expected = values[record["output"]]
    result = imresize(values[record["input"]], record["size"], antialiasing=record["antialiasing"])
    share, largest = R2019B.get(case, (1.0, 0.0))
    assert np.mean(result == expected) >= share
    assert np.abs(result - expected).max() <= largest


def test_every_case_of_r2019b_is_tested(reference):
    record = json.loads((reference / "matlab" / "imresize" / "bicubic_pytorch_R2019b_double.json").read_text())
    assert len(record) == 16
    assert set(R2019B) < set(record)


@pytest.mark.parametrize("name", SET5)
def test_double_equals_matlab_2018_downsampling_and_upsampling_by_2_3_4(name, reference):
    recorded = np.load(reference / "matlab" / "imresize" / "pytorch_vdsr_set5_double.npz")
    luma = rgb2ycbcr(read_image(name, reference) / 255.0)[:, :, 0]
    checked = 0
    for scale in (2, 3, 4):
        luma = modcrop(luma, scale)  # cumulative, as in the recording script
        small = imresize(luma, 1 / scale)
        for variable, result in (("im_gt_y", luma), ("im_l_y", small), ("im_b_y", imresize(small, scale))):
            key = f"{name}_x{scale}_{variable}"
            if key not in recorded:
                continue
            checked += 1
            difference = np.abs(255 * result - recorded[key])
            if variable == "im_b_y" and scale == 3:  # MATLAB's pow again
                assert np.mean(difference == 0) >= 0.9948
                assert difference.max() <= 1.3e-13
            else:
                assert difference.max() == 0
    assert checked == sum(key.startswith(name) for key in recorded)


def test_uint8_equals_matlab_r2015b(reference):
    folder = reference / "matlab" / "imresize"
    lena = imread(folder / "lena_512x512.png")
    np.testing.assert_array_equal(imresize(lena, (123, 234)), imread(folder / "lena_123x234_uint8.png"))


def test_double_written_as_uint8_equals_matlab_r2015b(reference):
    folder = reference / "matlab" / "imresize"
    small = imresize(im2double(imread(folder / "lena_512x512.png")), (123, 234))
    written = np.clip(np.floor(255 * small + 0.5), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(written, imread(folder / "lena_123x234_double.png"))


@pytest.mark.parametrize("name", SET5)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_uint8_colour_equals_matlab(name, scale, reference):
    recorded = np.load(reference / "matlab" / "imresize" / "swinir_set5_LR_bicubic_uint8.npz")
    np.testing.assert_array_equal(
        imresize(modcrop(read_image(name, reference), scale), 1 / scale), recorded[f"{name}_x{scale}"]
    )


@pytest.mark.parametrize("name", SET5)
def test_the_x8_recording_was_rounded_once(name, reference):
    recorded = np.load(reference / "matlab" / "imresize" / "swinir_set5_LR_bicubic_uint8.npz")
    small = imresize(modcrop(read_image(name, reference), 8).astype(np.float64), 1 / 8)
    np.testing.assert_array_equal(np.clip(np.floor(small + 0.5), 0, 255).astype(np.uint8), recorded[f"{name}_x8"])


PSNR = {
    ("Set5", 2): 33.6614, ("Set5", 3): 30.3922, ("Set5", 4): 28.4207, ("Set5", 12): 22.5573,
    ("Set14", 2): 30.2318, ("Set14", 3): 27.5405, ("Set14", 4): 26.0001, ("Set14", 12): 21.6295,
}  # fmt: skip


@pytest.mark.parametrize(("images", "scale"), list(PSNR))
def test_bicubic_psnr_equals_the_published_value(images, scale, reference):
    """Y of uint8 (a gray image unchanged), single, downsampled and upsampled, both as uint8, without ``scale`` pixels on every side."""
    values = []
    for path in sorted((reference / "images" / images).glob("*.bmp")):
        image = imread(path)
        luma = rgb2ycbcr(image)[:, :, 0] if image.ndim == 3 else image
        truth = modcrop(luma.astype(np.float32) / np.float32(255), scale)
        blurred = imresize(imresize(truth, 1 / scale), truth.shape)
        a, b = (
            np.clip(np.floor(255 * v.astype(np.float64) + 0.5), 0, 255)[scale:-scale, scale:-scale]
            for v in (truth, blurred)
        )
        values.append(20 * math.log10(255 / math.sqrt(np.mean((a - b) ** 2))))
    assert round(float(np.mean(values)), 4) == PSNR[images, scale]


# imresize(reshape(0:63, 8, 8)', ...) in MATLAB R2019b: weights exact in binary, and weights that are not
RAMP = {
    (4, 4): [
        [4.04296875, 6.08203125, 8.10546875, 10.14453125],
        [20.35546875, 22.39453125, 24.41796875, 26.45703125],
        [36.54296875, 38.58203125, 40.60546875, 42.64453125],
        [52.85546875, 54.89453125, 56.91796875, 58.95703125],
    ],
    (2, 2): [[12.3837890625, 16.6318359375], [46.3681640625, 50.6162109375]],
    (3, 4): [
        [6.472528773310022, 8.511591273310021, 10.535028773310023, 12.57409127331002],
        [28.44921875, 30.48828125, 32.51171875, 34.55078125],
        [50.42590872668998, 52.46497122668998, 54.48840872668998, 56.52747122668998],
    ],
}


@pytest.mark.parametrize("size", list(RAMP))
def test_a_ramp_of_8_x_8_is_downsampled_as_in_matlab(size):
    np.testing.assert_array_equal(imresize(np.arange(64.0).reshape(8, 8), size), RAMP[size])


def test_a_ramp_of_4_x_4_is_downsampled_without_antialiasing_as_in_matlab():
    expected = [
        [0.5439814814814781, 1.9351851851851825, 3.3263888888888866],
        [6.108796296296295, 7.5, 8.891203703703704],
        [11.67361111111111, 13.064814814814817, 14.456018518518519],
    ]
    np.testing.assert_array_equal(imresize(np.arange(16.0).reshape(4, 4), (3, 3), antialiasing=False), expected)


def test_a_corner_is_upsampled_as_in_matlab():
    corner = np.zeros((4, 4))
    corner[0], corner[1, 0] = (100, 1, 0, 100), 10
    expected = [108.68522499999966, 27.697097499999902, -12.446562499999981, 26.884192500000054, 109.20249999999992]
    np.testing.assert_allclose(imresize(corner, (5, 5))[0], expected, rtol=0, atol=8e-14)  # see R2019B


# Compared with the transcription

CLASSES = ("float64", "float32", "uint8", "int8", "uint16", "int16")


@st.composite
def cases(draw):
    dtype = np.dtype(draw(st.sampled_from(CLASSES)))
    size_in = (draw(st.integers(1, 14)), draw(st.integers(1, 14)))
    elements = st.floats(-2, 2, width=32) if dtype.kind == "f" else None  # integers run over their whole range
    image = draw(arrays.arrays(dtype, size_in, elements=elements))
    return image, (draw(st.integers(1, 20)), draw(st.integers(1, 20)))


@given(cases(), st.sampled_from(sorted(reference.KERNELS)), st.booleans())
@settings(max_examples=150)
def test_any_size_class_and_method_equals_the_transcription(case, method, antialiasing):
    image, size = case
    scale = (size[0] / image.shape[0], size[1] / image.shape[1])
    expected = reference.imresize(image, scale, size, method, antialiasing)
    np.testing.assert_array_equal(imresize(image, size, method, antialiasing=antialiasing), expected)


@given(cases(), st.floats(0.05, 5))
@settings(max_examples=60)
def test_any_scale_equals_the_transcription(case, scale):
    image, _ = case
    size = [math.ceil(scale * n) for n in image.shape]
    np.testing.assert_array_equal(
        imresize(image, scale), reference.imresize(image, (scale, scale), size, "bicubic", True)
    )


def test_bits_are_the_same_without_the_sparse_product(monkeypatch):
    image = np.random.default_rng(0).random((3, 40, 31))
    expected = imresize(image, 0.3, axes=(1, 2))
    monkeypatch.setattr(module, "_sparse_product_is_fused", lambda: True)
    np.testing.assert_array_equal(imresize(image, 0.3, axes=(1, 2)), expected)


@given(st.lists(st.floats(0, 4), min_size=1, max_size=50))
def test_a_cube_is_rounded_once(values):
    values = [value for value in values if value == 0 or value > 1e-90]
    np.testing.assert_array_equal(cube(np.array(values)), [float(Fraction(value) ** 3) for value in values])


# Stacks


@pytest.mark.parametrize("size", [(48, 48), (150, 40), (40, 150), (7, 7), (96, 96)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_a_stack_is_resized_like_its_images(size, dtype):
    stack = (255 * np.random.default_rng(0).random((23, 2, 96, 90))).astype(dtype)
    expected = np.array([[imresize(plane, size) for plane in image] for image in stack])
    np.testing.assert_array_equal(imresize(stack, size, axes=(-2, -1)), expected)
    np.testing.assert_array_equal(imresize(stack, size, axes=(2, 3), threads=1), expected)
    channels_last = np.moveaxis(stack, (0, 1), (2, 3))
    result = imresize(channels_last, size, threads=3)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(np.moveaxis(result, (2, 3), (0, 1)), expected)


def test_an_image_larger_than_a_block_is_cut_into_strips(monkeypatch):
    wide = np.random.default_rng(0).random((700, 900))
    expected = imresize(wide, 1 / 3)
    monkeypatch.setattr(module, "_BLOCK", 1 << 30)
    np.testing.assert_array_equal(imresize(wide, 1 / 3), expected)


# The rules at the edges


def test_sizes_round_up_and_the_scale_is_used_as_given():
    assert imresize(np.zeros((5, 7)), 0.5).shape == (3, 4)
    assert imresize(np.zeros((5, 7)), scale=(0.5, 2)).shape == (3, 14)
    assert imresize(np.zeros((5, 7, 3)), output_size=(2.2, 9)).shape == (3, 9, 3)


def test_nan_in_the_size_keeps_the_aspect_ratio():
    image = np.random.default_rng(0).random((30, 20))
    np.testing.assert_array_equal(imresize(image, (15, math.nan)), imresize(image, 0.5))
    np.testing.assert_array_equal(imresize(image, (None, 10)), imresize(image, 0.5))
    assert imresize(image, (None, 7)).shape == (11, 7)


def test_nearest_copies_and_has_no_antialiasing_of_its_own():
    image = np.array([[-0.0, np.nan, np.inf, 1.0]])
    np.testing.assert_array_equal(imresize(image, (1, 2), "nearest"), [[np.nan, 1.0]])
    assert np.signbit(imresize(image, (2, 8), "nearest")[0, 0])


def test_methods_have_aliases_as_in_matlab_and_may_be_kernels():
    image = np.random.default_rng(0).random((9, 8))
    for name, alias in (("bicubic", "cubic"), ("bilinear", "triangle"), ("bicubic", "Bicubic")):
        np.testing.assert_array_equal(imresize(image, 0.7, name), imresize(image, 0.7, alias))
    np.testing.assert_array_equal(imresize(image, 0.7, (cubic, 4.0)), imresize(image, 0.7))


def test_integers_are_clamped_and_floats_are_not():
    step = np.repeat([[0.0], [1.0]], 6, axis=0) * np.ones((1, 4))
    assert imresize(step, 3).min() < 0 < 1 < imresize(step, 3).max()
    assert imresize((255 * step).astype(np.uint8), 3).max() == 255


def test_single_overflows_to_infinity_without_a_warning():
    peaks = np.array([[0, 3.4e38, 3.4e38, 0]], np.float32)
    assert np.isinf(imresize(peaks, (1, 12))).any()


def test_cached_weights_are_read_only():
    weights, indices = contributions(8, 4, 0.5, cubic, 4.0, antialiasing=True)
    assert not weights.flags.writeable
    assert not indices.flags.writeable


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        ({"A": np.zeros((2, 2), bool), "m": 2}, "wrong-type", "A"),
        ({"A": np.zeros((2, 2)), "m": 2, "method": "bicubik"}, "name-unknown", "method"),
        ({"A": np.zeros((2, 2)), "m": 0}, "out-of-range", "scale"),
        ({"A": np.zeros((2, 2)), "m": math.inf}, "out-of-range", "scale"),
        ({"A": np.zeros((2, 2)), "m": (0, 3)}, "out-of-range", "output_size"),
        ({"A": np.zeros((2, 2)), "m": (math.nan, None)}, "out-of-range", "output_size"),
        ({"A": np.zeros((2, 2)), "m": (1, 2, 3)}, "wrong-type", "output_size"),
        ({"A": np.zeros((2, 2))}, "conflict", "scale"),
        ({"A": np.zeros((2, 2)), "m": 2, "scale": 2}, "conflict", "m"),
        ({"A": np.zeros((2, 0)), "m": 2}, "empty", "A"),
        ({"A": np.zeros(4), "m": 2}, "out-of-range", "axes"),
        ({"A": np.zeros((4, 4)), "m": 2, "axes": (0, 0)}, "out-of-range", "axes"),
    ],
)
def test_arguments_that_imresize_cannot_use_are_refused(arguments, code, field):
    with refused(code, field=field):
        imresize(**arguments)
