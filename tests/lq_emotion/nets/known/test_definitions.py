"""The definitions of known models are the published ones, and their records describe them."""

import hashlib
import json
import math

import numpy as np
import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import read_weights, save_weights
from caffe_compat.definition.prepare import prepare
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.formats.files import format_text, read_net, same
from caffe_compat.graph.graph import build_graph
from caffe_compat.tools.lint import lint_net
from lq_emotion import prototxt
from lq_emotion.nets.known.model import KNOWN, find_model

from .conftest import PUBLISHED

FILES = [name for name in prototxt.available() if name.startswith("known/")]
PINNED = {("imagenet-resnet50", "imagenet-resnet50")}  # by its hash below
AUTHORS = ("HR", "LR", "Non-Joint", "Joint", "Joint-OA", "SR-FCN")  # by their hashes, in tests/prototxt


@pytest.mark.parametrize(("model", "part"), PUBLISHED)
def test_the_definition_is_the_published_message(model, part, published):
    net = next(net for net in find_model(model).parts if net.name == part).definition()
    assert same(net, upgrade_net(read_net(published / f"{PUBLISHED[model, part]}.prototxt")))


# The first 128 bits of the SHA-256 of the definition's text, and the number of its learned values. The texts of the first
# eight were compared with the published files, VGG's with public copies.
DEFINITIONS = {
    "mini-xception": ("22772890eaa67fc647ac3db1303019a2", 56_951),
    "det1": ("897f48ddfea3f6ae49e1ffa5e1d8db43", 6_632),
    "det2": ("4bbd120ea655ab7b6fbe0a11d7961818", 100_178),
    "det3": ("9f27e535e436eaec53bb6e630e71edeb", 389_040),
    "ultra-light-rfb": ("58fdc207452c1d74067a872e9475f75b", 273_888),
    "ultra-light-slim": ("2e2b015da827f50fc20c1c0a00936e2e", 257_916),
    "libfacedetection": ("a583e569dc52993ee167fa65c47fcb54", 873_632),
    "libfacedetection-v1": ("7ce5b4c280234ff54cf917963c3186df", 673_360),
    "emotiw-vgg-s": ("3cf6b3cb69794fab89d92bebf6c95629", 124_507_607),
    "vgg-face": ("361913fa00364b6371d1e4d537da7c3f", 145_002_878),
    # github.com/KaimingHe/deep-residual-networks, prototxt/ResNet-50-deploy.prototxt
    # (sha256 2f8fb64f68c6bcda94eb2640f80aed94efb91664122e72a6b7587012cc57dedc), read and upgraded: the same message
    "imagenet-resnet50": ("47713046e31e0a6e9e532b0d84f93b90", 25_557_096),
    # Compared with no published prototxt: SENet's, with VGGFace2's classes, and the same less its SE layers.
    "vggface2-resnet50": ("093e79853f66eadef932afca0d78380a", 41_192_951),
    "vggface2-senet50": ("ffe30034288d372ae7ad5415a148b4a8", 43_723_943),
}


def senet():
    """Return SE-ResNet-50 with ImageNet's classes, as SENet published it."""
    net = read_net(prototxt.path("known/vggface2-senet50.prototxt"))
    next(layer for layer in net.layer if layer.name == "classifier").inner_product_param.num_output = 1000
    return net


def learned_values(net):
    """Return the number of values that a net learns."""
    return sum(math.prod(slot.blob.shape) for slot in build_graph(prepare(net)).slots if not slot.blob.buffer)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_text_of_a_definition_and_its_number_of_learned_values_are_as_compared(name):
    net = read_net(prototxt.path(f"known/{name}.prototxt"))
    sha256, count = DEFINITIONS[name]
    assert hashlib.sha256(format_text(net).encode()).hexdigest()[:32] == sha256
    assert learned_values(net) == count


def test_with_imagenets_classes_the_senet_is_the_published_one():
    # github.com/hujie-frank/SENet, models/SE-ResNet-50.prototxt
    # (sha256 eebbe3c64201f34492caf501498f6031152edbd4a44ed106de69441060ff117c), read and upgraded: the same message
    expected = "fe27fbad71fbb36e3cbb12be26dadc05e336bf123ac4e94e2f7639b924083d87"
    assert hashlib.sha256(format_text(senet()).encode()).hexdigest() == expected
    assert learned_values(senet()) == 28_088_024


@pytest.mark.parametrize("name", FILES)
def test_a_definition_has_no_silent_mistakes(name):
    assert [finding for finding in lint_net(prototxt.path(name)) if finding.level != "note"] == []


def test_every_definition_belongs_to_a_known_model():
    files = [part.file for model in KNOWN for part in model.parts if part.file.startswith("known/")]
    assert sorted(files) == FILES
    assert {name.removeprefix("known/").removesuffix(".prototxt") for name in FILES} == DEFINITIONS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagenet-resnet50", "vggface2-resnet50", "vggface2-senet50"])
def test_weights_of_the_published_names_load_and_go_out_bit_for_bit(name, tmp_path):
    net = read_net(prototxt.path(f"known/{name}.prototxt"))
    rng = np.random.default_rng(0)
    blobs: dict[str, list[np.ndarray]] = {}
    for slot in build_graph(prepare(net)).slots:
        blobs.setdefault(slot.layer, []).append(rng.standard_normal(slot.blob.shape, np.float32))
    save_weights(load_net(net, blobs), tmp_path / "out.caffemodel")
    out = read_weights(tmp_path / "out.caffemodel")
    assert {layer for layer, arrays in out.items() if arrays} == set(blobs)
    for layer, arrays in blobs.items():
        for array, other in zip(arrays, out[layer], strict=True):
            assert array.tobytes() == other.tobytes(), layer


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
    for model in KNOWN:
        parts = {(model.name, part.name) for part in model.parts}
        assert model.verified == (parts <= PUBLISHED.keys() | PINNED or model.name in AUTHORS), model.name


def test_names_differ_also_in_small_letters():
    names = [model.name.lower() for model in KNOWN]
    assert len(set(names)) == len(names)
