"""Pictures, preprocessing and messages of caffe.io give the numbers of scikit-image and of hand calculation."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe_compat.pycaffe import io
from caffe_compat.schema import caffe_pb2
from tests.refusals import refused

rng = np.random.default_rng(7)


def blob(values, **fields):
    return caffe_pb2.BlobProto(data=values, **fields)


# Messages.


def test_the_legacy_shape_takes_precedence_over_the_new_shape():
    legacy = io.blobproto_to_array(blob(range(6), num=1, channels=2, height=3, width=1))
    assert legacy.tolist() == [[[[0], [1], [2]], [[3], [4], [5]]]]
    assert io.blobproto_to_array(blob(range(6), shape={"dim": [3, 2]})).tolist() == [[0, 1], [2, 3], [4, 5]]
    both = io.blobproto_to_array(blob(range(6), shape={"dim": [3, 2]}, num=6, channels=1, height=1, width=1))
    assert both.shape == (6, 1, 1, 1)


def test_a_blob_without_shape_has_one_value():
    assert io.blobproto_to_array(blob([123])).tolist() == 123
    with pytest.raises(ValueError, match="reshape"):
        io.blobproto_to_array(blob([1, 2]))


def test_diffs_and_doubles_are_read():
    message = blob([1, 2], diff=[3, 4], shape={"dim": [2]})
    assert io.blobproto_to_array(message, return_diff=True).tolist() == [3, 4]
    doubles = caffe_pb2.BlobProto(double_data=[0.1], double_diff=[0.2], shape={"dim": [1]})
    assert io.blobproto_to_array(doubles).tolist() == [0.1]
    assert io.blobproto_to_array(doubles, True).tolist() == [0.2]


def test_arrays_make_the_round_trip_through_blobs():
    data, diff = rng.standard_normal((2, 3, 4)).astype(np.float32), rng.standard_normal((2, 3, 4)).astype(np.float32)
    message = io.array_to_blobproto(data, diff)
    assert not message.HasField("num")
    np.testing.assert_array_equal(io.blobproto_to_array(message), data)
    np.testing.assert_array_equal(io.blobproto_to_array(message, return_diff=True), diff)
    assert not io.array_to_blobproto(data).diff


def test_lists_of_arrays_make_the_round_trip_through_bytes():
    arrays = [np.arange(6.0).reshape(2, 3), np.array([7.0])]
    packed = io.arraylist_to_blobprotovector_str(arrays)
    assert isinstance(packed, bytes)
    assert [a.tolist() for a in io.blobprotovector_str_to_arraylist(packed)] == [a.tolist() for a in arrays]


def test_bytes_stay_bytes_in_a_datum_and_other_numbers_floats():
    picture = rng.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    datum = io.array_to_datum(picture, label=9)
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 4, 5, 9)
    assert datum.data == picture.tobytes()
    array = io.datum_to_array(datum)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, picture)
    array[0, 0, 0] = 1  # its own memory
    floats = io.array_to_datum(picture / 4)
    assert not floats.data
    np.testing.assert_array_equal(io.datum_to_array(floats), picture / 4)


def test_a_label_is_set_only_if_given_and_only_images_are_accepted():
    assert not io.array_to_datum(np.ones((1, 2, 2))).HasField("label")
    assert io.array_to_datum(np.ones((1, 2, 2)), label=0).HasField("label")
    with pytest.raises(ValueError, match="Incorrect array shape"):
        io.array_to_datum(np.ones((2, 2)))


def test_an_encoded_datum_is_refused():
    with pytest.raises(ValueError, match=r"cv2\.imdecode"):
        io.datum_to_array(caffe_pb2.Datum(channels=1, height=1, width=4, data=b"\x89PNG", encoded=True))


# Transformer.


def transformer(channels=3, side=4, **settings):
    steps = io.Transformer({"data": (10, channels, side, side)})
    for name, value in settings.items():
        getattr(steps, f"set_{name}")("data", value)
    return steps


def test_preprocess_runs_its_steps_in_caffes_order():
    mean = np.array([1.0, 2.0, 3.0])
    steps = transformer(3, 2, transpose=(2, 0, 1), channel_swap=(2, 1, 0), raw_scale=10, mean=mean, input_scale=0.5)
    picture = np.arange(12.0).reshape(2, 2, 3)
    out = steps.preprocess("data", picture)
    assert out.dtype == np.float32
    # blue of the first pixel is 2: (2 * 10 - 1) / 2; red is 0: (0 - 3) / 2
    assert out[:, 0, 0].tolist() == [9.5, 4.0, -1.5]
    assert out[:, 1, 1].tolist() == [(11 * 10 - 1) / 2, (10 * 10 - 2) / 2, (9 * 10 - 3) / 2]
    np.testing.assert_allclose(steps.deprocess("data", out), picture, rtol=1e-6)


@pytest.mark.parametrize("settings", [{"raw_scale": 255.0}, {"mean": np.array([5.0, 6.0])}, {"input_scale": 0.25}])
def test_deprocess_undoes_each_step_alone_and_squeezes(settings):
    steps = transformer(2, 2, **settings)
    data = rng.random((2, 2, 2)).astype(np.float32)
    out = steps.preprocess("data", data)
    assert not np.allclose(out, data)
    original = steps.deprocess("data", out[np.newaxis])
    assert original.shape == (2, 2, 2)
    np.testing.assert_allclose(original, data, atol=1e-6)


def test_preprocess_does_not_change_the_callers_image():
    picture = np.ones((3, 3, 1), dtype=np.float32)
    assert transformer(1, 3, raw_scale=255).preprocess("data", picture).max() == 255
    assert picture.max() == 1


def test_images_and_means_of_another_size_are_resized():
    picture = rng.random((9, 7, 3)).astype(np.float32)
    resized = io.resize_image(picture, (4, 4)).transpose((2, 0, 1))
    np.testing.assert_array_equal(transformer(transpose=(2, 0, 1)).preprocess("data", picture), resized)
    mean = rng.random((3, 8, 8)) * 100 + 50
    # every second pixel's neighbours are averaged: halving takes the mean of two by two
    expected = mean.reshape(3, 4, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(transformer(mean=mean).mean["data"], expected, rtol=1e-6)
    fitting = rng.random((3, 4, 4))
    assert transformer(mean=fitting).mean["data"] is fitting
    np.testing.assert_array_equal(transformer(mean=np.full((3, 8, 8), 7.0)).mean["data"], np.full((3, 4, 4), 7.0))


def test_a_two_dimensional_mean_image_belongs_to_the_only_channel():
    assert transformer(1, mean=np.arange(64.0).reshape(8, 8)).mean["data"].shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.preprocess("image", np.zeros((4, 4, 3))), "image is not one of the net inputs"),
        (lambda t: t.deprocess("image", np.zeros((3, 4, 4))), "not one of the net inputs"),
        (lambda t: t.set_transpose("data", (1, 0)), "same number of dimensions as the input"),
        (lambda t: t.set_channel_swap("data", (1, 0)), "dimensions as the input channels"),
        (lambda t: t.set_raw_scale("x", 1), "not one of"),
        (lambda t: t.set_input_scale("x", 1), "not one of"),
        (lambda t: t.set_mean("data", np.zeros(4)), "Mean channels incompatible with input"),
        (lambda t: t.set_mean("data", np.zeros((1, 3, 4, 4))), "Mean shape invalid"),
    ],
)
def test_settings_that_do_not_fit_the_input_are_refused(call, message):
    with pytest.raises(Exception, match=message):
        call(transformer())


# Resizing.


def test_halving_averages_and_doubling_darkens_only_the_border():
    picture = np.array([[0.0, 4.0], [8.0, 12.0]])[:, :, np.newaxis]
    assert io.resize_image(picture, (1, 1)).ravel().tolist() == [6.0]
    # centres of the new pixels lie at -1/4, 1/4, 3/4, 5/4; the minimum, 0, lies beyond the border
    rows = np.array([[0.75, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 0.75]])
    expected = rows @ picture[:, :, 0] @ rows.T
    np.testing.assert_allclose(io.resize_image(picture, (4, 4))[:, :, 0], expected, atol=1e-6)


def test_a_constant_image_stays_constant_up_to_its_border():
    out = io.resize_image(np.full((3, 3, 3), 0.25), (7, 5))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, np.full((7, 5, 3), 0.25, dtype=np.float32))


def test_other_numbers_of_channels_are_interpolated_from_corner_to_corner():
    picture = np.zeros((2, 2, 2))
    picture[1] = 3
    np.testing.assert_allclose(io.resize_image(picture, (4, 2))[:, 0, 0], [0, 1, 2, 3])


SIZES = [
    ((8, 8), (4, 4)), ((17, 23), (9, 31)), ((5, 7), (11, 13)), ((31, 40), (10, 7)), ((6, 6), (1, 1)), ((1, 9), (3, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("anti_aliasing", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_agrees_with_scikit_image_to_the_bit(source, target, order, anti_aliasing, channels):
    transform = pytest.importorskip("skimage.transform")
    picture = (rng.random((*source, channels)) * 300 - 20).astype(np.float32)
    low, high = picture.min(), picture.max()
    normal = ((picture - low) / (high - low)).astype(np.float64)
    resized = transform.resize(normal, target, order=order, mode="constant", anti_aliasing=anti_aliasing)
    expected = (resized * (high - low) + low).astype(np.float32)
    np.testing.assert_array_equal(io.resize_image(picture, target, order, anti_aliasing=anti_aliasing), expected)


# Crops.


def test_ten_crops_are_four_corners_the_centre_and_their_mirrors():
    picture = np.arange(20.0).reshape(4, 5, 1)
    crops = io.oversample([picture, picture + 100], (2, 3))
    assert crops.shape == (20, 2, 3, 1)
    assert crops.dtype == np.float32
    firsts = [crop[0, 0, 0] for crop in crops[:10]]
    # the centre begins at (2 - 1, 2.5 - 1.5) = (1, 1), element 6; mirrors begin with the last column
    assert firsts == [0, 2, 10, 12, 6, 2, 4, 12, 14, 8]
    np.testing.assert_array_equal(crops[10:], crops[:10] + 100)
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])


def test_a_centre_between_pixels_is_rounded_toward_the_corner():
    crops = io.oversample([np.arange(5.0).reshape(1, 5, 1)], np.array([1, 2]))
    assert crops[4].ravel().tolist() == [1, 2]


def test_crops_larger_than_the_image_are_refused():
    with pytest.raises(ValueError, match="5 x 2 do not fit in images of 4 x 4"):
        io.oversample([np.zeros((4, 4, 1))], (5, 2))


# Files.


def save(path, values, mode=None):
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)
    return str(path)


def test_images_are_float32_from_0_to_1_with_three_channels(tmp_path):
    grey = rng.integers(0, 256, (4, 5), dtype=np.uint8)
    colour = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (4, 5, 4), dtype=np.uint8)
    repeated = np.repeat(grey[:, :, None], 3, axis=2)
    for name, values, channels in [
        ("g.png", grey, repeated),
        ("c.bmp", colour, colour),
        ("a.png", alpha, alpha[..., :3]),
    ]:
        image = io.load_image(save(tmp_path / name, values))
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, (channels / 255).astype(np.float32))


def test_an_image_can_be_read_from_an_open_file(tmp_path):
    path = save(tmp_path / "c.png", rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    with Path(path).open("rb") as file:
        np.testing.assert_array_equal(io.load_image(file), io.load_image(path))
    with refused("wrong-format", file="an open file"):
        io.load_image(BytesIO(b"hello"))


def test_grey_images_have_one_channel_of_luminance(tmp_path):
    colour = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    image = io.load_image(save(tmp_path / "c.png", colour), color=False)
    np.testing.assert_allclose(image, [[[0.2125], [0.7154], [0.0721]]], atol=1e-7)
    grey = np.array([[51, 255]], dtype=np.uint8)
    assert io.load_image(save(tmp_path / "g.png", grey), False).ravel().tolist() == [np.float32(0.2), 1.0]


def test_sixteen_bits_palettes_and_bitmaps_are_read(tmp_path):
    deep = np.array([[0, 13107, 65535]], dtype=np.uint16)
    assert io.load_image(save(tmp_path / "deep.png", deep), False).ravel().tolist() == [0, np.float32(0.2), 1]
    colour = np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
    np.testing.assert_array_equal(io.load_image(save(tmp_path / "p.png", colour, "P")), colour / 255)
    bits = np.array([[0, 255]], dtype=np.uint8)
    assert io.load_image(save(tmp_path / "b.png", bits, "1"), False).ravel().tolist() == [0, 1]


@pytest.mark.parametrize("name", ["c.png", "c.jpg", "g.png", "a.png", "d.png"])
@pytest.mark.parametrize("color", [True, False])
def test_reading_agrees_with_scikit_image(tmp_path, name, color):
    skio, util = pytest.importorskip("skimage.io"), pytest.importorskip("skimage.util")
    gray = pytest.importorskip("skimage.color").rgb2gray
    values = {
        "c": rng.integers(0, 256, (16, 16, 3), dtype=np.uint8),
        "g": rng.integers(0, 256, (16, 16), dtype=np.uint8),
        "a": rng.integers(0, 256, (16, 16, 4), dtype=np.uint8),
        "d": rng.integers(0, 65536, (16, 16), dtype=np.uint16),
    }[name[0]]
    path = save(tmp_path / name, values)
    image = skio.imread(path)
    if image.ndim == 3:
        image = image[:, :, :3] if color else gray(image[:, :, :3])
    expected = util.img_as_float(image).astype(np.float32)
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3 if color else 1, axis=2)
    np.testing.assert_allclose(io.load_image(path, color), expected, rtol=0, atol=0 if color else 6e-8)


def test_a_file_that_is_not_an_image_is_refused_by_name(tmp_path):
    (tmp_path / "x.png").write_bytes(b"hello")
    whole = save(tmp_path / "whole.png", rng.integers(0, 256, (64, 64), dtype=np.uint8))
    (tmp_path / "half.png").write_bytes(Path(whole).read_bytes()[:900])
    for name, code in [("x.png", "wrong-format"), ("half.png", "file-unreadable"), ("none.png", "file-unreadable")]:
        with refused(code, file=name):
            io.load_image(str(tmp_path / name))
    with refused("unsupported", file="https://example.org/cat.jpg"):
        io.load_image("https://example.org/cat.jpg")
    assert io.load_image(whole).shape == (64, 64, 3)
