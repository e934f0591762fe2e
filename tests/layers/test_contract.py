"""What every registered layer type must keep: its account, its shapes, its blobs, and that what it reads matters."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from caffe_compat.build.net import CaffeNet, build_net
from caffe_compat.build.weights import caffe_blobs, copy_weights
from caffe_compat.data import DATA_LAYER_TYPES
from caffe_compat.formats.text import parse_text
from caffe_compat.layers import REGISTRY, Account, Layer, exactly, register
from caffe_compat.layers.base import parameter_descriptor
from caffe_compat.schema import caffe_pb2 as pb
from tests.nets import build_graph
from tests.refusals import refused


@dataclass(frozen=True)
class Example:
    """A layer that works, and for each field it reads a change that must show."""

    text: str
    inputs: tuple[str, ...] = ("2 4 6 7",)
    changes: dict[str, str] = field(default_factory=dict)
    phase: str = "TEST"
    classes: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    """Inputs that hold class numbers, beside x1 where `classes` is given, and how many classes there are."""
    tops: tuple[str, ...] = ("y",)
    fill: float = 0
    """What the inputs hold where only shapes are asked for."""


def _param(name: str, changes: dict[str, str]) -> dict[str, str]:
    return {f"{name}.{fld}": text for fld, text in changes.items()}


CONV = (
    "num_output: 4 kernel_size: 3 weight_filler { type: 'gaussian' std: 1 } bias_filler { type: 'constant' value: 1 }"
)

CONV_W = "num_output: 4 weight_filler { type: 'gaussian' std: 1 }"
IP = "num_output: 3 weight_filler { type: 'gaussian' std: 1 }"
SCALE = "filler { type: 'gaussian' std: 1 }"

CONV_CHANGES = {
            "num_output": CONV.replace("4", "6", 1), "bias_term": CONV + " bias_term: false", "pad": CONV + " pad: 1",
            "kernel_size": CONV.replace("3", "2", 1), "group": CONV + " group: 2", "stride": CONV + " stride: 2",
            "dilation": CONV + " dilation: 2", "pad_h": CONV + " pad_h: 1", "pad_w": CONV + " pad_w: 1",
            "kernel_h": CONV_W + " kernel_h: 2 kernel_w: 2", "kernel_w": CONV_W + " kernel_h: 1 kernel_w: 3",
            "stride_h": CONV + " stride_h: 2 stride_w: 1", "stride_w": CONV + " stride_h: 1 stride_w: 2",
            "weight_filler": CONV.replace("std: 1", "std: 2"), "bias_filler": CONV.replace("value: 1", "value: 2"),
            "axis": CONV + " axis: 2",
        }  # fmt: skip
REC = "num_output: 3 weight_filler { type: 'gaussian' std: 1 } bias_filler { type: 'gaussian' std: 1 }"
RECURRENT = _param("recurrent_param", {
    "num_output": REC.replace("3", "2", 1), "weight_filler": REC.replace("std: 1", "std: 2", 1),
    "bias_filler": REC.replace("1 }", "2 }").replace("2 }", "1 }", 1),
})  # fmt: skip

EXAMPLES: dict[str, Example] = {
    "Clip": Example("min: -1 max: 1", changes=_param("clip_param", {"min": "min: -2 max: 1", "max": "min: -1 max: 2"})),
    "ELU": Example("", changes={"elu_param.alpha": "alpha: 0.5"}),
    "Exp": Example("", changes=_param("exp_param", {"base": "base: 2", "scale": "scale: 2", "shift": "shift: 1"})),
    "Log": Example(
        "shift: 9", changes=_param("log_param", {"base": "base: 2 shift: 9", "scale": "scale: 2 shift: 9", "shift": "shift: 8"})
    ),
    "Power": Example(
        "shift: 9", changes=_param("power_param", {"power": "shift: 9 power: 2", "scale": "shift: 9 scale: 2", "shift": "shift: 1"})
    ),
    "PReLU": Example(
        "filler { value: 0.1 }", changes=_param("prelu_param", {"filler": "", "channel_shared": "filler { value: 0.1 } channel_shared: true"})
    ),
    "Swish": Example("", changes={"swish_param.beta": "beta: 2"}),
    "Threshold": Example("", changes={"threshold_param.threshold": "threshold: 1"}),
    "ArgMax": Example("", changes=_param("argmax_param", {"out_max_val": "out_max_val: true", "top_k": "top_k: 2", "axis": "axis: 1"})),
    "BatchReindex": Example("", ("3 4", "5"), labels={"x1": 3}),
    "Bias": Example(SCALE, changes=_param("bias_param", {"axis": SCALE + " axis: 2", "num_axes": SCALE + " num_axes: 2", "filler": SCALE.replace("1", "2")})),
    "Crop": Example("", ("2 4 6 7", "2 3 4 5"), _param("crop_param", {"axis": "axis: 1", "offset": "offset: 1"})),
    "Embed": Example(
        "input_dim: 3 " + IP, ("2 3",), _param("embed_param", {
            "num_output": "input_dim: 3 " + IP.replace("3", "2", 1), "input_dim": "input_dim: 4 " + IP,
            "bias_term": "input_dim: 3 bias_term: false " + IP, "weight_filler": "input_dim: 3 " + IP.replace("std: 1", "std: 2"),
            "bias_filler": "input_dim: 3 bias_filler { value: 2 } " + IP,
        }), labels={"x0": 3},
    ),
    "Filter": Example("", ("5 3", "5 2", "5 1"), labels={"x2": 2}, tops=("y", "z"), fill=1),
    "Flatten": Example("", changes=_param("flatten_param", {"axis": "axis: 2", "end_axis": "end_axis: 2"})),
    "MVN": Example("", changes=_param("mvn_param", {"normalize_variance": "normalize_variance: false", "across_channels": "across_channels: true", "eps": "eps: 0.5"})),
    "Parameter": Example("shape { dim: 2 }", (), {"parameter_param.shape": "shape { dim: 3 }"}),
    "Reduction": Example("", changes=_param("reduction_param", {"operation": "operation: SUMSQ", "axis": "axis: 1", "coeff": "coeff: 2"})),
    "Reshape": Example(
        "shape { dim: 0 dim: -1 }", changes=_param("reshape_param", {"shape": "shape { dim: 0 dim: 0 dim: -1 }",
        "axis": "shape { dim: 0 dim: -1 } axis: 1", "num_axes": "shape { dim: 0 dim: -1 } num_axes: 2"}),
    ),
    "Slice": Example("", changes=_param("slice_param", {"axis": "axis: 2", "slice_dim": "slice_dim: 0", "slice_point": "slice_point: 1"}), tops=("y", "z")),
    "Tile": Example("tiles: 2", changes=_param("tile_param", {"axis": "tiles: 2 axis: 2", "tiles": "tiles: 3"})),
    "ContrastiveLoss": Example(
        "margin: 4", ("5 3", "5 3", "5 1"), _param("contrastive_loss_param", {"margin": "margin: 5", "legacy_version": "margin: 4 legacy_version: true"}),
        labels={"x2": 2},
    ),
    "HingeLoss": Example("", ("4 5", "4"), {"hinge_loss_param.norm": "norm: L2"}, classes=5),
    "InfogainLoss": Example(
        "", ("4 5 5", "4 5", "5 5"), {
            "infogain_loss_param.axis": "axis: 2", "loss_param.ignore_label": "ignore_label: 1",
            "loss_param.normalization": "normalization: NONE",
        }, classes=5, labels={"x2": 3},
    ),
    "LSTM": Example(REC, ("4 2 3", "4 2"), RECURRENT, labels={"x1": 2}),
    "LSTMUnit": Example("", ("1 2 3", "1 2 12", "1 2"), labels={"x2": 2}, tops=("y", "z")),
    "MultinomialLogisticLoss": Example("", ("4 5", "4"), classes=5),
    "RNN": Example(REC, ("4 2 3", "4 2"), RECURRENT, labels={"x1": 2}),
    "SigmoidCrossEntropyLoss": Example(
        "", ("4 5", "4 5"), _param("loss_param", {"ignore_label": "ignore_label: 1", "normalization": "normalization: FULL", "normalize": "normalize: true"}),
        classes=2,
    ),
    "Deconvolution": Example(
        CONV, changes=_param("convolution_param", CONV_CHANGES | {"axis": CONV + " axis: 2"}),
    ),
    "Im2col": Example(
        "kernel_size: 2", changes=_param("convolution_param", {
            "pad": "kernel_size: 2 pad: 1", "kernel_size": "kernel_size: 3", "stride": "kernel_size: 2 stride: 2",
            "dilation": "kernel_size: 2 dilation: 2", "axis": "kernel_size: 2 axis: 2", "pad_h": "kernel_size: 2 pad_h: 1",
            "pad_w": "kernel_size: 2 pad_w: 1", "kernel_h": "kernel_h: 1 kernel_w: 2", "kernel_w": "kernel_h: 2 kernel_w: 1",
            "stride_h": "kernel_size: 2 stride_h: 2 stride_w: 1", "stride_w": "kernel_size: 2 stride_h: 1 stride_w: 2",
        }),
    ),
    "SPP": Example("pyramid_height: 2", changes=_param("spp_param", {"pyramid_height": "pyramid_height: 1", "pool": "pyramid_height: 2 pool: AVE"})),
    "Accuracy": Example(
        "", ("4 5 5", "4 5"), _param("accuracy_param", {"top_k": "top_k: 4", "axis": "axis: 2", "ignore_label": "ignore_label: 1"}),
        classes=5,
    ),
    "BatchNorm": Example(
        "", ("3 4 5",), _param("batch_norm_param", {"use_global_stats": "use_global_stats: true",
        "moving_average_fraction": "moving_average_fraction: 0.5", "eps": "eps: 0.5"}), phase="TRAIN",
    ),
    "Concat": Example("", ("2 2 2", "2 2 2"), _param("concat_param", {"axis": "axis: 2", "concat_dim": "concat_dim: 0"})),
    "Convolution": Example(CONV, changes=_param("convolution_param", CONV_CHANGES)),
    "Dropout": Example("", changes=_param("dropout_param", {"dropout_ratio": "dropout_ratio: 0.1"}), phase="TRAIN"),
    "Eltwise": Example(
        "", ("2 3", "2 3"), _param("eltwise_param", {"operation": "operation: PROD", "coeff": "coeff: 1 coeff: -1"})
    ),
    "EuclideanLoss": Example("", ("2 3", "2 3")),
    "Data": Example("", ()),
    "DummyData": Example("shape { dim: 2 dim: 3 }", ()),
    "HDF5Data": Example("", ()),
    "HDF5Output": Example('file_name: "out.h5"', ("2 3", "2"), tops=()),
    "ImageData": Example("", (), tops=("y", "z")),
    "MemoryData": Example("batch_size: 2 channels: 1 height: 3 width: 4", (), tops=("y", "z")),
    "WindowData": Example("", (), tops=("y", "z")),
    "InnerProduct": Example(
        IP, changes=_param("inner_product_param", {
            "num_output": IP.replace("3", "2", 1), "bias_term": IP + " bias_term: false",
            "weight_filler": IP.replace("std: 1", "std: 2"), "axis": IP + " axis: 2", "transpose": IP + " transpose: true",
            "bias_filler": IP + " bias_filler { type: 'constant' value: 3 }",
        }),
    ),
    "Input": Example("shape { dim: 2 }", (), {"input_param.shape": "shape { dim: 3 dim: 3 }"}),
    "LRN": Example(
        "alpha: 1", changes=_param("lrn_param", {"local_size": "alpha: 1 local_size: 3", "alpha": "alpha: 2",
        "beta": "alpha: 1 beta: 0.5", "norm_region": "alpha: 1 norm_region: WITHIN_CHANNEL", "k": "alpha: 1 k: 2"}),
    ),
    "Pooling": Example(
        "kernel_size: 2 stride: 2", changes=_param("pooling_param", {
            "pool": "kernel_size: 2 stride: 2 pool: AVE", "pad": "kernel_size: 2 stride: 2 pad: 1",
            "pad_h": "kernel_size: 2 stride: 2 pad_h: 1 pad_w: 0", "pad_w": "kernel_size: 2 stride: 2 pad_h: 0 pad_w: 1",
            "kernel_size": "kernel_size: 3 stride: 2", "kernel_h": "kernel_h: 3 kernel_w: 2 stride: 2",
            "kernel_w": "kernel_h: 2 kernel_w: 3 stride: 2", "stride": "kernel_size: 2",
            "stride_h": "kernel_size: 2 stride_h: 1 stride_w: 2", "stride_w": "kernel_size: 2 stride_h: 2 stride_w: 1",
            "global_pooling": "global_pooling: true", "round_mode": "kernel_size: 2 stride: 2 round_mode: FLOOR",
        }),
    ),
    "ReLU": Example("", changes={"relu_param.negative_slope": "negative_slope: 0.1"}),
    "Scale": Example(
        SCALE, changes=_param("scale_param", {
            "axis": SCALE + " axis: 2", "num_axes": SCALE + " num_axes: 2", "filler": SCALE.replace("1", "2"),
            "bias_term": SCALE + " bias_term: true",
            "bias_filler": SCALE + " bias_term: true bias_filler { type: 'constant' value: 2 }",
        }),
    ),
    "Silence": Example("", tops=()),
    "Softmax": Example("", changes={"softmax_param.axis": "axis: 2"}),
    "SoftmaxWithLoss": Example(
        "", ("4 5 5", "4 5"), {
            "loss_param.ignore_label": "ignore_label: 1", "loss_param.normalization": "normalization: NONE",
            "loss_param.normalize": "normalize: false", "softmax_param.axis": "axis: 2",
        }, classes=5,
    ),
    "Split": Example("", tops=("y", "z")),
}  # fmt: skip
EXAMPLES = {
    name: Example("")
    for name, layer in REGISTRY.items()
    if layer.bottoms == layer.tops == exactly(1) and not any(account.read for account in layer.accounts.values())
} | EXAMPLES
"""A type with one bottom, one top and no field to read needs no example of its own."""
READ_BY_DATA = {
    f"{name}.{fld}" for type_ in DATA_LAYER_TYPES for name, account in REGISTRY[type_].accounts.items() for fld in account.read
}  # fmt: skip
"""Read where batches are made: tests/data/test_fields.py shows what they change."""
WRITES = {"hdf5_output_param.file_name"}
"""Read where a file is written: tests/layers/test_hdf5_output.py shows it."""
FROM_FILE = {"infogain_loss_param.source"}
"""Read where there is no third bottom: tests/layers/test_infogain.py shows it."""
CHANGES_TOPS = {"recurrent_param.expose_hidden"}
"""Changes how many bottoms and tops there are: tests/layers/test_recurrent.py shows it."""


TYPES = sorted(set(REGISTRY) - {"Python"})
"""All but the type whose code is the caller's: tests/pycaffe/test_python_layer.py."""


def _message_field(type_: str) -> str:
    return next(iter(REGISTRY[type_].accounts), "")


def example_text(type_: str, text: str, message: str) -> str:
    """The example's net, with `text` in its message."""
    example = EXAMPLES[type_]
    body = f"{message} {{ {text} }}" if message else ""
    lines = [
        f'layer {{ name: "in{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {" ".join(f"dim: {d}" for d in dims.split())} }} }} }}'
        for i, dims in enumerate(example.inputs)
    ]
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(example.inputs)))
    lines.append(
        f'layer {{ name: "l" type: "{type_}" {bottoms} {" ".join(f"top: {t!r}" for t in example.tops)} {body} }}'
    )
    return "\n".join(lines)


def _net(type_: str, text: str, message: str) -> CaffeNet:
    example = EXAMPLES[type_]
    net = parse_text(example_text(type_, text, message), pb.NetParameter)
    learned = type_ in DATA_LAYER_TYPES - {"DummyData", "MemoryData"}
    shapes = dict.fromkeys(example.tops, (2, 3)) if learned else None
    return build_net(build_graph(net, phase=example.phase, input_shapes=shapes), seed=3)


def _run(net: CaffeNet, example: Example) -> list[torch.Tensor]:
    """Outputs of two passes, shapes, blobs before and after: whatever a field may change."""
    generator = torch.Generator().manual_seed(5)
    inputs = {}
    for blob in net.inputs:
        values = torch.randn(net.caffe.shapes[blob], generator=generator)
        count = example.labels.get(blob, example.classes if blob == "x1" else 0)
        inputs[blob] = torch.randint(0, count, values.shape, generator=generator).float() if count else values
    before = [b for blobs in caffe_blobs(net).values() for b in blobs]
    torch.manual_seed(7)
    outputs = [value for _ in range(2) for value in net.every_blob(inputs).values()]
    return [b.clone() for b in before] + outputs + [b for blobs in caffe_blobs(net).values() for b in blobs]


def _same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch) -> None:
    """Where HDF5Output may write."""
    monkeypatch.chdir(tmp_path)


def test_every_type_has_an_example() -> None:
    assert set(EXAMPLES) == set(TYPES)


@pytest.mark.parametrize("type_", TYPES)
def test_every_field_that_is_read_has_a_change(type_: str) -> None:
    read = {f"{name}.{fld}" for name, account in REGISTRY[type_].accounts.items() for fld in account.read}
    assert read - READ_BY_DATA - CHANGES_TOPS - WRITES - FROM_FILE == set(EXAMPLES[type_].changes)


@pytest.mark.parametrize(("type_", "fld"), [(t, f) for t, e in sorted(EXAMPLES.items()) for f in e.changes])
def test_changing_a_field_that_is_read_changes_a_result(type_: str, fld: str) -> None:
    example = EXAMPLES[type_]
    message = fld.split(".", maxsplit=1)[0]
    first = _run(_net(type_, example.text, message), example)
    again = _run(_net(type_, example.text, message), example)
    assert _same(first, again), "the example itself is not repeatable"
    assert not _same(first, _run(_net(type_, example.changes[fld], message), example))


@pytest.mark.parametrize("type_", TYPES)
def test_the_declared_shapes_are_the_computed_ones(type_: str) -> None:
    example = EXAMPLES[type_]
    for fld, text in {"": example.text, **example.changes}.items():
        net = _net(type_, text, fld.split(".")[0] or _message_field(type_))
        inputs = {blob: torch.full(net.caffe.shapes[blob], float(example.fill)) for blob in net.inputs}
        blobs = net.every_blob(inputs)
        assert set(blobs) == set(net.caffe.shapes)
        for blob, value in blobs.items():
            assert tuple(value.shape) == net.caffe.shapes[blob], f"{type_} {fld}: {blob}"


@pytest.mark.parametrize("type_", sorted(t for t in TYPES if type(REGISTRY[t]).blobs is not Layer.blobs))
def test_blobs_make_the_round_trip_bit_for_bit(type_: str) -> None:
    example = EXAMPLES[type_]
    net = _net(type_, example.text + (" transpose: true" if type_ == "InnerProduct" else ""), _message_field(type_))
    rng = np.random.default_rng(0)
    blobs = [rng.standard_normal(slot.blob.shape).astype("f4") for slot in net.caffe.slots]
    copy_weights(net, {"l": blobs})
    loaded = [b.numpy() for b in caffe_blobs(net)["l"]]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(blobs, loaded, strict=True))


def test_a_type_that_leaves_out_a_field_is_refused() -> None:
    class Forgetful(Layer):
        type = "Forgetful"
        accounts = {"relu_param": Account(read=("negative_slope",))}

    with pytest.raises(ValueError, match="not accounted for: engine"):
        register(Forgetful)


def test_a_type_that_is_there_already_is_refused() -> None:
    class Again(Layer):
        type = "ReLU"

    with pytest.raises(ValueError, match="ReLU is registered already"):
        register(Again)


@pytest.mark.parametrize("name", sorted({name for layer in REGISTRY.values() for name in layer.accounts}))
def test_accounts_name_only_messages_of_the_schema(name: str) -> None:
    assert parameter_descriptor(name).fields


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 9 }', "shape-mismatch", "convolution_param"),
        ('type: "Convolution" convolution_param { num_output: 4 }', "wrong-count", "convolution_param.kernel_size"),
        ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 kernel_h: 3 }', "conflict", "convolution_param.kernel_size"),
        ('type: "Convolution" convolution_param { kernel_size: 3 }', "out-of-range", "convolution_param.num_output"),
        ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 group: 3 }', "shape-mismatch", "convolution_param.group"),
        ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 axis: 7 }', "out-of-range", "convolution_param.axis"),
        ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xaver" } }', "name-unknown", "weight_filler.type"),
        ('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 pad: 1 }', "conflict", "pooling_param.pad"),
        ('type: "Pooling" pooling_param { kernel_size: 2 pad: 2 }', "out-of-range", "pooling_param.pad"),
        ('type: "Pooling" pooling_param { kernel_size: 2 kernel_h: 2 kernel_w: 2 }', "conflict", "pooling_param.kernel_size"),
        ('type: "Pooling" pooling_param { global_pooling: true kernel_size: 2 }', "conflict", "pooling_param.global_pooling"),
        ('type: "Pooling"', "out-of-range", "pooling_param.kernel_size"),
        ('type: "InnerProduct"', "out-of-range", "inner_product_param.num_output"),
        ('type: "LRN" lrn_param { local_size: 4 }', "invalid", "lrn_param.local_size"),
        ('type: "Scale" scale_param { num_axes: 9 }', "out-of-range", "scale_param.num_axes"),
        ('type: "BatchNorm" param { lr_mult: 1 }', "invalid", "param.lr_mult"),
        ('type: "ReLU" top: "z"', "wrong-count", "top"),
        ('type: "Pooling" pooling_param { kernel_size: 2 stride: 2147483647 }', "out-of-range", "pooling_param.stride"),
        ('type: "Softmax" softmax_param { axis: 4 }', "out-of-range", "softmax_param.axis"),
    ],
)  # fmt: skip
def test_what_a_layer_cannot_do_is_refused_by_name(text: str, code: str, field: str) -> None:
    net = parse_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 7 } } }\n'
        f'layer {{ name: "bad" bottom: "x" top: "y" {text} }}',
        pb.NetParameter,
        file="net.prototxt",
    )
    with refused(code, field=field, file="net.prototxt", line=2, layer="bad"):
        build_net(build_graph(net))
