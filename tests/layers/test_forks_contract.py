"""What every layer type of a fork must keep: its account, its shapes, its blobs, its gradient, and that what it reads matters."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from caffe_compat.build.net import CaffeNet, build_net
from caffe_compat.build.weights import caffe_blobs, copy_weights
from caffe_compat.definition.forks import FORKS
from caffe_compat.errors import DataError
from caffe_compat.formats.text import parse_text
from caffe_compat.layers import FORK_REGISTRY, Account, Layer, register
from caffe_compat.layers.base import account_fields, schema_of
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import single
from tests.layers.test_contract import CONV_CHANGES, _same
from tests.nets import build_graph
from tests.refusals import refused

LAYERS = {f"{layer.forks[0]} {layer.type}": layer for name in sorted(FORK_REGISTRY) for layer in FORK_REGISTRY[name]}
FILLED = "slope_filler { type: 'gaussian' std: 1 } bias_filler { type: 'gaussian' std: 1 }"
POOL = "kernel_size: 2 stride: 2"
CONV4 = "num_output: 4 group: 4 kernel_size: 3 weight_filler { type: 'gaussian' std: 1 }"
ROI = "pooled_h: 2 pooled_w: 3"
DETECT = "num_classes: 3 code_type: CENTER_SIZE"
WEIGHTS = "class_weighting: 1 class_weighting: 2 class_weighting: 3"


@dataclass(frozen=True)
class Example:
    """A layer that works, and for each field it reads a change that must show."""

    text: str = ""
    inputs: tuple[tuple[int, ...], ...] = ((2, 4, 5, 6),)
    changes: dict[str, str] = field(default_factory=dict)
    phase: str = "TEST"
    tops: tuple[str, ...] = ("y",)
    classes: dict[str, int] = field(default_factory=dict)
    gradient: bool = True


def conv(text: str) -> str:
    """A change of test_contract's convolution, depthwise."""
    return text.replace("num_output: 4", "num_output: 4 group: 4") if "group" not in text else text


EXAMPLES = {
    "depthwise DepthwiseConvolution": Example(CONV4, changes={
        # three fields hold one value only, which is refused otherwise
        **{f: conv(t) for f, t in CONV_CHANGES.items() if f not in ("num_output", "group", "axis", "dilation")},
    }),
    "fast-rcnn Dropout": Example("scale_train: false", changes={
        "dropout_ratio": "scale_train: false dropout_ratio: 0.2", "scale_train": "scale_train: true",
    }),
    "fast-rcnn ROIPooling": Example(
        ROI, ((2, 4, 5, 6), (3, 5)), {"pooled_h": "pooled_h: 3 pooled_w: 3", "pooled_w": "pooled_h: 2 pooled_w: 2",
        "spatial_scale": ROI + " spatial_scale: 3"}, classes={"x1": 2},
    ),
    "fast-rcnn SmoothL1Loss": Example("", ((3, 4), (3, 4)), {"sigma": "sigma: 3"}),
    "happynear Normalize": Example(
        "", changes={"normalize_type": 'normalize_type: "L1"', "bp_norm": "bp_norm: true"}, tops=("y", "z"),
    ),
    "mobilenet ConvolutionDepthwise": Example(
        CONV4, changes={f: conv(t) for f, t in CONV_CHANGES.items() if f not in ("num_output", "group", "axis")},
    ),
    "mobilenet ReLU6": Example(),
    "pr3057 Pooling": Example(POOL + " ceil_mode: true", ((2, 4, 5, 7),), {
        "pool": POOL + " ceil_mode: true pool: AVE", "pad": POOL + " ceil_mode: true pad: 1",
        "pad_h": POOL + " ceil_mode: true pad_h: 1 pad_w: 0", "pad_w": POOL + " ceil_mode: true pad_h: 0 pad_w: 1",
        "kernel_size": "kernel_size: 3 stride: 2 ceil_mode: true", "kernel_h": "kernel_h: 3 kernel_w: 2 stride: 2 ceil_mode: true",
        "kernel_w": "kernel_h: 2 kernel_w: 3 stride: 2 ceil_mode: true", "stride": "kernel_size: 2 ceil_mode: true",
        "stride_h": "kernel_size: 2 stride_h: 1 stride_w: 2 ceil_mode: true",
        "stride_w": "kernel_size: 2 stride_h: 2 stride_w: 1 ceil_mode: true",
        "global_pooling": "global_pooling: true ceil_mode: true", "ceil_mode": POOL + " ceil_mode: false",
    }),
    "pspnet BN": Example(FILLED, changes={
        "slope_filler": FILLED.replace("1 }", "2 }", 1), "bias_filler": FILLED[:-3] + "2 }",
        "momentum": FILLED + " momentum: 0.5", "eps": FILLED + " eps: 0.5", "frozen": FILLED + " frozen: true",
    }, phase="TRAIN"),
    "pspnet Interp": Example("height: 7 width: 8", changes={
        "height": "height: 6 width: 8", "width": "height: 7 width: 7", "zoom_factor": "zoom_factor: 2",
        "shrink_factor": "shrink_factor: 2", "pad_beg": "height: 7 width: 8 pad_beg: -1",
        "pad_end": "height: 7 width: 8 pad_end: -1",
    }),
    "segnet BN": Example("bn_mode: LEARN " + FILLED.replace("slope", "scale").replace("bias", "shift"), changes={
        "scale_filler": "bn_mode: LEARN", "shift_filler": "bn_mode: LEARN scale_filler { type: 'gaussian' std: 1 }",
        "bn_mode": "bn_mode: INFERENCE " + FILLED.replace("slope", "scale").replace("bias", "shift"),
    }),
    "segnet Dropout": Example("sample_weights_test: true", changes={
        "dropout_ratio": "sample_weights_test: true dropout_ratio: 0.2", "sample_weights_test": "sample_weights_test: false",
    }, gradient=False),
    "segnet SoftmaxWithLoss": Example(
        "weight_by_label_freqs: true " + WEIGHTS, ((4, 3, 2), (4, 2)), {
            "ignore_label": "ignore_label: 1 weight_by_label_freqs: true " + WEIGHTS,
            "normalization": "normalization: NONE weight_by_label_freqs: true " + WEIGHTS,
            "normalize": "normalize: false weight_by_label_freqs: true " + WEIGHTS,
            "weight_by_label_freqs": WEIGHTS, "class_weighting": "weight_by_label_freqs: true " + WEIGHTS.replace("3", "4"),
            "softmax_param.axis": "axis: -2",  # the same axis: another cannot be, with a label for each place
        }, classes={"x1": 3},
    ),
    "segnet Upsample": Example("scale: 2", ((2, 4, 3, 3), (2, 4, 3, 3)), {
        "scale": "scale: 3", "scale_h": "scale_h: 3 scale_w: 2", "scale_w": "scale_h: 2 scale_w: 3",
        "pad_out_h": "scale: 2 pad_out_h: true", "pad_out_w": "scale: 2 pad_out_w: true",
        "upsample_h": "upsample_h: 7 upsample_w: 6", "upsample_w": "upsample_h: 6 upsample_w: 7",
    }, classes={"x1": 20}),
    "senet Axpy": Example("", ((2, 4), (2, 4, 3), (2, 4, 3))),
    "shufflenet ShuffleChannel": Example("group: 2", ((2, 6, 2, 2),), {"group": "group: 3"}),
    "ssd DetectionOutput": Example(DETECT, ((2, 40), (2, 30), (1, 2, 40)), {
        "num_classes": None, "share_location": None,  # they change the sizes of the bottoms: test_forks.py shows them
        "background_label_id": DETECT + " background_label_id: 1", "nms_param": DETECT + " nms_param { nms_threshold: 0.01 }",
        "code_type": "num_classes: 3 code_type: CORNER", "variance_encoded_in_target": DETECT + " variance_encoded_in_target: true",
        "keep_top_k": DETECT + " keep_top_k: 3", "confidence_threshold": DETECT + " confidence_threshold: 0.5",
    }, gradient=False),
    "ssd Normalize": Example(changes={
        "across_spatial": "across_spatial: false", "scale_filler": "scale_filler { value: 20 }",
        "channel_shared": "channel_shared: false", "eps": "eps: 0.5",
    }),
    "ssd Permute": Example("order: 0 order: 2", changes={"order": "order: 1"}),
    "ssd PriorBox": Example("min_size: 7 max_size: 9 aspect_ratio: 2", ((2, 4, 2, 2), (2, 3, 10, 20)), {
        "min_size": "min_size: 6 max_size: 9 aspect_ratio: 2", "max_size": "min_size: 7 aspect_ratio: 2",
        "aspect_ratio": "min_size: 7 max_size: 9 aspect_ratio: 3",
        **{f.split(":")[0]: "min_size: 7 max_size: 9 aspect_ratio: 2 " + f for f in (
            "flip: false", "clip: true", "variance: 0.2", "img_size: 30", "img_h: 30 img_w: 20", "step: 3", "offset: 0.3",
        )},
        "img_w": "min_size: 7 max_size: 9 aspect_ratio: 2 img_h: 10 img_w: 30",
        "step_h": "min_size: 7 max_size: 9 aspect_ratio: 2 step_h: 3 step_w: 10",
        "step_w": "min_size: 7 max_size: 9 aspect_ratio: 2 step_h: 5 step_w: 7",
    }, gradient=False),
    "yolov3 Upsample": Example("scale: 2", changes={"scale": "scale: 3"}),
}  # fmt: skip
UNCHANGED = {"segnet SoftmaxWithLoss": {"softmax_param.axis"}}


def _net(name: str, text: str, message: str = "") -> CaffeNet:
    example, layer = EXAMPLES[name], LAYERS[name]
    message = message or next(iter(layer.accounts), "")
    body = f"{message} {{ {text} }}" if message else ""
    net = parse_text(single(layer.type, example.inputs, body, example.tops), pb.NetParameter)
    return build_net(build_graph(net, phase=example.phase, fork=layer.forks[0]), seed=3)


def _inputs(net: CaffeNet, example: Example) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(5)
    shapes = net.caffe.shapes
    given = {blob: torch.randn(shapes[blob], generator=rng) for blob in net.inputs}
    for blob, count in example.classes.items():
        given[blob] = torch.randint(0, count, given[blob].shape, generator=rng).float()
    if example.inputs[-1] == (1, 2, 40):  # prior boxes: corners in order, variances
        low = torch.rand(10, 2, generator=rng) * 0.5
        given["x2"][0, 0] = torch.cat([low, low + 0.1 + torch.rand(10, 2, generator=rng) * 0.3], 1).flatten()
        given["x2"][0, 1] = 0.2
    return given


def _run(net: CaffeNet, example: Example) -> list[torch.Tensor]:
    torch.manual_seed(7)
    before = [b.clone() for blobs in caffe_blobs(net).values() for b in blobs]
    inputs = {blob: value.requires_grad_(example.gradient) for blob, value in _inputs(net, example).items()}
    outputs = [net.every_blob(inputs) for _ in range(2)]
    # bp_norm and the like are seen in the gradient only
    summed = sum((v.square().sum() for v in outputs[1].values() if v.requires_grad), torch.zeros(()))
    if summed.requires_grad:
        summed.backward()
    grads = [torch.zeros(()) if v.grad is None else v.grad for v in inputs.values()]
    values = [v.detach() for output in outputs for v in output.values()]
    return [*before, *values, *grads, *(b for blobs in caffe_blobs(net).values() for b in blobs)]


def _read(name: str) -> set[str]:
    first = next(iter(LAYERS[name].accounts), "")
    accounts = LAYERS[name].accounts.items()
    return {f if message == first else f"{message}.{f}" for message, account in accounts for f in account.read}


def test_every_type_has_an_example() -> None:
    assert set(EXAMPLES) == set(LAYERS)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_field_that_is_read_has_a_change(name: str) -> None:
    missing = {"num_output", "group", "axis", "dilation"} if name == "depthwise DepthwiseConvolution" else set()
    assert _read(name) - missing - {"round_mode"} == set(EXAMPLES[name].changes)


@pytest.mark.parametrize(
    ("name", "fld"), [(n, f) for n, e in sorted(EXAMPLES.items()) for f, t in e.changes.items() if t]
)
def test_changing_a_field_that_is_read_changes_a_result(name: str, fld: str) -> None:
    example = EXAMPLES[name]
    first, again = (_run(_net(name, example.text), example) for _ in range(2))
    assert _same(first, again), "the example itself is not repeatable"
    message, text = fld.rpartition(".")[0], example.changes[fld]
    if fld in UNCHANGED.get(name, ()):
        _net(name, text, message)
        return
    assert not _same(first, _run(_net(name, text, message), example))


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_the_declared_shapes_are_the_computed_ones(name: str) -> None:
    example = EXAMPLES[name]
    for fld, text in {"": example.text, **example.changes}.items():
        if text is None:
            continue
        net = _net(name, text, fld.rpartition(".")[0])
        try:
            values = net.every_blob(_inputs(net, example))
        except DataError:
            assert fld, "the example itself computes"
            continue  # a mask made for another size
        assert values
        for blob, value in values.items():
            shape = tuple(value.shape)
            if name == "ssd DetectionOutput" and blob == "y":
                shape = (*shape[:2], 1, shape[3])  # rows are as many as are found; Caffe too declares one
            assert shape == net.caffe.shapes[blob], f"{name} {fld}: {blob}"


@pytest.mark.parametrize("name", sorted(n for n, layer in LAYERS.items() if type(layer).blobs is not Layer.blobs))
def test_blobs_make_the_round_trip_bit_for_bit(name: str) -> None:
    net = _net(name, EXAMPLES[name].text)
    rng = np.random.default_rng(0)
    blobs = [rng.standard_normal(slot.blob.shape).astype("f4") for slot in net.caffe.slots]
    copy_weights(net, {"l": blobs})
    assert all(a.tobytes() == b.numpy().tobytes() for a, b in zip(blobs, caffe_blobs(net)["l"], strict=True))


@pytest.mark.parametrize("name", sorted(n for n, e in EXAMPLES.items() if e.gradient))
def test_the_gradient_is_that_of_the_values(name: str) -> None:
    example = EXAMPLES[name]
    text = example.text + (" bp_norm: true" if name == "happynear Normalize" else "")
    net = _net(name, text).double()
    given = {blob: value.double() for blob, value in _inputs(net, example).items()}
    if name == "segnet Upsample":  # distinct places: where two values meet, the fork's gradient is not the true one
        given["x1"] = torch.arange(9.0).view(3, 3).expand_as(given["x1"]).double()
    free = [blob for blob in net.inputs if blob not in example.classes]
    parameters = [p for p in net.parameters() if p.requires_grad]

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = net.forward_dict(given | dict(zip(free, tensors, strict=False)))
        return tuple(value for value in outputs.values() if value.requires_grad)

    inputs = tuple(given[blob].clone().requires_grad_() for blob in free)
    assert torch.autograd.gradcheck(run, (*inputs, *parameters), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_accounts_name_every_field_of_every_fork_that_has_the_type(name: str) -> None:
    layer = LAYERS[name]
    assert layer.forks
    for fork in layer.forks:
        for message, account in layer.accounts.items():
            assert {f.name for f in account_fields(message, schema_of(layer, fork))} == set(account.fields())


def test_a_type_that_leaves_out_a_field_of_its_fork_is_refused() -> None:
    class Forgetful(Layer):
        type = "Forgetful"
        forks = ("ssd",)
        accounts = {"norm_param": Account(read=("eps",))}

    with pytest.raises(ValueError, match="not accounted for: across_spatial, channel_shared, scale_filler"):
        register(Forgetful)


def test_a_type_that_the_fork_has_already_or_of_no_fork_is_refused() -> None:
    class Again(Layer):
        type = "Normalize"
        forks = ("ssd",)

    class Nowhere(Layer):
        type = "Nowhere"
        forks = ("nobody",)

    with pytest.raises(ValueError, match="Normalize is registered already"):
        register(Again)
    with pytest.raises(ValueError, match="no such fork: nobody"):
        register(Nowhere)


def test_every_fork_known_has_a_layer_type_here() -> None:
    assert {fork for layers in FORK_REGISTRY.values() for layer in layers for fork in layer.forks} == set(FORKS)


@pytest.mark.parametrize(
    ("text", "shapes", "code", "field"),
    [
        ('type: "Normalize" norm_param { }', [(4,)], "shape-mismatch", "bottom"),
        ('type: "Normalize" normalize_param { normalize_type: "L3" }', [(2, 3)], "name-unknown", "normalize_param.normalize_type"),
        ('type: "Permute" permute_param { order: 1 order: 1 }', [(2, 3)], "out-of-range", "permute_param.order"),
        ('type: "Permute" permute_param { order: 2 }', [(2, 3)], "out-of-range", "permute_param.order"),
        ('type: "PriorBox" prior_box_param { }', [(1, 1, 2, 2)] * 2, "out-of-range", "prior_box_param.min_size"),
        ('type: "PriorBox" prior_box_param { min_size: inf }', [(1, 1, 2, 2)] * 2, "out-of-range", "prior_box_param.min_size"),
        ('type: "PriorBox" prior_box_param { min_size: 1 max_size: nan }', [(1, 1, 2, 2)] * 2, "out-of-range", "prior_box_param.max_size"),
        ('type: "PriorBox" prior_box_param { min_size: 4 max_size: 3 }', [(1, 1, 2, 2)] * 2, "out-of-range", "prior_box_param.max_size"),
        ('type: "PriorBox" prior_box_param { min_size: 4 variance: 1 variance: 1 }', [(1, 1, 2, 2)] * 2, "out-of-range", "prior_box_param.variance"),
        ('type: "PriorBox" prior_box_param { min_size: 4 step: 2 step_h: 1 step_w: 2 }', [(1, 1, 2, 2)] * 2, "conflict", "prior_box_param.step"),
        ('type: "PriorBox" prior_box_param { min_size: 4 img_h: 2 }', [(1, 1, 2, 2)] * 2, "conflict", "prior_box_param.img_h"),
        ('type: "PriorBox" prior_box_param { min_size: 4 step: 0 }', [(1, 1, 2, 2)] * 2, "out-of-range", "prior_box_param.step"),
        ('type: "DetectionOutput" detection_output_param { num_classes: 2 visualize: true }', [(1, 8), (1, 4), (1, 2, 8)], "unsupported", "detection_output_param.visualize"),
        ('type: "DetectionOutput" detection_output_param { num_classes: 2 save_output_param { output_directory: "x" } }', [(1, 8), (1, 4), (1, 2, 8)], "unsupported", "detection_output_param.save_output_param.output_directory"),
        ('type: "DetectionOutput" detection_output_param { num_classes: 2 }', [(1, 8), (1, 6), (1, 2, 8)], "shape-mismatch", "bottom"),
        ('type: "DetectionOutput" detection_output_param { num_classes: 2 nms_param { eta: 2 } }', [(1, 8), (1, 4), (1, 2, 8)], "out-of-range", "detection_output_param.nms_param.eta"),
        ('type: "ROIPooling" roi_pooling_param { pooled_h: 2 }', [(1, 1, 2, 2), (1, 5)], "out-of-range", "roi_pooling_param.pooled_w"),
        ('type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 }', [(1, 1, 2, 2), (1, 4)], "shape-mismatch", "bottom"),
        ('type: "SmoothL1Loss"', [(2, 3)] * 3, "wrong-count", "bottom"),
        ('type: "Upsample" upsample_param { scale_h: 2 }', [(1, 1, 2, 2)] * 2, "field-missing", "upsample_param.scale_h"),
        ('type: "Upsample" upsample_param { scale: 3 pad_out_h: true }', [(1, 1, 2, 2)] * 2, "conflict", "upsample_param.pad_out_h"),
        ('type: "Upsample" upsample_param { scale: 1 }', [(1, 1, 2, 2)] * 2, "out-of-range", "upsample_param.scale"),
        ('type: "BN" bn_param { bn_mode: INFERENCE } top: "z"', [(1, 1, 2, 2)], "conflict", "top"),
        ('type: "Interp" interp_param { }', [(1, 1, 2, 2)], "field-missing", "interp_param"),
        ('type: "Interp" interp_param { zoom_factor: 2 pad_beg: 1 }', [(1, 1, 2, 2)], "out-of-range", "interp_param.pad_beg"),
        ('type: "Interp" interp_param { zoom_factor: 2 pad_beg: -2 }', [(1, 1, 2, 2)], "out-of-range", "interp_param.pad_beg"),
        ('type: "Axpy"', [(1, 2), (1, 3, 2), (1, 3, 2)], "shape-mismatch", "bottom"),
        ('type: "DepthwiseConvolution" convolution_param { num_output: 4 kernel_size: 1 }', [(1, 4, 2, 2)], "unsupported", "convolution_param.group"),
        ('type: "DepthwiseConvolution" convolution_param { num_output: 4 group: 4 kernel_size: 1 dilation: 2 }', [(1, 4, 2, 2)], "unsupported", "convolution_param.dilation"),
        ('type: "ConvolutionDepthwise" convolution_param { num_output: 8 kernel_size: 1 }', [(1, 4, 2, 2)], "unsupported", "convolution_param.num_output"),
        ('type: "ReLU6" relu6_param { negative_slope: 0.1 }', [(1, 4)], "unsupported", "relu6_param.negative_slope"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', [(1, 4, 2, 2)], "shape-mismatch", "shuffle_channel_param.group"),
        ('type: "Upsample" upsample_param { scale: 0 }', [(1, 4, 2, 2)], "out-of-range", "upsample_param.scale"),
        ('type: "Pooling" pooling_param { kernel_size: 2 round_mode: CEIL ceil_mode: true }', [(1, 4, 2, 2)], "conflict", "pooling_param.round_mode"),
        ('type: "SoftmaxWithLoss" loss_param { weight_by_label_freqs: true class_weighting: 1 }', [(2, 3), (2,)], "wrong-count", "loss_param.class_weighting"),
    ],
)  # fmt: skip
def test_what_a_layer_cannot_do_is_refused_by_name(text, shapes, code, field) -> None:
    body = text.partition('" ')[2]
    net = single(text.split('"')[1], shapes, body)
    with refused(code, field=field, file="net.prototxt", line=len(shapes) + 1, layer="l"):
        build_net(build_graph(parse_text(net, pb.NetParameter, file="net.prototxt")))
