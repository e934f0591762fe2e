"""Nets for detection as the scripts of py-faster-rcnn and R-FCN call them: a layer in Python proposes regions in forward.

The layer here is a small stand-in with the interface of theirs: param_str_ in YAML's form, phase by name, tops that get
their shape in forward, a method that the script calls on the layer.
"""

import numpy as np
import pytest

from caffe_compat.pycaffe.runner import main

LAYERS = """
import caffe, numpy as np
class ProposalLayer(caffe.Layer):
    def setup(self, bottom, top):
        self._feat_stride = int(self.param_str_.split(":")[1])
        top[0].reshape(1, 5)
    def forward(self, bottom, top):
        count = {"TRAIN": 3, "TEST": 2}[str(self.phase)] + int(bottom[1].data[0, 2])
        rows = np.arange(count) * self._feat_stride
        blob = np.stack([0 * rows, rows, rows, rows + 7, rows + 7], 1).astype(np.float32)
        top[0].reshape(*blob.shape)
        top[0].data[...] = blob
    def backward(self, top, propagate_down, bottom): pass
    def reshape(self, bottom, top): pass
class RoIDataLayer(caffe.Layer):
    def setup(self, bottom, top):
        self._name_to_top_map = {"data": 0, "labels": 1}
        top[0].reshape(1, 3, 16, 16)
        top[1].reshape(1)
    def set_roidb(self, roidb):
        self._roidb = roidb
    def forward(self, bottom, top):
        blobs = {"data": np.full((1, 3, 16, 24), self._roidb, np.float32), "labels": np.arange(3, dtype=np.float32) % 2}
        for name, blob in blobs.items():
            index = self._name_to_top_map[name]
            top[index].reshape(*blob.shape)
            top[index].data[...] = blob.astype(np.float32, copy=False)
    def backward(self, top, propagate_down, bottom): pass
    def reshape(self, bottom, top): pass
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 2
    weight_filler { type: "xavier" } } }
layer { name: "proposal" type: "Python" bottom: "conv" bottom: "im_info" top: "rois"
    python_param { module: "rpn_layer" layer: "ProposalLayer" param_str: "'feat_stride': 4" } }
layer { name: "cls" type: "PSROIPooling" bottom: "conv" bottom: "rois" top: "cls"
    psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 2 } }
layer { name: "box" type: "ROIPooling" bottom: "conv" bottom: "rois" top: "box" roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 } }
layer { name: "score" type: "InnerProduct" bottom: "cls" top: "cls_score" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "bbox" type: "InnerProduct" bottom: "box" top: "bbox_pred" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
"""
TEST = 'name: "rfcn" input: "data" input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 16 input: "im_info" input_dim: 1 input_dim: 3' \
    .replace('input: "data" input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 16', 'input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }') \
    .replace('input_dim: 1 input_dim: 3', 'input_shape { dim: 1 dim: 3 }')  # fmt: skip
SCORES = 'layer { name: "prob" type: "Softmax" bottom: "cls_score" top: "cls_prob" }\n'
TRAIN = """layer { name: "roi-data" type: "Python" top: "data" top: "labels" python_param { module: "rpn_layer" layer: "RoIDataLayer" } }
layer { name: "info" type: "DummyData" top: "im_info" dummy_data_param { shape { dim: 1 dim: 3 } } }
"""
LOSS = """layer { name: "silence" type: "Silence" bottom: "bbox_pred" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "cls_score" bottom: "labels" propagate_down: 1 propagate_down: 0 top: "loss_cls" loss_weight: 1 }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "rpn_layer.py").write_text(LAYERS)
    (tmp_path / "test.prototxt").write_text(TEST + BODY + SCORES)
    (tmp_path / "train.prototxt").write_text(TRAIN + BODY + LOSS)
    solver = 'train_net: "train.prototxt" base_lr: 0.001 lr_policy: "step" gamma: 0.1 stepsize: 50 display: 20 momentum: 0.9 snapshot: 0 snapshot_prefix: "rfcn"'
    (tmp_path / "solver.prototxt").write_text(solver)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(folder, script):
    (folder / "script.py").write_text(script)
    assert main(["--fork=fast-rcnn", "script.py"]) == 0


def test_test_net_reshapes_its_inputs_and_reads_regions_made_in_forward(folder):
    run(
        folder,
        """
import caffe, numpy as np, os
caffe.set_mode_cpu()
net = caffe.Net("test.prototxt", caffe.TEST)
net.save("rfcn.caffemodel")
net = caffe.Net("test.prototxt", "rfcn.caffemodel", caffe.TEST)
net.name = os.path.splitext("rfcn.caffemodel")[0]
out = []
for high, wide, scale in ((16, 16, 0), (20, 24, 3)):
    blobs = {"data": np.random.default_rng(high).normal(size=(1, 3, high, wide)), "im_info": np.array([[high, wide, scale]])}
    net.blobs["data"].reshape(*(blobs["data"].shape))
    net.blobs["im_info"].reshape(*(blobs["im_info"].shape))
    blobs_out = net.forward(**{k: v.astype(np.float32, copy=False) for k, v in blobs.items()})
    out += [net.blobs["rois"].data.copy(), blobs_out["cls_prob"].copy(), blobs_out["bbox_pred"].copy()]
np.savez("out.npz", *out)
""",
    )
    with np.load("out.npz") as out:
        assert [out[f"arr_{i}"].shape for i in range(6)] == [(2, 5), (2, 2), (2, 8), (5, 5), (5, 2), (5, 8)]
        assert out["arr_3"][:, 1].tolist() == [0, 4, 8, 12, 16]
        np.testing.assert_allclose(out["arr_4"].sum(1), 1, rtol=1e-6)


def test_a_solver_trains_with_a_layer_that_the_script_gives_its_data(folder):
    run(
        folder,
        """
import caffe, numpy as np
solver = caffe.SGDSolver("solver.prototxt")
solver.net.layers[0].set_roidb(0.5)
before = solver.net.params["conv"][0].data.copy()
while solver.iter < 3:
    solver.step(1)
assert solver.net.blobs["rois"].data.shape == (3, 5)
assert solver.net.blobs["data"].data.shape == (1, 3, 16, 24)
assert np.isfinite(solver.net.blobs["loss_cls"].data)
assert not np.array_equal(before, solver.net.params["conv"][0].data)
saved = solver.net.params["bbox"][0].data.copy()
solver.net.params["bbox"][0].data[...] = solver.net.params["bbox"][0].data * 2
solver.net.save("after.caffemodel")
solver.net.params["bbox"][0].data[...] = saved
""",
    )
    assert (folder / "after.caffemodel").stat().st_size
