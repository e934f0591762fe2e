"""An example of every layer type, Caffe's by type and forks' by fork and type, with a change of every field it reads."""

import re
from dataclasses import dataclass, field

import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.layers import FORK_REGISTRY, REGISTRY, exactly
from tests.layers.agreement import single
from tests.nets import build_net

LAYERS = {name: layer for name, layer in sorted(REGISTRY.items()) if name != "Python"} | {
    f"{layer.forks[0]} {layer.type}": layer for name in sorted(FORK_REGISTRY) for layer in FORK_REGISTRY[name]
}
"""All but the type whose code is the caller's: tests/pycaffe/test_python_layer.py."""


@dataclass(frozen=True)
class Example:
    """A layer that works.

    Attributes
    ----------
    text : its first message.
    inputs : the shapes of its bottoms x0, x1, ...
    changes : separated by semicolons, new values of fields that are read; `-name` takes a field out of `text`. A field of
        another message than the first follows that message's name and a dot.
    labels : bottoms that hold class numbers, and how many classes there are.
    elsewhere : fields that are read, whose effect other tests show.
    """

    text: str = ""
    inputs: tuple[tuple[int, ...], ...] = ((2, 4, 6, 7),)
    changes: str = ""
    labels: dict[str, int] = field(default_factory=dict)
    tops: tuple[str, ...] = ("y",)
    phase: str = "TEST"
    elsewhere: str = ""

    def texts(self) -> dict[str, str]:
        """The field of each change -> the message's text with it."""
        return {re.match(r"[\w.]+", change)[0]: self._changed(change) for change in self.changes.split("; ") if change}

    def _changed(self, change: str) -> str:
        message, rest = re.match(r"(\w+\.)?(.*)", change).groups()
        text = "" if message else self.text
        removed = re.findall(r" -([a-z]\w*)", rest)
        for name in (re.match(r"\w+", rest)[0], *removed):
            text = re.sub(rf"(?<!\w){name}(: \S+| \{{[^}}]*\}})", "", text, count=1)
        return f"{text} {re.sub(' -[a-z][a-z_]*', '', rest)}"


CONV = (
    "num_output: 4 kernel_size: 3 weight_filler { type: 'gaussian' std: 1 } bias_filler { type: 'constant' value: 1 }"
)
CONV4 = CONV.replace("num_output: 4", "num_output: 4 group: 4")
PLANES = (
    "pad: 1; kernel_size: 2; stride: 2; pad_h: 1; pad_w: 1; kernel_h: 2 kernel_w: 1 -kernel_size; "
    "kernel_w: 3 kernel_h: 1 -kernel_size; stride_h: 2 stride_w: 1; stride_w: 2 stride_h: 1"
)
FILLED = "weight_filler { type: 'gaussian' std: 2 }; bias_filler { type: 'gaussian' std: 2 }"
CONV_CHANGES = f"{PLANES}; bias_term: false; {FILLED}"
POOL = "kernel_size: 2 stride: 2"
POOL_CHANGES = (
    "pool: AVE; pad: 1; pad_h: 1 pad_w: 0; pad_w: 1 pad_h: 0; kernel_size: 3; kernel_h: 3 kernel_w: 2 -kernel_size; "
    "kernel_w: 3 kernel_h: 2 -kernel_size; stride: 1; stride_h: 1 stride_w: 2 -stride; stride_w: 1 stride_h: 2 -stride; "
    "global_pooling: true -kernel_size -stride"
)
IP = "num_output: 3 weight_filler { type: 'gaussian' std: 1 }"
REC = IP + " bias_filler { type: 'gaussian' std: 1 }"
SCALE = "filler { type: 'gaussian' std: 1 }"
SLOPE = "slope_filler { type: 'gaussian' std: 1 } bias_filler { type: 'gaussian' std: 1 }"
SHIFT = SLOPE.replace("slope", "scale").replace("bias", "shift")
OHEM = "normalization: BATCH_SIZE; normalize: false; pre_fixed_normalizer: 7 normalization: PRE_FIXED"
IGNORED = "ignore_label: 1; normalization: NONE"
WEIGHTED = "weight_by_label_freqs: true class_weighting: 1 class_weighting: 2 class_weighting: 3"
PRIORS = (
    "min_size: 6; max_size: 8; aspect_ratio: 3; flip: false; clip: true; variance: 0.2; img_size: 30; img_h: 30 img_w: 20; "
    "img_w: 30 img_h: 10; step: 3; step_h: 3 step_w: 10; step_w: 7 step_h: 5; offset: 0.3"
)
BOXES = (
    "loc_loss_type: L2; conf_loss_type: LOGISTIC; loc_weight: 2; match_type: BIPARTITE; overlap_threshold: 0.4; "
    "use_prior_for_matching: false; use_difficult_gt: false; neg_pos_ratio: 0.5; neg_overlap: 0.01; code_type: CENTER_SIZE; "
    "encode_variance_in_target: true; ignore_cross_boundary_bbox: true; bp_inside: true; mining_type: HARD_EXAMPLE sample_size: 3; "
    "nms_param { nms_threshold: 0.01 top_k: 4 }; sample_size: 2 mining_type: HARD_EXAMPLE"
)
DETECTIONS = (
    "background_label_id: 1; nms_param { nms_threshold: 0.01 }; code_type: CORNER; variance_encoded_in_target: true; "
    "keep_top_k: 3; confidence_threshold: 0.5"
)

EXAMPLES = {
    name: Example()
    for name, layer in LAYERS.items()
    if layer.bottoms == layer.tops == exactly(1) and not any(account.read for account in layer.accounts.values())
} | {
    "Accuracy": Example("", ((4, 5, 5), (4, 5)), "top_k: 4; axis: 2; ignore_label: 1", {"x1": 5}),
    "ArgMax": Example(changes="out_max_val: true; top_k: 2; axis: 1"),
    "BatchNorm": Example("", ((3, 4, 5),), "use_global_stats: true; moving_average_fraction: 0.5; eps: 0.5", phase="TRAIN"),
    "BatchReindex": Example("", ((3, 4), (5,)), labels={"x1": 3}),
    "Bias": Example(SCALE, changes="axis: 2; num_axes: 2; filler { type: 'gaussian' std: 2 }"),
    "Clip": Example("min: -1 max: 1", changes="min: -2; max: 2"),
    "Concat": Example("", ((2, 2, 2), (2, 2, 2)), "axis: 2; concat_dim: 0"),
    "ContrastiveLoss": Example("margin: 4", ((5, 3), (5, 3), (5, 1)), "margin: 5; legacy_version: true", {"x2": 2}),
    "Convolution": Example(CONV, changes=f"{CONV_CHANGES}; num_output: 6; group: 2; dilation: 2; axis: 2"),
    "Crop": Example("", ((2, 4, 6, 7), (2, 3, 4, 5)), "axis: 1; offset: 1"),
    "Data": Example("", ()),
    "Deconvolution": Example(CONV, changes=f"{CONV_CHANGES}; num_output: 6; group: 2; dilation: 2; axis: 2"),
    "Dropout": Example(changes="dropout_ratio: 0.1", phase="TRAIN"),
    "DummyData": Example("shape { dim: 2 dim: 3 }", ()),
    "ELU": Example(changes="alpha: 0.5"),
    "Eltwise": Example("", ((2, 3), (2, 3)), "operation: PROD; coeff: 1 coeff: -1"),
    "Embed": Example(f"input_dim: 3 {IP}", ((2, 3),), f"num_output: 2; input_dim: 4; bias_term: false; {FILLED}", {"x0": 3}),
    "EuclideanLoss": Example("", ((2, 3), (2, 3))),
    "Exp": Example(changes="base: 2; scale: 2; shift: 1"),
    "Filter": Example("", ((5, 3), (5, 2), (5, 1)), labels={"x2": 2}, tops=("y", "z")),
    "Flatten": Example(changes="axis: 2; end_axis: 2"),
    "HDF5Data": Example("", ()),
    "HDF5Output": Example('file_name: "out.h5"', ((2, 3), (2,)), tops=(), elsewhere="file_name"),  # test_hdf5_output.py
    "HingeLoss": Example("", ((4, 5), (4,)), "norm: L2", {"x1": 5}),
    "Im2col": Example("kernel_size: 2", changes=PLANES.replace("kernel_size: 2", "kernel_size: 3") + "; dilation: 2; axis: 2"),
    "ImageData": Example("", (), tops=("y", "z")),
    "InfogainLoss": Example(
        "", ((4, 5, 5), (4, 5), (5, 5)), "infogain_loss_param.axis: 2; loss_param.ignore_label: 1; loss_param.normalization: NONE",
        {"x1": 5, "x2": 3}, elsewhere="infogain_loss_param.source",  # test_infogain.py
    ),
    "InnerProduct": Example(IP, changes=f"num_output: 2; bias_term: false; axis: 2; transpose: true; {FILLED}"),
    "Input": Example("shape { dim: 2 }", (), "shape { dim: 3 dim: 3 }"),
    "LRN": Example("alpha: 1", changes="local_size: 3; alpha: 2; beta: 0.5; norm_region: WITHIN_CHANNEL; k: 2"),
    "LSTM": Example(REC, ((4, 2, 3), (4, 2)), f"num_output: 2; {FILLED}", {"x1": 2}, elsewhere="expose_hidden"),
    "LSTMUnit": Example("", ((1, 2, 3), (1, 2, 12), (1, 2)), labels={"x2": 2}, tops=("y", "z")),
    "Log": Example("shift: 9", changes="base: 2; scale: 2; shift: 8"),
    "MVN": Example(changes="normalize_variance: false; across_channels: true; eps: 0.5"),
    "MemoryData": Example("batch_size: 2 channels: 1 height: 3 width: 4", (), tops=("y", "z")),
    "MultinomialLogisticLoss": Example("", ((4, 5), (4,)), labels={"x1": 5}),
    "PReLU": Example("filler { value: 0.1 }", changes="filler { value: 0.2 }; channel_shared: true"),
    "Parameter": Example("shape { dim: 2 }", (), "shape { dim: 3 }"),
    "Pooling": Example(POOL, changes=f"{POOL_CHANGES}; round_mode: FLOOR"),
    "Power": Example("shift: 9", changes="power: 2; scale: 2; shift: 1"),
    "RNN": Example(REC, ((4, 2, 3), (4, 2)), f"num_output: 2; {FILLED}", {"x1": 2}, elsewhere="expose_hidden"),
    "ReLU": Example(changes="negative_slope: 0.1"),
    "Reduction": Example(changes="operation: SUMSQ; axis: 1; coeff: 2"),
    "Reshape": Example("shape { dim: 0 dim: -1 }", changes="shape { dim: 0 dim: 0 dim: -1 }; axis: 1; num_axes: 2"),
    "SPP": Example("pyramid_height: 2", changes="pyramid_height: 1; pool: AVE"),
    "Scale": Example(
        SCALE + " bias_term: true", changes="axis: 2; num_axes: 2; filler { type: 'gaussian' std: 2 }; bias_term: false; bias_filler { value: 2 }"
    ),
    "SigmoidCrossEntropyLoss": Example(
        "", ((4, 5), (4, 5)), "ignore_label: 1; normalization: FULL; normalize: true", {"x1": 2}
    ),
    "Silence": Example(tops=()),
    "Slice": Example(changes="axis: 2; slice_dim: 0; slice_point: 1", tops=("y", "z")),
    "Softmax": Example(changes="axis: 2"),
    "SoftmaxWithLoss": Example(
        "", ((4, 5, 5), (4, 5)), f"{IGNORED}; normalize: false; softmax_param.axis: 2", {"x1": 5},
    ),
    "Split": Example(tops=("y", "z")),
    "Swish": Example(changes="beta: 2"),
    "Threshold": Example(changes="threshold: 1"),
    "Tile": Example("tiles: 2", changes="axis: 2; tiles: 3"),
    "WindowData": Example("", (), tops=("y", "z")),
    "depthwise DepthwiseConvolution": Example(  # the other fields hold one value only
        CONV4, changes=CONV_CHANGES, elsewhere="num_output group axis dilation"
    ),
    "fast-rcnn Dropout": Example("scale_train: false", changes="dropout_ratio: 0.2; scale_train: true"),
    "fast-rcnn ROIPooling": Example(
        "pooled_h: 2 pooled_w: 3", ((2, 4, 5, 6), (3, 5)), "pooled_h: 3; pooled_w: 2; spatial_scale: 3", {"x1": 2}
    ),
    "fast-rcnn SmoothL1Loss": Example("", ((3, 4), (3, 4)), "sigma: 3"),
    "happynear Normalize": Example(changes='normalize_type: "L1"; bp_norm: true', tops=("y", "z")),
    "caffe-face CenterLoss": Example(
        "num_output: 3 center_filler { type: 'gaussian' std: 1 }", ((5, 4), (5,)), "num_output: 4; center_filler { value: 2 }", {"x1": 3}
    ),
    "crnn ContinuationIndicator": Example("time_step: 3 batch_size: 2", (), "time_step: 2; batch_size: 3"),
    "crnn CtcLoss": Example(
        "alphabet_size: 4 time_step: 4", ((4, 1, 4), (1, 3)), "time_step: 3; blank_label: 3", {"x1": 3}
    ),
    "crnn LabelsequenceAccuracy": Example("", ((40, 2, 3), (40, 1)), "blank_label: 2", {"x1": 3}),
    "mobilenet ConvolutionDepthwise": Example(CONV4, changes=f"{CONV_CHANGES}; dilation: 2"),
    "mobilenet ReLU6": Example(),
    "pr3057 Pooling": Example(f"{POOL} ceil_mode: true", changes=f"{POOL_CHANGES}; ceil_mode: false", elsewhere="round_mode"),
    "pspnet BN": Example(
        SLOPE, changes="slope_filler { value: 2 }; bias_filler { value: 2 }; momentum: 0.5; eps: 0.5; frozen: true", phase="TRAIN"
    ),
    "pspnet ImageSegData": Example("", (), tops=("y", "z")),
    "pspnet SegAccuracy": Example("", ((2, 3, 4, 5), (2, 1, 4, 5)), "ignore_label: 1", {"x1": 3}, elsewhere="reset"),
    "pspnet Interp": Example(
        "height: 7 width: 8",
        changes="height: 6; width: 7; zoom_factor: 2 -height -width; shrink_factor: 2 -height -width; pad_beg: -1; pad_end: -1",
    ),
    "py-rfcn SmoothL1LossOHEM": Example("", ((3, 4, 2, 1), (3, 4, 2, 1)), OHEM, tops=("y", "z")),
    "py-rfcn SoftmaxWithLossOHEM": Example(
        "", ((4, 5, 5), (4, 5)), f"{IGNORED}; normalize: false; softmax_param.axis: 2", {"x1": 5}, tops=("y", "p", "z")
    ),
    "rfcn BoxAnnotatorOHEM": Example(
        "roi_per_img: 2", ((6, 5), (6,), (6,), (6, 4)), "roi_per_img: 1; ignore_label: -2", {"x0": 2, "x2": 3}, tops=("y", "z")
    ),
    "rfcn PSROIPooling": Example(  # other numbers of channels change the bottom
        "spatial_scale: 1 output_dim: 2 group_size: 2", ((2, 8, 5, 6), (3, 5)), "spatial_scale: 3", {"x1": 2},
        elsewhere="output_dim group_size",
    ),
    "rfcn SmoothL1Loss": Example("", ((3, 4, 2, 1), (3, 4, 2, 1)), OHEM, tops=("y", "z")),
    "rfcn SoftmaxWithLoss": Example(
        "", ((4, 5, 5), (4, 5)), f"{IGNORED}; normalize: false; softmax_param.axis: 2", {"x1": 5}, tops=("y", "p", "z")
    ),
    "rtpose ImResize": Example(
        "target_spatial_width: 5 target_spatial_height: 6", ((2, 3, 6, 7),),
        "target_spatial_width: 4; target_spatial_height: 5; factor: 2; start_scale: 0.5; scale_gap: 0.5",
    ),
    "rtpose Nms": Example("num_parts: 2", ((1, 3, 9, 9),), "threshold: 1.5; max_peaks: 1; num_parts: 3"),
    "segnet BN": Example(
        f"bn_mode: LEARN {SHIFT}", changes="scale_filler { value: 2 }; shift_filler { value: 2 }; bn_mode: INFERENCE"
    ),
    "segnet DenseImageData": Example("", (), tops=("y", "z")),
    "segnet Dropout": Example("sample_weights_test: true", changes="dropout_ratio: 0.2; sample_weights_test: false"),
    "segnet SoftmaxWithLoss": Example(
        WEIGHTED, ((4, 3, 2), (4, 2)), f"{IGNORED}; normalize: false; weight_by_label_freqs: false; class_weighting: 4",
        {"x1": 3}, elsewhere="softmax_param.axis",  # no other is possible, with a label for each place
    ),
    "segnet Upsample": Example(
        "scale: 2", ((2, 4, 3, 3), (2, 4, 3, 3)),
        "scale: 3; scale_h: 3 scale_w: 2 -scale; scale_w: 3 scale_h: 2 -scale; pad_out_h: true; pad_out_w: true; "
        "upsample_h: 7 upsample_w: 6 -scale; upsample_w: 7 upsample_h: 6 -scale", {"x1": 20},
    ),
    "senet Axpy": Example("", ((2, 4), (2, 4, 3), (2, 4, 3))),
    "shufflenet ShuffleChannel": Example("group: 2", ((2, 6, 2, 2),), "group: 3"),
    "sphereface MarginInnerProduct": Example(
        f"type: DOUBLE {IP}", ((4, 5), (4,)),
        "num_output: 2; type: TRIPLE; weight_filler { type: 'constant' value: 1 }; base: 2; gamma: 1; power: 2 gamma: 1; "
        "iteration: 3 gamma: 1; lambda_min: 2", {"x1": 2}, tops=("y", "l"),
    ),
    "ssd AnnotatedData": Example("", (), tops=("y", "z")),
    "ssd DetectionEvaluate": Example(  # the list of sizes: test_detection_evaluate.py
        "num_classes: 4", ((1, 1, 6, 7), (1, 1, 5, 8)), "num_classes: 5; background_label_id: 1; overlap_threshold: 0.01; evaluate_difficult_gt: false",
        elsewhere="name_size_file resize_param",
    ),
    "ssd DetectionOutput": Example(  # what is read elsewhere changes the sizes of the bottoms: test_forks.py
        "num_classes: 3 code_type: CENTER_SIZE", ((2, 40), (2, 30), (1, 2, 40)), DETECTIONS, elsewhere="num_classes share_location"
    ),
    "ssd MultiBoxLoss": Example(  # what is read elsewhere changes the sizes of the bottoms, or other fields with it: test_multibox.py
        "num_classes: 3 overlap_threshold: 0.1", ((2, 40), (2, 30), (1, 2, 40), (1, 1, 4, 8)), BOXES, {"x2": 2, "x3": 2}, phase="TRAIN",
        elsewhere="num_classes share_location background_label_id map_object_to_agnostic use_prior_for_nms loss_param.normalization loss_param.normalize",
    ),
    "ssd Normalize": Example(changes="across_spatial: false; scale_filler { value: 20 }; channel_shared: false; eps: 0.5"),
    "ssd SmoothL1Loss": Example("", ((3, 4), (3, 4))),
    "ssd Permute": Example("order: 0 order: 2", changes="order: 1 -order"),
    "ssd PriorBox": Example("min_size: 7 max_size: 9 aspect_ratio: 2", ((2, 4, 2, 2), (2, 3, 10, 20)), PRIORS),
    "ssd VideoData": Example("", (), tops=("y", "z")),
    "yolov3 Upsample": Example("scale: 2", changes="scale: 3"),
}  # fmt: skip
"""A type with one bottom, one top and no field to read needs no example of its own."""


def first_message(name: str) -> str:
    return next(iter(LAYERS[name].accounts), "")


def example_text(name: str, text: str | None = None, message: str = "") -> str:
    """The net of an example, with `text` in a message of the layer."""
    example, message = EXAMPLES[name], message or first_message(name)
    body = f"{message} {{ {example.text if text is None else text} }}" if message else ""
    return single(LAYERS[name].type, example.inputs, body, example.tops)


def example_net(name: str, text: str | None = None, message: str = "", phase: str = "") -> CaffeNet:
    example, layer = EXAMPLES[name], LAYERS[name]
    shapes = dict.fromkeys(example.tops, (2, 3)) if layer.is_data and not example.text else None
    text = example_text(name, text, message)
    fork = layer.forks[0] if layer.forks else None
    return build_net(text, seed=3, phase=phase or example.phase, input_shapes=shapes, fork=fork)


def example_inputs(net: CaffeNet, name: str) -> dict[str, torch.Tensor]:
    rng, shapes = torch.Generator().manual_seed(5), net.caffe.shapes
    inputs = {blob: torch.randn(shapes[blob], generator=rng) for blob in net.inputs}
    for blob, classes in EXAMPLES[name].labels.items():
        inputs[blob] = torch.randint(0, classes, shapes[blob], generator=rng).float()
    if name in ("ssd DetectionOutput", "ssd MultiBoxLoss"):  # prior boxes: corners in order, variances
        low = torch.rand(10, 2, generator=rng) * 0.5
        inputs["x2"][0, 0] = torch.cat([low, low + 0.1 + torch.rand(10, 2, generator=rng) * 0.3], 1).flatten()
        inputs["x2"][0, 1] = 0.2
    if (
        name == "ssd DetectionEvaluate"
    ):  # objects of two images, the last one difficult; detections near them, one elsewhere
        boxes = torch.rand(5, 2, generator=rng).repeat(1, 2) * 0.4 + torch.tensor([0, 0, 0.3, 0.3])
        labels = torch.tensor([[0.0, 2], [0, 3], [1, 2], [1, 3], [1, 3]])
        inputs["x1"][0, 0] = torch.cat([labels, torch.zeros(5, 1), boxes, torch.eye(5)[4:].T], 1)
        near = torch.cat([labels, torch.rand(5, 1, generator=rng), boxes + torch.tensor([0, 0, 0.05, 0.1])], 1)
        inputs["x0"][0, 0] = torch.cat([near, torch.tensor([[0, 2, 0.5, 0.3, 0.3, 0.9, 0.9]])])
    if (
        name == "ssd MultiBoxLoss"
    ):  # objects near the first priors, the last one difficult; the first prior across the border
        inputs["x2"][0, 0, :2] = -0.1
        boxes = inputs["x2"][0, 0, :16].view(4, 4) + 0.02
        inputs["x3"][0, 0] = torch.cat(
            [torch.tensor([[0, 1, 0], [0, 2, 0], [1, 1, 0], [1, 2, 0]]), boxes, torch.eye(4)[3:].T], 1
        )
    return inputs
