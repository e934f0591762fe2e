"""Features of a frozen base: the head learns from them what it learns in the whole net, to the bit."""

import cv2
import h5py
import numpy as np
import pytest
import torch

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import write_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from lq_emotion.common.lists import write_lines
from lq_emotion.nets.blocks import hdf5_data
from lq_emotion.nets.head import features_input, headed_training_net, sgd, with_head
from lq_emotion.nets.small_resnet import small_resnet
from lq_emotion.training.features import FeatureNet, cache_features
from tests.refusals import refused

BLOB, BATCH, ROWS = "pool5", 8, 24
RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (ROWS, 40, 40, 3), np.uint8)
LABELS = RNG.integers(0, 8, ROWS)


def head_on(net):
    return with_head(net, blob=BLOB, hidden=16, classes=8)


WHOLE, ALONE = head_on(small_resnet()), head_on(features_input(small_resnet(), BLOB))


@pytest.fixture
def weights(tmp_path):
    """A base with statistics, and a head that both trainings begin with."""
    net = load_net(WHOLE.deploy, seed=5)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.startswith("bn"):
                value.copy_(torch.rand(value.shape) + 0.5)
    path = tmp_path / "begin.caffemodel"
    save_weights(net, path)
    return path


def hdf5_rows(folder):
    images = ((PIXELS[:, 4:36, 4:36].transpose(0, 3, 1, 2) - 127.0) / 64).astype(np.float32)
    with h5py.File(folder / "images.h5", "w") as file:
        file["data"], file["label"] = images, LABELS.astype(np.float32)
    write_lines(["./images.h5"], folder / "images.txt")
    return hdf5_data(str(folder / "images.txt"), BATCH)


def image_rows(folder):
    lines = []
    for number, (image, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        cv2.imwrite(str(folder / f"{number}.png"), image)
        lines.append(f"{number}.png {label}")
    write_lines(lines, folder / "list.txt")
    layer = pb.LayerParameter(name="data", type="ImageData", top=["data", "label"], phase=pb.TEST)
    param = layer.image_data_param
    param.source, param.batch_size, param.new_height, param.new_width = str(folder / "list.txt"), BATCH, 36, 36
    transform = layer.transform_param
    transform.crop_size, transform.scale = 32, 1 / 64
    transform.mean_value.extend([90, 100, 130])
    return layer


def trained(net, data, weights, folder, *, frozen, iterations):
    write_text(headed_training_net(net, [data], frozen=frozen), folder / "net.prototxt")
    param = sgd(
        net=str(folder / "net.prototxt"), snapshot_prefix=str(folder / "snap"), base_lr=0.02, max_iter=iterations,
        snapshot=0, display=0, random_seed=7,
    )  # fmt: skip
    with Solver(param) as solver:
        solver.load_weights(weights)
        solver.step(iterations)
        return {name: value for name, value in solver.net.state_dict().items() if name.startswith(("dense", "scores"))}


@pytest.mark.parametrize("source", [hdf5_rows, image_rows])
def test_a_head_on_cached_features_equals_the_head_of_the_frozen_net_bit_for_bit(source, tmp_path, weights):
    data = source(tmp_path)
    whole = trained(WHOLE, data, weights, tmp_path, frozen=True, iterations=7)
    listing = cache_features(
        WHOLE, BLOB, weights, data, ROWS, tmp_path / "features.h5", threads=torch.get_num_threads()
    )
    fed = hdf5_data(str(listing), BATCH, tops=(BLOB, "label"))
    alone = trained(ALONE, fed, weights, tmp_path, frozen=False, iterations=7)
    assert sorted(alone) == ["dense.bias", "dense.weight", "scores.bias", "scores.weight"]
    begin = load_net(WHOLE.deploy, weights).state_dict()
    for name, value in alone.items():
        assert torch.equal(value, whole[name]), name
        assert not torch.equal(value, begin[name]), name


def test_each_row_has_its_features_and_label_where_the_last_batch_is_not_full(tmp_path, weights):
    data = hdf5_rows(tmp_path)
    said = []
    listing = cache_features(WHOLE, BLOB, weights, data, 21, tmp_path / "f.h5", threads=1, say=said.append)
    assert listing == tmp_path / "f.txt"
    assert listing.read_text() == "./f.h5\n"
    assert said == ["features of 8 of 21 rows", "features of 16 of 21 rows", "features of 21 of 21 rows"]
    with h5py.File(tmp_path / "f.h5") as file, h5py.File(tmp_path / "images.h5") as images:
        assert {name: (file[name].shape, file[name].dtype) for name in file} == {
            BLOB: ((21, 64, 1, 1), np.float32),
            "label": ((21,), np.float32),
        }
        assert file["label"][:].tolist() == LABELS[:21].tolist()
        expected = load_net(WHOLE.deploy, weights).every_blob({"data": torch.from_numpy(images["data"][:21])})[BLOB]
        np.testing.assert_allclose(file[BLOB][:], expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("image_data_param.shuffle", {"image_data_param": {"shuffle": True}}),
        ("image_data_param.rand_skip", {"image_data_param": {"rand_skip": 3}}),
        ("hdf5_data_param.shuffle", {"hdf5_data_param": {"shuffle": True}}),
        ("transform_param.mirror", {"transform_param": {"mirror": True}}),
        ("transform_param.crop_size", {"transform_param": {"crop_size": 32}}),
    ],
)
def test_data_drawn_at_random_are_refused_before_anything_is_written(field, change, tmp_path):
    data = pb.LayerParameter(name="data", type="ImageData", top=["data", "label"], **change)
    with refused("conflict", layer="data", field=field):
        cache_features(WHOLE, BLOB, tmp_path / "none", data, ROWS, tmp_path / "f.h5", threads=1)
    assert list(tmp_path.iterdir()) == []


def test_a_blob_that_the_head_does_not_take_no_rows_and_a_base_without_weights_are_refused(tmp_path, weights):
    data = hdf5_rows(tmp_path)
    out = tmp_path / "f.h5"
    with refused("name-unknown", field="blob", value="pool1"):
        cache_features(WHOLE, "pool1", weights, data, ROWS, out, threads=1)
    with refused("out-of-range", field="rows", value=0):
        cache_features(WHOLE, BLOB, weights, data, 0, out, threads=1)
    head = tmp_path / "head.caffemodel"
    save_weights(load_net(ALONE.deploy, seed=1), head)
    with refused("mismatch", file=head):
        cache_features(WHOLE, BLOB, head, data, ROWS, out, threads=1)
    assert not out.exists()


def test_one_pass_gives_features_and_class_scores(weights):
    images = np.random.default_rng(1).standard_normal((5, 3, 32, 32)).astype(np.float32)
    features, scores = FeatureNet(WHOLE.deploy, weights, BLOB)(images, batch=2)
    blobs = load_net(WHOLE.deploy, weights).every_blob({"data": torch.from_numpy(images)})
    assert (features.shape, features.dtype, scores.shape, scores.dtype) == ((5, 64), np.float32, (5, 8), np.float32)
    np.testing.assert_allclose(features, blobs[BLOB].detach().flatten(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, blobs["prob"].detach(), rtol=1e-4, atol=1e-5)


def test_unknown_blobs_and_no_images_are_refused(weights):
    with refused("name-unknown", field="blob", value="pool6"):
        FeatureNet(WHOLE.deploy, weights, "pool6")
    with refused("empty", field="images"):
        FeatureNet(WHOLE.deploy, weights, BLOB)(np.zeros((0, 3, 32, 32), np.float32))
