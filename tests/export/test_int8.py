"""Nets in 8 bits, run by onnxruntime next to float32, and the report on them."""

import sys

import cv2
import h5py
import numpy as np
import pytest

from caffe_compat import Preprocessing
from caffe_compat.build.preprocess import save_preprocessing
from caffe_compat.build.weights import copy_weights, save_weights
from caffe_compat.cli import main
from caffe_compat.export.int8 import Comparison, to_int8
from caffe_compat.export.onnx import to_onnx
from lq_emotion.metrics.regression import ccc as concordance
from tests.export.nets import author, published
from tests.nets import build_net
from tests.refusals import refused

onnx = pytest.importorskip("onnx", reason="the extra `dev` brings onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `dev` brings onnxruntime")

NET = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [1, 3, 12, 12] } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "pool" type: "Pooling" bottom: "a" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "b" type: "Convolution" bottom: "pool" top: "b"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "pool" bottom: "b" top: "sum" } """
CLASSES = """layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" } """
VALUE = """layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip"
  inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }"""
PREPARE = Preprocessing("BGR", (14, 14), (12, 12), 1.0, np.array([104, 117, 123], "f4"), 0.0078125)
LABELS = ("cat", "dog", "owl")


def filled(text):
    """A net with statistics such as training leaves."""
    net = build_net(text, seed=1)
    copy_weights(net, {"bn": [np.full(8, 0.1, "f4"), np.full(8, 0.5, "f4"), np.ones(1, "f4")]})
    return net


@pytest.fixture
def net():
    net = filled(NET + CLASSES)
    net.meta["preprocessing"], net.meta["labels"] = PREPARE, LABELS
    return net


@pytest.fixture
def folder(tmp_path):
    """Images in folders by class, and some file that every folder of a Mac has."""
    rng = np.random.default_rng(0)
    for label in LABELS:
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(8):
            image = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (20, 17))
            cv2.imwrite(str(tmp_path / "images" / label / f"{number}.png"), image)
    (tmp_path / "images" / ".DS_Store").write_bytes(b"\0")
    return tmp_path / "images"


def ccc(a, b):
    return concordance(a, b, "population")


def images_of(folder):
    """The images in order, in RGB."""
    files = sorted(folder.glob("*/*.png"))
    return [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]


def session(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def answers(file, inputs):
    run = session(file)
    return np.concatenate([run.run(None, {run.get_inputs()[0].name: x})[0] for x in inputs])


def test_the_loss_is_that_of_the_images_that_did_not_calibrate(net, folder, tmp_path):
    report = to_int8(net, tmp_path / "net.onnx", folder)
    to_onnx(net, tmp_path / "float.onnx")
    images = images_of(folder)
    inputs = [PREPARE(image)[None] for image in images[1::2]]
    small, whole = (answers(tmp_path / name, inputs) for name in ("net.onnx", "float.onnx"))
    truth = np.repeat(np.arange(3), 8)[1::2]
    (loss,) = report.outputs
    assert (report.calibrated, report.measured, loss.blob) == (12, 12, "prob")
    assert report.float_bytes == (tmp_path / "float.onnx").stat().st_size > (tmp_path / "net.onnx").stat().st_size / 2
    assert loss.same_class == np.mean(small.argmax(1) == whole.argmax(1))
    assert loss.truth == (np.mean(small.argmax(1) == truth), np.mean(whole.argmax(1) == truth))
    assert loss.ccc == pytest.approx(ccc(small.ravel(), whole.ravel()), abs=1e-6)
    assert 0.98 < loss.ccc < 1


def test_the_model_has_int8_weights_by_channel_float_blobs_at_both_ends_and_its_loss_as_metadata(net, folder, tmp_path):
    report = to_int8(net, tmp_path / "net.onnx", folder)
    model = onnx.load(tmp_path / "net.onnx")
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    values = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    weights = [makers[node.input[1]] for node in model.graph.node if node.op_type in {"Conv", "Gemm"}]
    assert [node.op_type for node in weights] == ["DequantizeLinear"] * 3
    assert [values[node.input[0]].dtype for node in weights] == [np.int8] * 3
    assert [values[node.input[1]].size for node in weights] == [8, 8, 3]
    assert not any(values[node.input[2]].any() for node in weights)
    assert max(np.abs(values[node.input[0]]).max() for node in weights) <= 64
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    run = session(tmp_path / "net.onnx")
    assert [(v.name, v.shape, v.type) for v in run.get_inputs()] == [("data", ["batch", 3, 12, 12], "tensor(float)")]
    assert [(v.name, v.shape, v.type) for v in run.get_outputs()] == [("prob", ["batch", 3], "tensor(float)")]
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert set(texts) == {"definition.prototxt", "preprocessing.json", "labels.txt", "int8.txt"}
    assert texts["int8.txt"] == str(report)


def test_a_model_that_begins_with_the_preprocessing_calibrates_with_images_that_are_only_resized(net, folder, tmp_path):
    to_int8(net, tmp_path / "net.onnx", folder)
    to_int8(net, tmp_path / "images.onnx", folder, with_preprocessing=True)
    images = images_of(folder)[1::2]
    resized = [cv2.resize(image, (14, 14)).astype("f4").transpose(2, 0, 1)[None] for image in images]
    prepared = [PREPARE(image)[None] for image in images]
    small, other = answers(tmp_path / "net.onnx", prepared), answers(tmp_path / "images.onnx", resized)
    assert np.abs(small - other).max() < 1e-5


def test_a_fully_convolutional_net_takes_batches_of_every_size(tmp_path):
    net, rng = filled(NET), np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((8, 3, 12, 12)))
    to_onnx(net, tmp_path / "float.onnx")
    (loss,) = to_int8(net, tmp_path / "net.onnx", tmp_path / "x.npy").outputs
    assert (loss.same_class, loss.truth) == (None, None)
    for shape in ((1, 3, 12, 12), (3, 3, 17, 30)):
        x = rng.standard_normal(shape).astype("f4")
        small, whole = (answers(tmp_path / name, [x]) for name in ("net.onnx", "float.onnx"))
        assert small.shape == whole.shape
        assert ccc(small.ravel(), whole.ravel()) > 0.98


def test_values_are_compared_with_the_true_ones_of_an_hdf5(tmp_path):
    net, rng = filled(NET + VALUE), np.random.default_rng(0)
    data, truth = rng.standard_normal((10, 3, 12, 12)).astype("f4"), rng.standard_normal((10, 1))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"], file["label"] = data, truth
    to_onnx(net, tmp_path / "float.onnx")
    (loss,) = to_int8(net, tmp_path / "net.onnx", tmp_path / "x.h5").outputs
    inputs = [row[None] for row in data[1::2]]
    small, whole = (answers(tmp_path / name, inputs).ravel() for name in ("net.onnx", "float.onnx"))
    expected = [ccc(side, truth.ravel()[1::2]) for side in (small, whole)]
    assert loss.truth == pytest.approx(expected, abs=1e-6)
    assert loss.ccc == pytest.approx(ccc(small, whole), abs=1e-6)


def test_a_list_of_detections_of_another_length_is_not_compared():
    output = Comparison("found")
    output.add(np.zeros((1, 1, 3, 7)), np.zeros((1, 1, 4, 7)))
    output.add(np.zeros((1, 1, 3, 7)), np.zeros((1, 1, 3, 7)))
    assert output.loss().ccc is None
    assert "not compared" in str(output.loss())


def test_scores_that_are_no_probabilities_are_classes_where_they_have_labels():
    for labels, same in ((0, None), (2, 0.5)):
        output = Comparison("ip", labels)
        output.add(np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]))
        output.add(np.array([[1.0, 2.0]]), np.array([[5.0, 3.0]]))
        assert output.loss().same_class == same


@pytest.mark.slow
def test_the_authors_net_in_8_bits_follows_float32(nets, tmp_path):
    net = author("cnn_d", nets).load()
    report = to_int8(net, tmp_path / "net.onnx", nets / "faces.h5")
    assert report.outputs[0].ccc > 0.99
    assert (tmp_path / "net.onnx").stat().st_size < report.float_bytes / 3.5


@pytest.mark.slow
def test_a_published_net_in_8_bits_follows_float32(reference, tmp_path):
    net = published("mini_xception_deploy", reference / "published").load()
    net.meta["preprocessing"] = Preprocessing("GRAY", (64, 64), None, 2 / 255, np.ones(1, "f4"))
    (loss,) = to_int8(net, tmp_path / "net.onnx", reference / "images" / "Train").outputs
    assert loss.same_class > 0.8
    assert loss.ccc > 0.98


def test_the_command_states_size_and_loss(net, folder, tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(NET + CLASSES)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    save_weights(net, tmp_path / "net.caffemodel")
    save_preprocessing(PREPARE, tmp_path / "net.caffemodel")
    names = {"model": "net.prototxt", "labels": "labels.txt", "calibrate": "images"}
    flags = [f"--{flag}={tmp_path / name}" for flag, name in names.items()]
    assert main(["convert", str(tmp_path / "net.caffemodel"), str(tmp_path / "net.onnx"), "--int8", *flags]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    size = (tmp_path / "net.onnx").stat().st_size
    assert first.startswith(f"{tmp_path / 'net.onnx'}: onnx, {size} bytes (float32: ")
    assert second == "int8 by 12 samples, measured with 12 others"
    assert third.startswith("prob: float32's top class in ")
    assert "accuracy" in third


@pytest.mark.parametrize(
    ("target", "flags", "text"),
    [
        ("net.pt2", ["--int8", "--calibrate=x"], "write a .onnx file"),
        ("net.onnx", ["--int8"], "needs --calibrate"),
        ("net.onnx", ["--calibrate=x"], "add --int8"),
        ("net.pt", ["--labels=x"], "write one of .onnx"),
        ("net.h5", ["--with_preprocessing"], "write one of .onnx"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_at_once(target, flags, text, tmp_path, capsys):
    assert main(["convert", "missing", str(tmp_path / target), "--model=missing.prototxt", *flags]) == 1
    assert text in capsys.readouterr().err


def sources(folder):
    """Sources of samples that cannot be used, each with the error's code and file."""
    (folder / "empty").mkdir()
    (folder / "text").mkdir()
    for name in ("note.txt", "other.txt"):
        (folder / "text" / name).write_text("no image")
    (folder / "one").mkdir()
    cv2.imwrite(str(folder / "one" / "0.png"), np.zeros((20, 20), np.uint8))
    (folder / "list.txt").write_text("a.png 0")
    np.save(folder / "small.npy", np.zeros((4, 3, 5, 12)))
    np.save(folder / "rank.npy", np.zeros((4, 3)))
    np.save(folder / "none.npy", np.zeros((0, 3, 12, 12)))
    (folder / "damaged.npy").write_bytes(b"\x93NUMPY")
    (folder / "damaged.h5").write_bytes(b"none")
    with h5py.File(folder / "other.h5", "w") as file:
        file["image"] = np.zeros((4, 3, 12, 12))
    return {
        "missing": ("file-missing", "missing"),
        "empty": ("empty", "empty"),
        "text": ("damaged-file", "note.txt"),
        "one": ("wrong-count", "one"),
        "list.txt": ("wrong-format", "list.txt"),
        "small.npy": ("shape-mismatch", "small.npy"),
        "rank.npy": ("shape-mismatch", "rank.npy"),
        "none.npy": ("empty", "none.npy"),
        "damaged.npy": ("damaged-file", "damaged.npy"),
        "damaged.h5": ("damaged-file", "damaged.h5"),
        "other.h5": ("name-unknown", "other.h5"),
    }


def test_samples_that_cannot_be_used_are_refused_by_name(net, tmp_path):
    for name, (code, file) in sources(tmp_path).items():
        with refused(code, file=file):
            to_int8(net, tmp_path / "net.onnx", tmp_path / name)
    net.meta["preprocessing"] = Preprocessing()
    cv2.imwrite(str(tmp_path / "one" / "1.png"), np.zeros((12, 12), np.uint8))
    with refused("shape-mismatch", file="0.png", hint="resize"):
        to_int8(net, tmp_path / "net.onnx", tmp_path / "one")
    net.meta["preprocessing"] = None
    with refused("field-missing", field="calibrate"):
        to_int8(net, tmp_path / "net.onnx", tmp_path / "one")
    assert not (tmp_path / "net.onnx").exists()


def test_nets_that_8_bits_do_not_help_or_fit_are_refused(tmp_path):
    relu = 'layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ dim: [{}, 4] }} }} }} {}'
    np.save(tmp_path / "x.npy", np.zeros((4, 4)))
    with refused("unsupported", field="int8"):
        net = build_net(relu.format(1, 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'))
        to_int8(net, tmp_path / "net.onnx", tmp_path / "x.npy")
    shape = 'layer { name: "r" type: "Reshape" bottom: "data" top: "r" reshape_param { shape { dim: [2, 8] } } }'
    with refused("unsupported", field="batch", value=4):
        to_int8(build_net(relu.format(4, shape)), tmp_path / "net.onnx", tmp_path / "x.npy")
    second = relu.format(1, 'layer { name: "two" type: "Input" top: "two" input_param { shape { dim: [1, 4] } } }')
    with refused("unsupported", field="calibrate"):
        to_int8(build_net(second), tmp_path / "net.onnx", tmp_path / "x.npy")
    assert not (tmp_path / "net.onnx").exists()


def test_a_failure_of_the_runtime_is_an_error_of_one_line(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3, 2, 2)))  # smaller than the kernel
    with refused("unsupported", field="int8"):
        to_int8(filled(NET), tmp_path / "net.onnx", tmp_path / "x.npy")
    assert not (tmp_path / "net.onnx").exists()


def test_without_the_package_the_error_has_the_command_to_install_it(net, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with refused("dependency-missing", hint='pip install "caffe-compat[int8]"'):
        to_int8(net, tmp_path / "net.onnx", folder)
