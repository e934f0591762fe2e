"""Every layer type in ONNX: genuine Caffe's recordings, and the transcriptions in tests/reference for every field."""

import json
import re
from itertools import product

import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.build.weights import caffe_blobs, copy_weights
from caffe_compat.export import sizes
from caffe_compat.export.onnx import exports, to_onnx
from caffe_compat.layers import every_layer
from tests.conftest import ROOT
from tests.export.models import Model, compare, refused_types
from tests.golden_nets import GOLDEN
from tests.layers.agreement import message_of, single
from tests.layers.examples import EXAMPLES, LAYERS, example_inputs, example_net
from tests.nets import build_net
from tests.reference.caffe_net import Net
from tests.refusals import refused

SSD = GOLDEN / "forks" / "ssd"
RECORDS = [
    folder
    for parent in (GOLDEN / "layers", SSD)
    for folder in sorted(parent.iterdir())
    if json.loads((folder / "case.json").read_text())["phase"] == "TEST"
]


def recorded_net(folder):
    fork = "ssd" if folder.parent == SSD else None
    return load_net(folder / "net.prototxt", folder / "weights.caffemodel", losses=True, fork=fork)


@pytest.mark.parametrize("free", [True, False], ids=["free", "fixed"])
@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_a_recorded_layer_is_caffes_or_refused_by_name_and_type(folder, free, tmp_path, monkeypatch):
    if not free:
        monkeypatch.setattr(sizes, "_CHOICES", ((),))
    net = recorded_net(folder)
    if types := refused_types(net):
        with refused("unsupported", field="type", value=types.pop()):
            to_onnx(net, tmp_path / "model.onnx")
        assert not list(tmp_path.iterdir())
        return
    model = Model(net, tmp_path)
    with np.load(folder / "record.npz") as record:
        compare(
            model({b: record[f"in/{b}"] for b in model.inputs}), {b: record[f"out/{b}"] for b in model.outputs}, "layer"
        )


def expected_outputs(net, inputs):
    """What the transcriptions compute from inputs by blob."""
    blobs = {name: [blob.numpy() for blob in given] for name, given in caffe_blobs(net).items()}
    return Net([message_of(node.spec) for node in net.caffe.nodes], blobs, "TEST").forward(inputs)


def fill_statistics(net):
    """Give layers with statistics such as training leaves."""
    rng = np.random.default_rng(0)
    kinds = {node.name for node in net.caffe.nodes if any(slot.blob.buffer for slot in node.slots)}
    blobs = {
        k: [rng.uniform(0.5, 2, b.shape).astype("f4") for b in v] for k, v in caffe_blobs(net).items() if k in kinds
    }
    copy_weights(net, blobs)


DROPOUTS = ("fast-rcnn Dropout", "segnet Dropout")  # without a transcription
EXPORTED = [n for n, layer in LAYERS.items() if exports(layer) and EXAMPLES[n].tops and n not in DROPOUTS]


@pytest.mark.parametrize("name", EXPORTED)
def test_every_field_that_is_read_has_its_effect_on_bottoms_of_every_size(name, tmp_path):
    example, compared = EXAMPLES[name], 0
    for field, text in {"": example.text, **example.texts()}.items():
        message, _, _ = field.rpartition(".")
        net = example_net(name, text, message, phase="TEST")
        fill_statistics(net)
        if "LEARN" in text:  # SegNet's BN by the batch's own statistics
            with refused("unsupported", layer="l"):
                to_onnx(net, tmp_path / "model.onnx")
            continue
        inputs = {blob: value.numpy() for blob, value in example_inputs(net, name).items()}
        model = Model(net, tmp_path)
        for given in (inputs, enlarged(model, inputs)):
            compare(model(given), expected_outputs(net, given), "transcription")
        compared += 1
    assert compared


def enlarged(model, inputs):
    """Return inputs that are larger where the model leaves a size free."""
    more = {"batch": 1, "height": 3, "width": 4}
    shapes = {
        blob: [n + more.get(str(size).rpartition("_")[2], 0) for n, size in zip(inputs[blob].shape, shape, strict=True)]
        for blob, shape in model.inputs.items()
    }
    return {blob: np.resize(inputs[blob], shape) for blob, shape in shapes.items()}


FLAGS = ("true", "false")


@pytest.mark.parametrize(
    "body",
    [
        *(
            f"code_type: {code} variance_encoded_in_target: {encoded} share_location: {share} nms_param {{ top_k: 9 }}"
            for code, encoded, share in product(("CORNER", "CENTER_SIZE", "CORNER_SIZE"), FLAGS, FLAGS)
        ),
        "code_type: CENTER_SIZE nms_param { nms_threshold: 0.45 top_k: 20 } keep_top_k: 7 confidence_threshold: 0.3",
        "code_type: CENTER_SIZE nms_param { nms_threshold: 0 } keep_top_k: 1",
        "code_type: CENTER_SIZE background_label_id: -1 share_location: false keep_top_k: 200 nms_param { top_k: -1 }",
        "code_type: CENTER_SIZE keep_top_k: 6 nms_param { top_k: 10 }",
        "confidence_threshold: 2",
    ],
)
@pytest.mark.parametrize("grid", [False, True], ids=["all scores differ", "equal scores"])
def test_detections_are_those_of_the_transcription(body, grid, tmp_path):
    images, priors, classes = 3, 30, 4
    if grid:  # where keep_top_k cuts between equal scores, ONNX keeps others than the fork's sort
        body = re.sub(r"keep_top_k: \S+", "", body)
    share = "share_location: false" not in body
    shapes = [(images, priors * 4 * (1 if share else classes)), (images, priors * classes), (1, 2, priors * 4)]
    net = build_net(single("DetectionOutput", shapes, f"detection_output_param {{ num_classes: {classes} {body} }}"))
    rng = np.random.default_rng(0)
    centre, size = rng.uniform(0.2, 0.8, (priors, 2)), rng.uniform(0.1, 0.5, (priors, 2))
    prior = np.concatenate([centre - size / 2, centre + size / 2], 1).reshape(-1)
    prior = np.stack([prior, np.tile([0.1, 0.1, 0.2, 0.2], priors)])[None]
    scores = rng.integers(0, 3, shapes[1]) / 2 if grid else rng.uniform(size=shapes[1])
    inputs = {"x0": rng.standard_normal(shapes[0]), "x1": scores, "x2": prior}
    inputs = {blob: value.astype("f4") for blob, value in inputs.items()}
    compare(Model(net, tmp_path)(inputs), expected_outputs(net, inputs), "transcription")


def test_a_changing_threshold_of_overlaps_is_refused(tmp_path):
    body = "detection_output_param { num_classes: 1 nms_param { eta: 0.7 } }"
    net = build_net(single("DetectionOutput", [(1, 4), (1, 1), (1, 2, 4)], body))
    with refused("unsupported", layer="l", field="detection_output_param.nms_param.eta"):
        to_onnx(net, tmp_path / "model.onnx")


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(
    "window",
    [
        "kernel_size: 2 stride: 2",
        "kernel_size: 3 stride: 2",
        "kernel_size: 3 stride: 2 pad: 1",
        "kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR",
        "kernel_h: 5 kernel_w: 2 stride_h: 3 stride_w: 2 pad_h: 4 pad_w: 0",
        "kernel_size: 2 stride: 2 pad: 1",
        "kernel_size: 3 stride: 1 pad: 2",
    ],
)
def test_windows_are_caffes_on_maps_of_every_size(pool, window, tmp_path):
    net = build_net(single("Pooling", [(1, 2, 7, 8)], f"pooling_param {{ pool: {pool} {window} }}"))
    model, rng = Model(net, tmp_path), np.random.default_rng(0)
    assert model.inputs == {"x0": ["batch", 2, "height", "width"]}
    for high, wide in [(7, 8), (8, 7), (9, 9), (10, 11), (12, 6), (13, 17)]:
        inputs = {"x0": rng.standard_normal((3, 2, high, wide)).astype("f4")}
        compare(model(inputs), expected_outputs(net, inputs), "transcription")


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(1, 2), (7, 4)])
def test_windows_beyond_the_map_are_caffes(pool, size, tmp_path):
    net = build_net(single("Pooling", [(1, 2, *size)], f"pooling_param {{ pool: {pool} kernel_size: 1 stride: 3 }}"))
    inputs = {"x0": np.random.default_rng(0).standard_normal((1, 2, *size)).astype("f4")}
    compare(Model(net, tmp_path)(inputs), expected_outputs(net, inputs), "transcription")


def test_batch_norm_by_the_statistics_of_the_batch(tmp_path):
    body = "batch_norm_param { use_global_stats: false eps: 0.1 }"
    net = build_net(single("BatchNorm", [(3, 2, 4, 5)], body))
    inputs = {"x0": np.random.default_rng(0).standard_normal((3, 2, 4, 5)).astype("f4")}
    compare(Model(net, tmp_path)(inputs), expected_outputs(net, inputs), "transcription")


def test_stochastic_pooling_is_the_mean_weighed_by_the_values(tmp_path):
    net = build_net(single("Pooling", [(1, 1, 3, 3)], "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }"))
    x = np.array([[1, 2, 0], [3, 4, 0], [1, 3, 5]], "f4").reshape(1, 1, 3, 3)
    assert Model(net, tmp_path)({"x0": x})["y"].ravel() == pytest.approx([3, 0, 2.5, 5])


def test_dropout_that_scales_in_test_is_a_factor(tmp_path):
    body = "dropout_param { scale_train: false dropout_ratio: 0.75 }"
    net = build_net(single("Dropout", [(1, 2)], body), fork="fast-rcnn")
    assert Model(net, tmp_path)({"x0": [[1, 2]]})["y"].tolist() == [[0.25, 0.5]]


def test_dropout_that_draws_in_test_is_refused(tmp_path):
    net = build_net(single("Dropout", [(1, 2)], "dropout_param { sample_weights_test: true }"), fork="segnet")
    with refused("unsupported", layer="l", value="Dropout"):
        to_onnx(net, tmp_path / "model.onnx")


def test_a_layer_whose_module_is_another_than_its_base_types_is_not_exported_as_that():
    class Squared(type(LAYERS["ReLU"])):
        def module(self, spec):
            raise NotImplementedError

    assert exports(LAYERS["ReLU"])
    assert not exports(Squared())


def test_the_page_lists_the_types_that_are_not_exported():
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    layers = [layer for layer in every_layer() if not layer.is_data and not exports(layer)]
    names = [f"{layer.type} ({', '.join(layer.forks)})" if layer.forks else layer.type for layer in layers]
    assert f"- **refused**: {', '.join(sorted(names))}." in text
