"""ONNX models as their readers see them."""

import numpy as np
import pytest

from caffe_compat.export.onnx import exports, to_onnx
from tests.records import difference

pytest.importorskip("onnx", reason="the extra `dev` brings onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `dev` brings onnxruntime")

TOLERANCES = {
    "layer": 3e-6,  # float32 sums in another order, and libm's last bit, as for the net itself
    "transcription": 2e-5,  # float32 against float64, as for the net itself
    "net": 1e-5,  # as a layer, through up to 60 layers; 2.6e-6 was measured
}
"""Largest difference from what genuine Caffe recorded, of the largest magnitude."""


class Model:
    """A model on disk."""

    def __init__(self, net, folder, **options):
        self.file = folder / "model.onnx"
        to_onnx(net, self.file, **options)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(self.file, settings, providers=["CPUExecutionProvider"])
        self.inputs = {value.name: value.shape for value in self.session.get_inputs()}
        self.outputs = {value.name: value.shape for value in self.session.get_outputs()}

    def __call__(self, inputs):
        """Return the outputs by name."""
        names = list(self.outputs)
        given = {name: np.asarray(inputs[name], np.float32) for name in self.inputs}
        return dict(zip(names, self.session.run(names, given), strict=True))


def compare(outputs, expected, tolerance):
    """Compare outputs with what was expected of each."""
    for blob, value in outputs.items():
        other = np.asarray(expected[blob])
        assert value.shape == other.shape
        assert np.array_equal(np.isnan(value), np.isnan(other)), blob
        gap = difference(blob, np.nan_to_num(value), np.nan_to_num(other))
        assert gap.relative <= TOLERANCES[tolerance], str(gap)


def refused_types(net):
    """The types in a net that cannot be exported."""
    return {node.type for node in net.caffe.nodes if not node.layer.is_data and not exports(node.layer)}
