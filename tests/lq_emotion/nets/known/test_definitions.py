"""The builders' definitions are the published ones."""

import json

import numpy as np
import pytest

from caffe_compat.definition.prepare import prepare
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.formats.files import read_net, same
from caffe_compat.graph.graph import build_graph
from lq_emotion import prototxt
from lq_emotion.nets.known.recognition import blob_shapes
from lq_emotion.nets.known.registry import KNOWN, find_model

PUBLISHED = {
    ("mini-xception", "mini-xception"): "mini_xception/deploy",
    ("mtcnn", "det1"): "mtcnn/det1",
    ("mtcnn", "det2"): "mtcnn/det2",
    ("mtcnn", "det3"): "mtcnn/det3",
    ("ultra-light-rfb", "ultra-light-rfb"): "ultra_light/RFB-320",
    ("ultra-light-slim", "ultra-light-slim"): "ultra_light/slim-320",
    ("libfacedetection", "libfacedetection"): "libfacedetection/v2",
    ("libfacedetection-v1", "libfacedetection-v1"): "libfacedetection/v1",
}
PINNED = {("imagenet-resnet50", "imagenet-resnet50")}  # by their hashes, in test_resnet50.py
SHIPPED = dict.fromkeys(("HR", "LR", "Non-Joint", "Joint", "Joint-OA"), "model_1F_CNN+D") | {"SR-FCN": "SRCNN_net"}


@pytest.mark.parametrize(("model", "part"), PUBLISHED)
def test_the_definition_is_the_published_message(model, part, published):
    net = next(net for net in find_model(model).parts if net.name == part).definition()
    assert same(net, upgrade_net(read_net(published / f"{PUBLISHED[model, part]}.prototxt")))


@pytest.mark.parametrize("model", SHIPPED)
def test_the_authors_definition_is_the_shipped_one(model):
    shipped = read_net(prototxt.path(f"matlabscripts/recon/deploy/{SHIPPED[model]}.prototxt"))
    assert same(find_model(model).parts[0].definition(), shipped)


BLOBS = {
    "emotiw-vgg-s": (8, "fc6", (4048, 25088)),
    "vgg-face": (16, "fc8", (2622, 4096)),
    "vggface2-resnet50": (160, "classifier", (8631, 2048)),
    "vggface2-senet50": (192, "conv5_3_1x1_down", (128, 2048, 1, 1)),
    "imagenet-resnet50": (160, "res3a_branch1", (512, 256, 1, 1)),
}


@pytest.mark.parametrize("model", BLOBS)
def test_layers_and_blobs_of_models_that_are_published_elsewhere(model):
    shapes = blob_shapes(find_model(model).parts[0].definition())
    count, layer, shape = BLOBS[model]
    assert len(shapes) == count
    assert shapes[layer][0] == shape


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_a_record_says_everything_and_its_preprocessing_gives_what_the_net_takes(model):
    assert all([model.title, model.licence, model.source, model.trained_on, model.limits])
    assert json.dumps(model.to_json())
    for part in model.parts:
        graph = build_graph(prepare(part.definition()))
        expected = graph.shapes[part.preprocessing.input][1:]
        size = (300, 400) if part.preprocessing.short_side else part.preprocessing.resize or expected[1:]
        image = np.zeros((*size, 3), np.uint8)
        assert part.preprocessing(image).shape == expected
    if model.outputs is not None:
        assert model.crop is not None


def test_a_model_is_called_verified_where_every_definition_is_compared():
    compared = {model for model, _ in PUBLISHED.keys() | PINNED}
    for model in KNOWN:
        parts = {(model.name, part.name) for part in model.parts}
        assert model.verified == (parts <= PUBLISHED.keys() | PINNED or model.name in SHIPPED), model.name
    assert compared <= {model.name for model in KNOWN}


def test_names_differ_also_in_small_letters():
    names = [model.name.lower() for model in KNOWN]
    assert len(set(names)) == len(names)
