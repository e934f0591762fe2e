"""Fully convolutional nets take batches and maps of every size, in every format of operations."""

import numpy as np
import pytest
import torch

from caffe_compat.export import export
from tests.export.consumers import PT2, PYTHON, outputs
from tests.export.models import Model
from tests.export.nets import LARGEST_DIFFERENCE, author, published

pytest.importorskip("safetensors", reason="the extra `dev` brings safetensors")

NETS = {
    "SR-FCN": lambda fixture: author("sr_fcn", fixture("nets")),
    "MTCNN det1": lambda fixture: published("mtcnn_det1", fixture("reference") / "published"),
}
SIZES = ((1, 30, 41), (3, 33, 24))
"""Batch, height and width: none is the definition's."""


def run(net, to, folder):
    """Export a net and return its consumer: an array -> answers by blob."""
    if to == "onnx":
        model = Model(net, folder)
        return lambda x: model({"data": x})
    file = folder / f"net.{'py' if to == 'python' else to}"
    export(net, file, to)
    return lambda x: outputs(PYTHON if to == "python" else PT2, file, {"data": x}, folder)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "pt2", "python"])
@pytest.mark.parametrize("name", NETS)
def test_a_fully_convolutional_net_takes_every_size(name, to, request, tmp_path):
    net = NETS[name](request.getfixturevalue).load()
    consumer = run(net, to, tmp_path)
    for batch, high, wide in SIZES:
        channels = net.caffe.shapes["data"][1]
        x = np.random.default_rng(0).standard_normal((batch, channels, high, wide)).astype("f4")
        tops = net(torch.from_numpy(x))
        tops = {blob: top.detach().numpy() for blob, top in (tops if isinstance(tops, dict) else {"": tops}).items()}
        answers = consumer(x)
        answers = answers if tops.keys() == answers.keys() else dict(zip(tops, answers.values(), strict=True))
        for blob, top in tops.items():
            assert answers[blob].shape == top.shape
            assert np.abs(answers[blob] - top).max() <= LARGEST_DIFFERENCE * np.abs(top).max()
