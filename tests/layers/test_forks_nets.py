"""A small net in the manner of each family of forks: it parses, builds, runs, and goes back where it is trained."""

import pytest
import torch

import caffe_compat.pycaffe as caffe
from caffe_compat.build.net import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import read_solver
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from tests.nets import build_net
from tests.refusals import refused
from tests.solver.case import NET, write_case


def conv(name, bottom, outputs, kernel=3, more=""):
    """A convolution that keeps the size, and its ReLU."""
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} {more} weight_filler {{ type: "msra" }} }} }}
layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}"""


def data(*shape, name="data"):
    dims = " ".join(f"dim: {n}" for n in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}'


def head(source, priors, classes):
    """SSD's predictions from one map."""
    lines = []
    for kind, outputs in (("loc", priors * 4), ("conf", priors * classes)):
        name = f"{source}_{kind}"
        lines.append(f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{source}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}" top: "{name}_perm"
  permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
layer {{ name: "{name}_flat" type: "Flatten" bottom: "{name}_perm" top: "{name}_flat" flatten_param {{ axis: 1 }} }}""")
    return "\n".join(lines)


def prior(source, sizes):
    return f"""
layer {{ name: "{source}_priorbox" type: "PriorBox" bottom: "{source}" bottom: "data" top: "{source}_priorbox"
  prior_box_param {{ {sizes} aspect_ratio: 2 flip: true clip: false step: 8 offset: 0.5
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }} }}"""


def concat(name, bottoms, axis):
    return f"""
layer {{ name: "{name}" type: "Concat" {" ".join(f'bottom: "{b}"' for b in bottoms)} top: "{name}" concat_param {{ axis: {axis} }} }}"""


SSD = "\n".join([
    data(2, 3, 32, 32), conv("conv1", "data", 8),
    'layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 4 stride: 4 } }',
    conv("conv2", "pool1", 8),
    """layer { name: "norm" type: "Normalize" bottom: "conv2" top: "norm"
      norm_param { across_spatial: false channel_shared: false scale_filler { type: "constant" value: 20 } } }""",
    head("norm", 4, 3), prior("norm", "min_size: 10 max_size: 16"),
    conv("conv3", "conv2", 8, more="stride: 2"), head("conv3", 3, 3), prior("conv3", "min_size: 20"),
    concat("mbox_loc", ["norm_loc_flat", "conv3_loc_flat"], 1), concat("mbox_conf", ["norm_conf_flat", "conv3_conf_flat"], 1),
    concat("mbox_priorbox", ["norm_priorbox", "conv3_priorbox"], 2),
    """
layer { name: "reshape" type: "Reshape" bottom: "mbox_conf" top: "reshape" reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "softmax" type: "Softmax" bottom: "reshape" top: "softmax" softmax_param { axis: 2 } }
layer { name: "flatten" type: "Flatten" bottom: "softmax" top: "flatten" flatten_param { axis: 1 } }
layer { name: "detection_out" type: "DetectionOutput" bottom: "mbox_loc" bottom: "flatten" bottom: "mbox_priorbox"
  top: "detection_out" include { phase: TEST }
  detection_output_param { num_classes: 3 share_location: true background_label_id: 0
    nms_param { nms_threshold: 0.45 top_k: 400 } save_output_param { label_map_file: "labelmap.prototxt" }
    code_type: CENTER_SIZE keep_top_k: 200 confidence_threshold: 0.01 } }""",
])  # fmt: skip
FAST_RCNN = "\n".join([
    data(1, 3, 32, 32), data(4, 5, name="rois"), conv("conv1", "data", 8, more="stride: 2"), """
layer { name: "roi_pool" type: "ROIPooling" bottom: "conv1" bottom: "rois" top: "pool"
  roi_pooling_param { pooled_h: 3 pooled_w: 3 spatial_scale: 0.5 } }
layer { name: "box" type: "InnerProduct" bottom: "pool" top: "box"
  inner_product_param { num_output: 8 weight_filler { type: "gaussian" std: 0.1 } } }""",
    data(4, 8, name="targets"), data(4, 8, name="inside"), data(4, 8, name="outside"), """
layer { name: "loss" type: "SmoothL1Loss" bottom: "box" bottom: "targets" bottom: "inside" bottom: "outside" top: "loss"
  loss_weight: 1 smooth_l1_loss_param { sigma: 3 } }""",
])  # fmt: skip
SEGNET = "\n".join([
    data(2, 3, 16, 20), data(2, 1, 16, 20, name="label"), """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn1" type: "BN" bottom: "conv1" top: "conv1" bn_param { scale_filler { type: "constant" value: 1 }
  shift_filler { type: "constant" value: 0.001 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "pool1_mask"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "drop1" type: "Dropout" bottom: "pool1" top: "pool1"
  dropout_param { dropout_ratio: 0.5 sample_weights_test: true } }
layer { name: "upsample1" type: "Upsample" bottom: "pool1" bottom: "pool1_mask" top: "up1" upsample_param { scale: 2 } }
layer { name: "classes" type: "Convolution" bottom: "up1" top: "classes"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "classes" bottom: "label" top: "loss" softmax_param { engine: CAFFE }
  loss_param { weight_by_label_freqs: true ignore_label: 2 class_weighting: 0.2 class_weighting: 1.5 class_weighting: 1 } }""",
])  # fmt: skip
PSPNET = "\n".join([
    data(1, 3, 17, 17), """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 2 dilation: 2 bias_term: false weight_filler { type: "msra" } } }
layer { name: "conv1/bn" type: "BN" bottom: "conv1" top: "conv1" param { lr_mult: 0 } param { lr_mult: 0 }
  param { lr_mult: 0 } param { lr_mult: 0 }
  bn_param { slope_filler { value: 1 } bias_filler { value: 0 } frozen: true momentum: 0.95 } }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool" pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "pool_interp" type: "Interp" bottom: "pool" top: "pool_interp" interp_param { height: 17 width: 17 } }
layer { name: "concat" type: "Concat" bottom: "conv1" bottom: "pool_interp" top: "concat" }""",
    conv("conv6", "concat", 3, 1),
    'layer { name: "conv6_interp" type: "Interp" bottom: "conv6" top: "conv6_interp" interp_param { zoom_factor: 8 } }',
])  # fmt: skip
SENET = "\n".join([
    data(2, 3, 8, 8), conv("conv1", "data", 8), conv("conv2", "conv1", 8), """
layer { name: "gap" type: "Pooling" bottom: "conv2" top: "gap"
  pooling_param { pool: AVE engine: CAFFE global_pooling: true } }""",
    conv("down", "gap", 2, 1), """
layer { name: "up" type: "Convolution" bottom: "down" top: "up"
  convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "prob" type: "Sigmoid" bottom: "up" top: "prob" }
layer { name: "axpy" type: "Axpy" bottom: "prob" bottom: "conv2" bottom: "conv1" top: "axpy" }""",
])  # fmt: skip
MOBILENET = "\n".join([
    data(2, 3, 16, 16), conv("conv1", "data", 8, more="stride: 2"), """
layer { name: "conv2_dw" type: "DepthwiseConvolution" bottom: "conv1" top: "conv2_dw"
  convolution_param { num_output: 8 group: 8 bias_term: false pad: 1 kernel_size: 3 engine: CAFFE weight_filler { type: "msra" } } }
layer { name: "relu2" type: "ReLU6" bottom: "conv2_dw" top: "conv2_dw" }
layer { name: "conv3_dw" type: "ConvolutionDepthwise" bottom: "conv2_dw" top: "conv3_dw"
  convolution_param { num_output: 8 bias_term: false pad: 1 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
layer { name: "pool" type: "Pooling" bottom: "conv3_dw" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 ceil_mode: false } }""",
])  # fmt: skip
SHUFFLENET = "\n".join([
    data(2, 3, 8, 8), conv("conv1", "data", 6), conv("g1", "conv1", 6, 1, "group: 3"), """
layer { name: "shuffle" type: "ShuffleChannel" bottom: "g1" top: "shuffle" shuffle_channel_param { group: 3 } }""",
    conv("g2", "shuffle", 6, 1, "group: 3"),
])  # fmt: skip
YOLO = "\n".join([
    data(1, 3, 8, 8), conv("conv1", "data", 4, more="stride: 2"), """
layer { name: "upsample" type: "Upsample" bottom: "conv1" top: "up" upsample_param { scale: 2 } }""",
    concat("route", ["up", "data"], 1),
])  # fmt: skip
FAMILIES = {
    "ssd": (SSD, "detection_out"), "fast-rcnn": (FAST_RCNN, "box"), "segnet": (SEGNET, "classes"),
    "pspnet": (PSPNET, "conv6_interp"), "senet": (SENET, "axpy"), "mobilenet": (MOBILENET, "pool"),
    "shufflenet": (SHUFFLENET, "g2"), "yolov3": (YOLO, "route"),
}  # fmt: skip


def inputs(net):
    generator = torch.Generator().manual_seed(0)
    blobs = {blob: torch.rand(net.caffe.shapes[blob], generator=generator) for blob in net.inputs}
    if "rois" in blobs:
        blobs["rois"] = torch.tensor([[0, 0, 0, 31, 31], [0, 4, 4, 12, 20], [0, 9, 2, 30, 8], [0, 5, 5, 5, 5.0]])
    if "label" in blobs:
        blobs["label"] = torch.randint(0, 3, blobs["label"].shape, generator=generator).float()
    return blobs


@pytest.mark.parametrize("family", FAMILIES)
def test_a_net_of_the_family_runs_and_naming_its_fork_changes_nothing(family):
    text, output = FAMILIES[family]
    values = []
    for fork in (None, family):
        net = load_net(parse_text(text, pb.NetParameter), seed=0, fork=fork)
        assert output in net.returns
        torch.manual_seed(0)
        values.append(net.forward_dict(inputs(net))[output])
    assert torch.isfinite(values[0]).all()
    assert torch.equal(*values)
    if family != "ssd":
        assert tuple(values[0].shape) == net.caffe.shapes[output]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_that_learns_gets_a_gradient(family):
    net = build_net(FAMILIES[family][0], phase="TRAIN")
    outputs = net.forward_dict(inputs(net))
    loss = net.total_loss(outputs) if net.losses else sum(v.square().sum() for v in outputs.values())
    loss.backward()
    learning = [param for param in net.params if param.propagate]
    assert learning
    for param in learning:
        assert param.tensor.grad is not None, param.key
        assert param.tensor.grad.any(), param.key


def test_detections_are_the_priors_when_nothing_is_predicted():
    net = build_net(SSD)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "_loc" in name:
                parameter.zero_()
    actual = net(torch.rand(2, 3, 32, 32))[0, 0]
    priors = net.every_blob({"data": torch.rand(2, 3, 32, 32)})["mbox_priorbox"][0, 0].view(-1, 4)
    gaps = (actual[:, None, 3:] - priors[None]).abs().amax(2).amin(1)
    assert len(actual) > 10
    assert gaps.max() < 1e-6


def test_bayesian_segnet_draws_in_test():
    net = load_net(parse_text(SEGNET, pb.NetParameter), seed=0)
    blobs = inputs(net)
    assert not torch.equal(net.forward_dict(blobs)["classes"], net.forward_dict(blobs)["classes"])


@pytest.mark.parametrize("family", ["ssd", "fast-rcnn", "pspnet"])
def test_pycaffe_computes_the_same_values(family, tmp_path):
    text, output = FAMILIES[family]
    (tmp_path / "net.prototxt").write_text(text)
    net = load_net(tmp_path / "net.prototxt", seed=0, losses=True)
    save_weights(net, tmp_path / "net.caffemodel")
    again = caffe.Net(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"), caffe.TEST)
    blobs = inputs(net)
    for blob, value in blobs.items():
        again.blobs[blob].data[...] = value.numpy()
    actual = torch.from_numpy(again.forward(blobs=[output])[output].copy())
    torch.testing.assert_close(actual, net.every_blob(blobs)[output].detach(), rtol=1e-5, atol=1e-5)


def test_a_solver_trains_a_net_of_the_fork_it_is_given(folder):
    write_case(folder, net=NET.replace('bottom: "ip" bottom', 'bottom: "bn" bottom')
               + 'layer { name: "bn" type: "BN" bottom: "ip" top: "bn" }')  # fmt: skip
    lines = (folder / "net.prototxt").read_text().splitlines()
    order = [*[line for line in lines if '"loss"' not in line], *[line for line in lines if '"loss"' in line]]
    (folder / "net.prototxt").write_text("\n".join(order))
    definition = read_solver("solver.prototxt")
    with refused("ambiguous", field="type"):
        Solver(definition)
    for fork, blobs in (("pspnet", 4), ("segnet", 2)):
        solver = Solver(definition, fork=fork)
        solver.step(3)
        assert sum(slot.layer == "bn" for slot in solver.net.caffe.slots) == blobs
