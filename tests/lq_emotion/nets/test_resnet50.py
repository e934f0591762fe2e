"""The published ResNet-50s: their definitions, and weights in and out."""

import hashlib
import math

import numpy as np
import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import read_weights, save_weights
from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.files import format_text
from caffe_compat.graph.graph import build_graph
from lq_emotion.nets.resnet50 import imagenet_resnet50, vggface2_resnet50

NETS = {
    # github.com/KaimingHe/deep-residual-networks, prototxt/ResNet-50-deploy.prototxt
    # (sha256 2f8fb64f68c6bcda94eb2640f80aed94efb91664122e72a6b7587012cc57dedc), read and upgraded: the same message
    "He": (imagenet_resnet50(), "47713046e31e0a6e9e532b0d84f93b902a34ca9ea3670a69b380581db9ff63e5", 25_557_096),
    # github.com/hujie-frank/SENet, models/SE-ResNet-50.prototxt
    # (sha256 eebbe3c64201f34492caf501498f6031152edbd4a44ed106de69441060ff117c), read and upgraded: the same message
    "SENet": (
        vggface2_resnet50(1000, se=True), "fe27fbad71fbb36e3cbb12be26dadc05e336bf123ac4e94e2f7639b924083d87", 28_088_024,
    ),
    # Compared with no published prototxt: SENet's, less its SE layers, with VGGFace2's classes.
    "VGGFace2": (
        vggface2_resnet50(), "093e79853f66eadef932afca0d78380acd81a2616901ffe5b531b1ffb8f5d0e6", 41_192_951,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_the_text_of_the_definition_is_the_published_one_after_caffes_upgrade(name):
    message, sha256, _ = NETS[name]
    assert hashlib.sha256(format_text(message).encode()).hexdigest() == sha256


@pytest.mark.parametrize("name", NETS)
def test_number_of_learned_values(name):
    message, _, count = NETS[name]
    slots = build_graph(prepare(message)).slots
    assert sum(math.prod(slot.blob.shape) for slot in slots if not slot.blob.buffer) == count


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_weights_of_the_published_names_load_and_go_out_bit_for_bit(name, tmp_path):
    rng = np.random.default_rng(0)
    blobs: dict[str, list[np.ndarray]] = {}
    for slot in build_graph(prepare(NETS[name][0])).slots:
        blobs.setdefault(slot.layer, []).append(rng.standard_normal(slot.blob.shape, np.float32))
    save_weights(load_net(NETS[name][0], blobs), tmp_path / "out.caffemodel")
    out = read_weights(tmp_path / "out.caffemodel")
    assert {layer for layer, arrays in out.items() if arrays} == set(blobs)
    for layer, arrays in blobs.items():
        for array, other in zip(arrays, out[layer], strict=True):
            assert array.tobytes() == other.tobytes(), layer
