"""DenseImageData and ImageSegData: images and labels go together through every step, as the forks' code has them."""

import cv2
import numpy as np
import pytest

from caffe_compat.data import CRand, open_source
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from tests.refusals import refused

SIZES = [(6, 8), (6, 8), (9, 5)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number, size in enumerate(SIZES):
        labels = rng.integers(0, 4, size, np.uint8)
        cv2.imwrite(str(tmp_path / f"l{number}.png"), labels)
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.stack([labels * 50, labels * 50 + 1, labels * 50 + 2], 2))
    (tmp_path / "list.txt").write_text("0.png l0.png\n1.png l1.png\n")
    (tmp_path / "small.txt").write_text("2.png l2.png\n")
    (tmp_path / "classes.txt").write_text("0.png 3\n1.png 250\n")
    (tmp_path / "bad.txt").write_text("0.png\n")
    (tmp_path / "unequal.txt").write_text("0.png l2.png\n")
    (tmp_path / "mixed.txt").write_text("0.png l0.png\n2.png l2.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batch(type_, body, *, tops=2, phase="TRAIN"):
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    text = f'name: "l" type: "{type_}" {names} phase: {phase} {body}'
    with open_source(parse_text(text, pb.LayerParameter), rng=CRand(random_seed=3)) as source:
        first = source.shapes
        values = [value.numpy() for value in source.next().values()]
        assert [value.shape for value in values] == list(first.values())
        return values


def dense(body, transform="", **options):
    text = f"dense_image_data_param {{ {body} }} transform_param {{ {transform} }}"
    return batch("DenseImageData", text, **options)


def seg(body, transform="", **options):
    text = f"image_data_param {{ label_type: PIXEL {body} }} transform_param {{ {transform} }}"
    return batch("ImageSegData", text, **options)


def test_images_and_labels_are_read_in_the_order_of_the_list(folder):
    data, labels = dense("source: 'list.txt' batch_size: 2", "mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5")
    assert data.shape == (2, 3, 6, 8)
    assert np.array_equal(labels[1, 0], cv2.imread("l1.png", 0))
    assert np.array_equal(data, labels.repeat(3, 1) * 25 - 0.5)


@pytest.mark.parametrize(
    ("read", "body", "transform"),
    [
        (dense, "mirror: true crop_height: 3 crop_width: 4 shuffle: true", ""),
        (seg, "shuffle: true", "mirror: true crop_height: 3 crop_width: 4"),
        (seg, "", "mirror: true crop_size: 4"),
        (seg, "", "mirror: true crop_size: 5 scale_factors: 1"),
    ],
)
def test_mirror_and_crop_move_images_and_labels_together(folder, read, body, transform):
    data, labels = read(f"source: 'list.txt' batch_size: 32 {body}", transform)
    assert np.array_equal(data[:, :1], labels * 50)
    windows = {cut.tobytes() for cut in labels}
    assert len(windows) > 12


def test_labels_are_resized_to_the_nearest_or_as_images(folder):
    exact = cv2.resize(cv2.imread("l0.png", 0), (5, 4), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.resize(cv2.imread("l0.png", 0), (5, 4))
    body = "source: 'list.txt' batch_size: 1 new_height: 4 new_width: 5"
    assert np.array_equal(dense(body)[1][0, 0], exact)
    assert np.array_equal(seg(body)[1][0, 0], blurred)


def test_a_small_image_is_filled_up_with_the_mean_and_the_ignored_label(folder):
    body = "source: 'small.txt' batch_size: 1 ignore_label: 9"
    data, labels, size = seg(body, "crop_size: 7 mean_value: 4", tops=3, phase="TEST")
    assert np.array_equal(labels[0, 0, :, :5], cv2.imread("l2.png", 0)[1:8])
    assert np.array_equal(data[0, 0, :, :5], cv2.imread("2.png")[1:8, :, 0].astype("f4") - 4)
    assert (labels[0, 0, :, 5:] == 9).all()
    assert not data[..., 5:].any()
    assert size.tolist() == [[[[7, 5]]]]


def test_a_scale_is_drawn_for_image_and_labels(folder):
    body, crop = "source: 'list.txt' batch_size: 1", "crop_height: 12 crop_width: 16 mean_value: 0"
    data, labels = seg(body, f"scale_factors: 2 {crop}", phase="TEST")
    assert np.array_equal(labels[0, 0], np.kron(cv2.imread("l0.png", 0), np.ones((2, 2))))
    assert np.array_equal(data[0].transpose(1, 2, 0), cv2.resize(cv2.imread("0.png"), (16, 12)).astype("f4"))


def test_the_class_of_an_image_or_no_label_at_all(folder):
    data, labels = batch("ImageSegData", "image_data_param { source: 'classes.txt' batch_size: 2 }")
    assert labels[:, 0, 0, 0].tolist() == [3, 250]
    assert data.shape == (2, 3, 6, 8)
    _, labels = batch("ImageSegData", "image_data_param { source: 'bad.txt' batch_size: 1 label_type: NONE }")
    assert (labels == 255).all()


@pytest.mark.parametrize(
    ("read", "body", "transform", "code"),
    [
        (dense, "source: 'gone.txt' batch_size: 1", "", "file-missing"),
        (dense, "source: 'bad.txt' batch_size: 1", "", "syntax"),
        (dense, "source: 'list.txt'", "", "out-of-range"),
        (dense, "source: 'unequal.txt' batch_size: 1", "", "shape-mismatch"),
        (dense, "source: 'list.txt' batch_size: 1 crop_height: 7 crop_width: 7", "", "shape-mismatch"),
        (dense, "source: 'list.txt' batch_size: 1", "mean_value: 1 mean_value: 2", "wrong-count"),
        (dense, "source: 'list.txt' batch_size: 1 root_folder: 'gone/'", "", "file-missing"),
        (seg, "source: 'mixed.txt' batch_size: 2", "", "shape-mismatch"),
        (seg, "source: 'small.txt' batch_size: 1", "crop_size: 7", "field-missing"),
        (seg, "source: 'list.txt' batch_size: 1 label_types: 1", "", "several"),
    ],
)
def test_what_does_not_fit_is_one_error(folder, read, body, transform, code):
    with refused(code):
        read(body, transform)


def test_a_net_trains_and_resumes_on_label_maps(folder):
    (folder / "net.prototxt").write_text(
        """layer { name: "data" type: "DenseImageData" top: "data" top: "label"
            dense_image_data_param { source: "list.txt" batch_size: 2 shuffle: true mirror: true } transform_param { scale: 0.01 } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 1
            weight_filler { type: "xavier" } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }"""
    )
    solver = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 4 snapshot: 2 snapshot_prefix: "s" random_seed: 5'
    param = parse_text(solver, pb.SolverParameter)
    with Solver(param) as whole:
        whole.solve()
        expected = whole.net.state_dict()["c.weight"].clone()
    with Solver(param) as again:
        again.restore("s_iter_2.solverstate")
        again.solve()
        assert np.array_equal(again.net.state_dict()["c.weight"], expected)
