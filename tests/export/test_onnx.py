"""Exported ONNX models, run by onnxruntime, against what genuine Caffe computed."""

import sys

import cv2
import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.build.weights import caffe_blobs
from caffe_compat.export.onnx import to_onnx
from lq_emotion.prototxt import path
from tests.conftest import SHARED
from tests.export.models import Model, compare
from tests.nets import build_net
from tests.reference.caffe_net import Net
from tests.refusals import refused

onnx = pytest.importorskip("onnx", reason="the extra `dev` brings onnx")

DEPLOY = "matlabscripts/recon/deploy/"
PUBLISHED = SHARED / "reference" / "published"


def same(outputs, record):
    """Compare outputs with what genuine Caffe recorded."""
    compare(outputs, {blob: record[f"out/{blob}"] for blob in outputs}, "net")


AUTHORS = [("model_1F_CNN+D.prototxt", "cnn_d"), ("SRCNN_net.prototxt", "sr_fcn")]


@pytest.mark.parametrize(("definition", "name"), AUTHORS)
def test_the_authors_nets_are_caffes(definition, name, nets, tmp_path):
    model = Model(load_net(path(DEPLOY + definition), nets / f"{name}.caffemodel"), tmp_path)
    with np.load(nets / f"{name}_deploy.npz") as record:
        same(model({"data": record["in/data"]}), record)


@pytest.mark.parametrize(("definition", "name"), AUTHORS)
def test_the_authors_nets_are_caffes_in_another_runtime_too(definition, name, nets, tmp_path):
    to_onnx(load_net(path(DEPLOY + definition), nets / f"{name}.caffemodel"), tmp_path / "model.onnx")
    reader = cv2.dnn.readNetFromONNX(str(tmp_path / "model.onnx"))
    with np.load(nets / f"{name}_deploy.npz") as record:
        reader.setInput(record["in/data"])
        (output,) = reader.getUnconnectedOutLayersNames()
        same({output: reader.forward()}, record)


def test_a_fully_convolutional_net_takes_images_of_every_size(tmp_path):
    net = load_net(path(DEPLOY + "SRCNN_net.prototxt"), seed=0)
    model = Model(net, tmp_path)
    assert model.inputs == {"data": ["batch", 1, "height", "width"]}
    x = np.random.default_rng(0).standard_normal((1, 1, 20, 17)).astype("f4")
    blobs = {name: [blob.numpy() for blob in given] for name, given in caffe_blobs(net).items()}
    expected = Net([node.spec.param for node in net.caffe.nodes], blobs, "TEST").forward({"data": x})["conv4"]
    compare(model({"data": x}), {"conv4": expected}, "net")


def test_a_net_with_inner_products_takes_every_batch_and_one_size(tmp_path):
    model = Model(load_net(path(DEPLOY + "model_1F_CNN+D.prototxt"), seed=0), tmp_path)
    assert model.inputs == {"data": ["batch", 1, 96, 96]}
    assert model.outputs == {"fc5": ["batch", 1]}


def published():
    """The recordings of published nets: record, definition and weights."""
    for file in sorted(PUBLISHED.glob("*.caffe.npz")):
        folder, _, name = file.name.removesuffix(".caffe.npz").rpartition("_")
        weights = next(p for p in (PUBLISHED / folder / f"{n}.caffemodel" for n in (name, "weights")) if p.is_file())
        yield pytest.param(file, PUBLISHED / folder / f"{name}.prototxt", weights, id=f"{folder}-{name}")


NONE = pytest.param(
    *[None] * 3,
    marks=pytest.mark.skip(reason="needs ../shared/reference/published, which was brought from elsewhere"),
    id="none",
)


@pytest.mark.parametrize(("file", "definition", "weights"), list(published()) or [NONE])
def test_a_published_net_is_caffes(file, definition, weights, tmp_path):
    net = load_net(definition, weights)
    model = Model(net, tmp_path)
    with np.load(file) as record:
        outputs = model({blob: record[f"in/{blob}"] for blob in model.inputs})
        assert {f"out/{blob}" for blob in outputs} == {name for name in record.files if name.startswith("out/")}
        same(outputs, record)


TWO = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [2, 3, 4, 4] } } }
layer { name: "up" type: "Power" bottom: "data" top: "data" power_param { shift: 1 } }
layer { name: "relu" type: "ReLU" bottom: "data" top: "data" }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "a/relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "drop" type: "Dropout" bottom: "a" top: "b" }
layer { name: "c" type: "Flatten" bottom: "b" top: "c" flatten_param { axis: 2 } }
layer { name: "d" type: "Scale" bottom: "b" top: "d" scale_param { bias_term: true } }
"""


def test_inputs_and_outputs_have_the_names_of_their_blobs_where_layers_work_in_place(tmp_path):
    net = build_net(TWO)
    model = Model(net, tmp_path)
    assert model.inputs == {"data": ["batch", 3, "height", "width"]}
    assert model.outputs == {"c": ["batch", 2, "c_2"], "d": ["batch", 2, "height", "width"]}
    x = np.random.default_rng(0).standard_normal((5, 3, 6, 7)).astype("f4")
    blobs = {name: [blob.numpy() for blob in given] for name, given in caffe_blobs(net).items()}
    expected = Net([node.spec.param for node in net.caffe.nodes], blobs, "TEST").forward({"data": x})
    compare(model({"data": x}), expected, "layer")


def test_a_model_uses_standard_operators_of_one_version(tmp_path):
    model = onnx.load(Model(build_net(TWO), tmp_path).file)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert {node.domain for node in model.graph.node} == {""}
    assert [node.name.partition(":")[0] for node in model.graph.node] == ["up", "relu", "a", "a/relu", "c", "d", "d"]
    assert {constant.name for constant in model.graph.initializer} >= {"a.weight", "a.bias"}
    assert [entry.key for entry in model.metadata_props] == ["definition.prototxt"]
    assert '"a/relu"' in model.metadata_props[0].value


def test_without_the_package_the_error_has_the_command_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with refused("dependency-missing", hint='pip install "caffe-compat[export]"'):
        to_onnx(build_net(TWO), tmp_path / "model.onnx")


FULL = 'layer { name: "ip" type: "InnerProduct" bottom: "half" top: "ip" inner_product_param { num_output: 1 } }'
FACES = """layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ dim: [1, {}, 8, 6] }} }} }}
layer {{ name: "half" type: "Power" bottom: "data" top: "half" power_param {{ scale: 0.5 }} }}"""


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, ["batch", 3, "height", "width"]),
        ({"channels": "GRAY", "raw_scale": 1 / 255, "mean": np.array([0.5], "f4")}, ["batch", 1, "height", "width"]),
        (
            {"resize": (11, 9), "crop": (8, 6), "mean": np.arange(297, dtype="f4").reshape(3, 11, 9)},
            ["batch", 3, 11, 9],
        ),
        ({"channels": "RGB", "crop": (8, 6), "scale": 0.25}, ["batch", 3, "image_height", "image_width"]),
        ({"short_side": 9, "crop": (8, 6)}, ["batch", 3, "image_height", "image_width"]),
    ],
)
def test_with_preprocessing_it_comes_first(settings, shape, tmp_path):
    prepare = Preprocessing(**settings)
    net = build_net(FACES.format(shape[1]))
    net.meta["preprocessing"] = prepare
    model = Model(net, tmp_path, with_preprocessing=True)
    assert model.inputs == {"data": shape}
    image = np.random.default_rng(0).integers(0, 256, (11, 9, shape[1])).astype("f4")
    top = model({"data": image.transpose(2, 0, 1)[None]})["half"][0]
    assert np.array_equal(top, prepare(image) * np.float32(0.5))


@pytest.mark.parametrize(
    ("preprocessing", "code", "field"),
    [
        (Preprocessing(input="image"), "name-unknown", "input"),
        (Preprocessing(resize=(9, 9), crop=(8, 8)), "shape-mismatch", "crop"),
        (Preprocessing(resize=(9, 9)), "shape-mismatch", "resize"),
    ],
)
def test_preprocessing_that_does_not_fit_the_net_is_refused(preprocessing, code, field, tmp_path):
    net = build_net(FACES.format(3) + FULL)
    net.meta["preprocessing"] = preprocessing
    with refused(code, field=field):
        to_onnx(net, tmp_path / "model.onnx", with_preprocessing=True)
    assert not list(tmp_path.iterdir())
