"""Known models, loaded as users load them, agree with what genuine Caffe computed with the published weights."""

import numpy as np
import pytest
import torch

from caffe_compat.kernels.fast.library import vector_lengths
from lq_emotion.faces.face import Face
from lq_emotion.nets.known import load_model, load_parts
from lq_emotion.nets.known.outputs import coordinates
from tests.records import compiled_layers

LARGEST = 5e-6
"""Of the largest value of a blob; measured: 1.2e-6."""


def agree(net, record):
    """Compare a net as compiled, and layer by layer on torch's modules."""
    inputs = {net.inputs[0]: torch.from_numpy(record["in/data"])}
    compiled, modules = net.forward_dict(inputs), net.every_blob(inputs)
    recorded = {name.removeprefix("out/"): record[name] for name in record.files if name.startswith("out/")}
    assert compiled.keys() == recorded.keys()
    assert compiled_layers(net) or not vector_lengths()
    for name, expected in recorded.items():
        for values in (compiled[name].numpy(), modules[name].numpy()):
            difference = np.abs(values.reshape(expected.shape) - expected).max() / np.abs(expected).max()
            assert difference <= LARGEST, name


def test_mini_xception_agrees_with_caffe(published):
    model = load_model(published / "mini_xception" / "weights.caffemodel")
    with torch.no_grad():
        agree(model.net, np.load(published / "mini_xception_deploy.caffe.npz"))


def test_mtcnn_agrees_with_caffe(published):
    with torch.no_grad():
        for part, net in load_parts(published / "mtcnn").items():
            agree(net, np.load(published / f"mtcnn_{part}.caffe.npz"))


def test_the_astronaut_is_happy(published):
    data = pytest.importorskip("skimage.data")
    model = load_model(published / "mini_xception" / "weights.caffemodel")
    crop = model.crop.cut(data.astronaut(), Face(177, 71, 86, 113, 1.0))
    with torch.no_grad():
        probabilities = model.net(torch.from_numpy(model.preprocessing(crop))[None]).numpy().reshape(-1)
    assert model.outputs.names[int(probabilities.argmax())] == "happy"
    assert probabilities.max() > 0.99
    assert probabilities @ coordinates(model.outputs) == pytest.approx(0.81, abs=0.01)
