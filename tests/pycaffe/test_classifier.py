"""Classifier averages over crops, Detector cuts windows, as worked out by hand."""

import sys

import numpy as np
import pytest
from PIL import Image

from caffe_compat.pycaffe import Classifier, Detector
from tests.refusals import refused

# The mean of every channel of the input: what a crop holds shows in the output.
MEANS = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: {n} dim: {k} dim: {s} dim: {s} }} }} }}
layer {{ name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param {{ pool: AVE global_pooling: true }} }}
"""
IDENTITY = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: {n} dim: {k} dim: {s} dim: {s} }} }} }}
layer {{ name: "same" type: "Power" bottom: "data" top: "same" }}
"""


@pytest.fixture
def make(tmp_path):
    def net(kind, text=MEANS, n=2, k=3, s=4, **options):
        path = tmp_path / "net.prototxt"
        path.write_text(text.format(n=n, k=k, s=s))
        return kind(str(path), None, **options)

    return net


@pytest.fixture
def picture(tmp_path):
    def saved(values, name="picture.png"):
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / name)
        return str(tmp_path / name)

    return saved


def test_oversampling_averages_ten_crops(make):
    net = make(Classifier, image_dims=(6, 6))
    pictures = [np.random.default_rng(i).random((6, 6, 3)) for i in range(3)]
    expected = [
        np.mean(
            [p[y : y + 4, x : x + 4].mean(axis=(0, 1)) for y, x in [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]], axis=0
        )
        for p in pictures
    ]
    means = net.predict(pictures)
    assert means.shape == (3, 3)
    np.testing.assert_allclose(means, expected, atol=1e-6)


def test_the_centre_alone_is_classified_on_request(make):
    net = make(Classifier, image_dims=[7, 6])
    picture = np.random.default_rng(0).random((7, 6, 3))
    means = net.predict([picture], oversample=False)
    np.testing.assert_allclose(means.reshape(3), picture[1:5, 1:5].mean(axis=(0, 1)), atol=1e-6)


def test_without_image_dims_the_whole_image_is_resized_to_the_input(make):
    net = make(Classifier)
    assert list(net.image_dims) == list(net.crop_dims) == [4, 4]
    picture = np.random.default_rng(0).random((8, 8, 3))
    np.testing.assert_allclose(
        net.predict([picture], oversample=False).reshape(3), picture.mean(axis=(0, 1)), atol=1e-6
    )


def test_preprocessing_is_that_of_the_transformer(make):
    net = make(Classifier, mean=np.array([10.0, 20.0, 30.0]), raw_scale=255.0, channel_swap=(2, 1, 0), input_scale=0.5)
    picture = np.zeros((4, 4, 3))
    picture[..., 0], picture[..., 1], picture[..., 2] = 1.0, 0.5, 0.25
    means = net.predict([picture], False).reshape(3)
    np.testing.assert_allclose(means, [(63.75 - 10) / 2, (127.5 - 20) / 2, (255 - 30) / 2], rtol=1e-6)


def test_windows_are_cropped_warped_and_returned_with_their_file(make, picture):
    values = np.arange(64).reshape(8, 8)
    first, second = picture(np.stack([values] * 3, axis=2), "a.png"), picture(np.full((6, 6, 3), 255), "b.png")
    net = make(Detector)
    windows = np.array([[0, 0, 4, 4], [4, 4, 8, 8]])
    detections = net.detect_windows(zip([first, second], [windows, [(1, 1, 3, 5)]], strict=True))
    assert [d["filename"] for d in detections] == [first, first, second]
    assert [list(d["window"]) for d in detections] == [[0, 0, 4, 4], [4, 4, 8, 8], [1, 1, 3, 5]]
    means = [d["prediction"].reshape(3)[0] for d in detections]
    np.testing.assert_allclose(means, [values[:4, :4].mean() / 255, values[4:, 4:].mean() / 255, 1.0], rtol=1e-6)
    assert net.detect_windows([]) == []


def ramp():
    """A picture whose blocks of two by two have whole means."""
    return np.arange(64, dtype=np.float32).reshape(8, 8, 1)


def halved(values):
    height, width = values.shape[:2]
    return values[..., 0].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def test_context_shows_the_surroundings_of_the_window(make):
    net = make(Detector, IDENTITY, n=1, k=1, s=4, context_pad=1)
    # scale 4 / (4 - 2): two pixels around (4, 4) become four; the box is the whole picture, halved
    np.testing.assert_allclose(net.crop(ramp(), [2, 2, 5, 5])[..., 0], halved(ramp()), atol=1e-5)


def test_pixels_beyond_the_image_are_the_mean(make):
    net = make(Detector, IDENTITY, n=1, k=1, s=4, context_pad=1, mean=np.array([50.0]), raw_scale=2.0)
    crop = net.crop(ramp(), [0, 0, 3, 3])[..., 0]
    # the box from -2 to 6 becomes four pixels of which round(2 * 4 / 9) = 1 lies outside, round(7 * 4 / 9) = 3 inside
    assert crop.shape == (4, 4)
    np.testing.assert_array_equal(crop[0], [25] * 4)
    np.testing.assert_array_equal(crop[:, 0], [25] * 4)
    np.testing.assert_allclose(crop[1:, 1:], halved(ramp()[:6, :6]), atol=1e-5)


def test_the_mean_beyond_the_image_has_the_channel_order_of_the_image(make):
    net = make(
        Detector,
        IDENTITY,
        n=1,
        s=4,
        context_pad=1,
        mean=np.array([3.0, 6.0, 9.0]),
        channel_swap=(2, 1, 0),
        raw_scale=3.0,
    )
    crop = net.crop(np.ones((8, 8, 3), dtype=np.float32), (0, 0, 3, 3))
    assert crop[0, 0].tolist() == [3, 2, 1]
    net.configure_crop(None)
    assert net.crop(np.ones((8, 8, 3)), (0, 0, 3, 3)).shape == (3, 3, 3)


def test_a_window_outside_the_image_is_refused(make):
    net = make(Detector)
    for window in ([8, 8, 12, 12], [3, 3, 3, 5]):
        with refused("out-of-range", field="window", hint="ymin, xmin"):
            net.crop(np.zeros((8, 8, 3)), window)
    net.configure_crop(1)
    with refused("out-of-range", field="window"):
        net.crop(np.zeros((8, 8, 3)), [30, 30, 40, 40])


def test_context_that_leaves_no_room_for_the_window_is_refused(make):
    for pad in (2, 3, -1):
        with refused("out-of-range", field="context_pad", value=pad, hint="0 to 1"):
            make(Detector, context_pad=pad)


def test_selective_search_needs_its_own_package(make, picture, monkeypatch):
    net = make(Detector)
    monkeypatch.setitem(sys.modules, "selective_search_ijcv_with_python", None)
    with refused("dependency-missing", hint="detect_windows") as caught:
        net.detect_selective_search(["a.png"])
    assert isinstance(caught.value, ImportError)
    proposals = type(sys)("selective_search_ijcv_with_python")
    proposals.get_windows = lambda files, cmd: [[[0, 0, 2, 2]] for _ in files]
    monkeypatch.setitem(sys.modules, "selective_search_ijcv_with_python", proposals)
    detections = net.detect_selective_search([picture(np.full((4, 4, 3), 51))])
    np.testing.assert_allclose(detections[0]["prediction"].reshape(3), [0.2] * 3, rtol=1e-6)
