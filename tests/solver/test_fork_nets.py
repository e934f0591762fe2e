"""Nets with layers of forks train, resume, are checked and exported like any other."""

import numpy as np
import pytest
import torch

from caffe_compat import load_net
from caffe_compat.export.onnx import to_onnx
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from caffe_compat.tools.lint import lint_net
from tests.refusals import refused


def dummy(top, shape, filler='type: "gaussian" std: 1'):
    dims = " ".join(f"dim: {d}" for d in shape)
    return f'layer {{ name: "{top}" type: "DummyData" top: "{top}" dummy_data_param {{ shape {{ {dims} }} data_filler {{ {filler} }} }} }}\n'


IP = 'layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}" inner_product_param {{ num_output: {2} weight_filler {{ type: "xavier" }} }} }}\n'
XAVIER = 'weight_filler { type: "xavier" }'
SILENT = "propagate_down: false " * 2
NETS = {
    "ohem": dummy("x", (6, 4)) + dummy("rois", (6, 5), "value: 0") + dummy("label", (6, 1, 1, 1), "value: 1") + dummy("target", (6, 8))
    + dummy("weight", (6, 8), "value: 1") + IP.format("score", "x", 3) + IP.format("box", "x", 8) + f"""
layer {{ name: "each_cls" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "t0" top: "t1" top: "per_cls" {"loss_weight: 0 " * 3} {SILENT} }}
layer {{ name: "each_box" type: "SmoothL1LossOHEM" bottom: "box" bottom: "target" bottom: "weight" top: "t2" top: "per_box" {"loss_weight: 0 " * 2} }}
layer {{ name: "per" type: "Eltwise" bottom: "per_cls" bottom: "per_box" top: "per" }}
layer {{ name: "mine" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "per" bottom: "label" bottom: "weight" top: "hard" top: "hard_weight"
    box_annotator_ohem_param {{ roi_per_img: 2 }} }}
layer {{ name: "silence" type: "Silence" bottom: "t0" bottom: "t1" bottom: "t2" }}
layer {{ name: "cls" type: "SoftmaxWithLoss" bottom: "score" bottom: "hard" top: "cls" loss_param {{ ignore_label: -1 }} }}
layer {{ name: "loc" type: "SmoothL1LossOHEM" bottom: "box" bottom: "target" bottom: "hard_weight" top: "loc"
    loss_param {{ normalization: PRE_FIXED pre_fixed_normalizer: 2 }} }}""",
    "faces": dummy("x", (6, 4)) + dummy("label", (6,), "value: 1") + IP.format("fc", "x", 5) + f"""
layer {{ name: "center" type: "CenterLoss" bottom: "fc" bottom: "label" top: "center" loss_weight: 0.1
    center_loss_param {{ num_output: 3 center_filler {{ type: "xavier" }} }} }}
layer {{ name: "angular" type: "MarginInnerProduct" bottom: "fc" bottom: "label" top: "score" top: "lambda"
    margin_inner_product_param {{ num_output: 3 type: QUADRUPLE base: 5 {XAVIER} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }}""",
    "crnn": dummy("x", (5, 2, 4)) + dummy("label", (2, 3), "value: 1") + f"""
layer {{ name: "cont" type: "ContinuationIndicator" top: "cont" continuation_indicator_param {{ time_step: 5 batch_size: 2 }} }}
layer {{ name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm" recurrent_param {{ num_output: 4 {XAVIER} }} }}
layer {{ name: "loss" type: "CtcLoss" bottom: "lstm" bottom: "label" top: "loss" ctc_loss_param {{ alphabet_size: 4 time_step: 5 }} }}""",
}  # fmt: skip


@pytest.fixture(params=NETS)
def folder(request, tmp_path, monkeypatch):
    (tmp_path / "net.prototxt").write_text(NETS[request.param])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_train_and_resume_to_the_bit_and_lint_finds_no_error(folder):
    text = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 4 snapshot: 2 snapshot_prefix: "s" random_seed: 5'
    param = parse_text(text, pb.SolverParameter)
    with Solver(param) as whole:
        before = {name: value.clone() for name, value in whole.net.state_dict().items()}
        whole.solve()
        expected = whole.net.state_dict()
    assert any(not np.array_equal(before[name], value) for name, value in expected.items())
    with Solver(param) as again:
        again.restore("s_iter_2.solverstate")
        again.solve()
        actual = again.net.state_dict()
    assert all(np.array_equal(actual[name], value) for name, value in expected.items())
    assert [finding for finding in lint_net("net.prototxt", phases=("TRAIN",)) if finding.level == "error"] == []


def test_a_crnn_is_exported_with_its_marks(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    text = NETS["crnn"].split('layer { name: "loss"')[0].split("\n", 2)[2]
    shape = 'input: "x" input_shape { dim: 5 dim: 2 dim: 4 }\n'
    (tmp_path / "net.prototxt").write_text(shape + text)
    net = load_net(tmp_path / "net.prototxt", seed=3)
    to_onnx(net, tmp_path / "net.onnx")
    x = np.random.default_rng(0).standard_normal((5, 2, 4)).astype("f4")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {"x": x})
    np.testing.assert_allclose(actual, net(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_type_that_onnx_lacks_is_refused_by_name(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'input: "x" input_shape { dim: 1 dim: 4 dim: 6 dim: 6 } input: "rois" input_shape { dim: 2 dim: 5 }\n'
        'layer { name: "p" type: "PSROIPooling" bottom: "x" bottom: "rois" top: "y" '
        "psroi_pooling_param { spatial_scale: 1 output_dim: 1 group_size: 2 } }"
    )
    with refused("unsupported", field="type", value="PSROIPooling"):
        to_onnx(load_net(tmp_path / "net.prototxt"), tmp_path / "net.onnx")
