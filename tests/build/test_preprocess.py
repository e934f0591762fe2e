"""Preprocessing is kept with the model, and prepares images as Caffe's data layers do."""

import cv2
import numpy as np
import pytest

import caffe_compat
from caffe_compat import Preprocessing, load_net, load_preprocessing, preprocessing_of, save_preprocessing, save_weights
from caffe_compat.build.preprocess import read_preprocessing, sidecar_path, to_json
from caffe_compat.cli import main
from caffe_compat.data import CRand, open_source
from caffe_compat.formats.files import BlobStore, read_net, write_binary
from caffe_compat.schema import caffe_pb2 as pb
from tests.refusals import refused

DEPLOY = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    "mean", ["", "mean_value: 104 mean_value: 117.5 mean_value: 123", 'mean_file: "mean.binaryproto"']
)
@pytest.mark.parametrize("size", ["", "new_height: 8 new_width: 9"])
def test_pictures_become_the_very_values_of_the_data_layer(folder, gray, mean, size):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (10, 12, 3), np.uint8)
    cv2.imwrite("a.png", picture)
    if gray:
        mean = mean.replace(" mean_value: 117.5 mean_value: 123", "")
    height, width = (8, 9) if size else (10, 12)
    blob, store = pb.BlobProto(), BlobStore()
    values = rng.uniform(0, 255, (1, 1 if gray else 3, height, width)).astype("f4")
    store.attach(blob, values, legacy_shape=True)
    write_binary(blob, "mean.binaryproto", store)
    (folder / "list.txt").write_text("a.png 0\n")
    (folder / "net.prototxt").write_text(
        f'layer {{ name: "d" type: "ImageData" top: "pictures" top: "label" include {{ phase: TEST }}\n'
        f'  image_data_param {{ source: "list.txt" batch_size: 1 is_color: {str(not gray).lower()} {size} }}\n'
        f"  transform_param {{ crop_size: 5 scale: 0.0078125 {mean} }} }}"
    )
    kept = preprocessing_of("net.prototxt")
    (layer,) = read_net("net.prototxt").layer
    layer.phase = pb.TEST
    wanted = open_source(layer, rng=CRand()).next()["pictures"][0].numpy()
    assert kept.input == "pictures"
    if gray:
        picture = cv2.imread("a.png", cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(kept(picture, "BGR"), wanted)
    again = read_preprocessing(save_preprocessing(kept, "w.caffemodel"))
    assert np.array_equal(again(picture, "BGR"), wanted)
    if not gray:
        assert np.array_equal(again(picture[:, :, ::-1], "RGB"), wanted)
        assert np.array_equal(again(np.asarray(picture, np.float64), "BGR").shape, wanted.shape)


@pytest.mark.parametrize(
    "kept",
    [
        Preprocessing(),
        Preprocessing("RGB", (3, 4), (2, 2), 1 / 255, np.float32([0.1, 0.2, 0.3]), 1 / 3, "x"),
        Preprocessing(short_side=256, crop=(224, 224)),
        Preprocessing("GRAY", mean=np.float32([[[1e-40, 3.3], [np.pi, -0.0]]])),
    ],
)
def test_a_sidecar_comes_back_bit_for_bit(folder, kept):
    path = save_preprocessing(kept, "net.caffemodel")
    again = load_preprocessing("net.caffemodel")
    assert path.name == "net.preprocess.json"
    assert to_json(again) == to_json(kept)
    assert (again.mean is None) == (kept.mean is None)
    assert kept.mean is None or again.mean.tobytes() == kept.mean.tobytes()
    assert (again.raw_scale, again.scale, again.short_side) == (kept.raw_scale, kept.scale, kept.short_side)


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("a/HQ.caffemodel", "HQ"),
        ("a/HQ.caffemodel.h5", "HQ"),
        ("a/HQ.pt", "HQ"),
        ("a/v1.2_iter_100.caffemodel", "v1.2_iter_100"),
        ("a/plain", "plain"),
    ],
)
def test_all_formats_of_one_name_share_a_sidecar(weights, name):
    assert sidecar_path(weights).as_posix() == f"a/{name}.preprocess.json"


def test_load_net_finds_it_and_convert_takes_it_along(folder, capsys):
    (folder / "deploy.prototxt").write_text(DEPLOY)
    save_weights(load_net("deploy.prototxt", seed=1), "w.caffemodel")
    assert load_net("deploy.prototxt", "w.caffemodel").meta["preprocessing"] is None
    assert load_net("deploy.prototxt").meta["preprocessing"] is None
    (folder / "train.prototxt").write_text(
        'layer { name: "d" type: "MemoryData" top: "data" top: "l" memory_data_param { batch_size: 1 channels: 3 height: 4 '
        "width: 4 } transform_param { mean_value: 7 scale: 0.5 } }"
    )
    assert (
        main(["convert", "w.caffemodel", "v.caffemodel", "--model=deploy.prototxt", "--preprocess=train.prototxt"]) == 0
    )
    assert "v.preprocess.json" in capsys.readouterr().out
    kept = load_net("deploy.prototxt", "v.caffemodel").meta["preprocessing"]
    assert (kept.mean.tolist(), kept.scale, kept.channels) == ([7, 7, 7], 0.5, "BGR")
    assert main(["convert", "v.caffemodel", "u.h5"]) == 0
    assert to_json(caffe_compat.load_preprocessing("u.h5")) == to_json(kept)
    assert main(["convert", "w.caffemodel", "x.h5", "--preprocess=v.preprocess.json"]) == 0
    assert to_json(load_preprocessing("x.h5")) == to_json(kept)
    before = sorted(folder.iterdir())
    assert main(["convert", "w.caffemodel", "y.h5", "--preprocess=deploy.prototxt"]) == 1
    assert "deploy.prototxt: " in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{", "syntax", None),
        ("[" * 100000, "syntax", None),
        ("[]", "wrong-format", None),
        ('{"version": 2}', "wrong-format", None),
        ('{"version": 1, "sclae": 2}', "field-unknown", "sclae"),
        ('{"version": 1, "channels": "RBG"}', "name-unknown", "channels"),
        ('{"version": 1, "channels": 3}', "wrong-type", "channels"),
        ('{"version": 1, "crop": [0, 4]}', "invalid", "crop"),
        ('{"version": 1, "crop": 4}', "invalid", "crop"),
        ('{"version": 1, "short_side": 0}', "invalid", "short_side"),
        ('{"version": 1, "short_side": 2.5}', "invalid", "short_side"),
        ('{"version": 1, "short_side": 1000000}', "too-large", "short_side"),
        ('{"version": 1, "short_side": 8, "resize": [8, 8]}', "conflict", "short_side"),
        ('{"version": 1, "scale": "1"}', "wrong-type", "scale"),
        ('{"version": 1, "scale": NaN}', "not-finite", "scale"),
        ('{"version": 1, "mean": [1, 2]}', "shape-mismatch", "mean"),
        ('{"version": 1, "mean": ["a"]}', "wrong-type", "mean"),
        ('{"version": 1, "mean": {"shape": [3, 9], "float32": "AAAA"}}', "wrong-type", "mean"),
        ('{"version": 1, "mean": {"shape": [1], "float32": "!"}}', "wrong-type", "mean"),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_one_error(folder, text, code, field):
    (folder / "w.preprocess.json").write_text(text)
    with refused(code, file="w.preprocess.json", field=field):
        load_preprocessing("w.caffemodel")


@pytest.mark.parametrize(
    ("size", "expected"),
    [((4, 4), (6, 6)), ((4, 7), (6, 10)), ((7, 4), (10, 6)), ((11, 7), (9, 6)), ((6, 8), (6, 8)), ((12, 13), (6, 6))],
)
def test_the_shorter_side_is_resized_and_the_other_keeps_the_proportion_rounded_down(size, expected):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    made = Preprocessing(short_side=6)(image, "BGR")
    assert made.shape == (3, *expected)
    assert np.array_equal(made, Preprocessing(resize=expected)(image, "BGR"))
    assert Preprocessing(short_side=6, crop=(5, 5))(image).shape == (3, 5, 5)


def test_an_image_too_long_for_its_shorter_side_is_refused():
    with refused("too-large", field="short_side", value=60_000):
        Preprocessing(short_side=60_000)(np.zeros((1, 60_000), np.uint8))


def test_arrays_that_are_not_images_are_refused():
    preprocessing = Preprocessing(crop=(4, 4))
    for shape in ((3,), (2, 2, 2), (1, 2, 2, 3)):
        with refused("shape-mismatch"):
            preprocessing(np.zeros(shape))
    with refused("out-of-range", field="crop", value=(4, 4)):
        preprocessing(np.zeros((3, 9, 3)))
    with refused("shape-mismatch", field="mean", hint="resize"):
        Preprocessing(mean=np.zeros((3, 2, 2), np.float32))(np.zeros((3, 3, 3)))


def test_gray_pictures_fill_three_channels_and_coloured_ones_become_gray():
    gray = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert np.array_equal(Preprocessing()(gray), np.repeat(gray[None], 3, 0).astype("f4"))
    assert np.array_equal(Preprocessing()(gray[:, :, None]), Preprocessing()(gray))
    colour = np.dstack([gray * 3, gray, gray])
    assert np.array_equal(
        Preprocessing("GRAY")(colour, "RGB")[0], cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype("f4")
    )
