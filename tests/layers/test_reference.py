"""The layers agree with a slow transcription of Caffe, and the transcription with what genuine Caffe recorded."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from caffe_compat.build.weights import read_weights
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import read_net
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import Values, agree, single
from tests.nets import build_graph, build_net
from tests.records import difference
from tests.reference.caffe_layers import CheckFailed
from tests.reference.caffe_net import Net
from tests.reference.caffe_windows import Pooling

CASES = sorted((Path(__file__).parents[1] / "golden" / "layers").iterdir())
values = st.builds(Values, seed=st.integers(0, 99), grid=st.booleans())
phases = st.sampled_from(["TRAIN", "TEST"])
few = settings(max_examples=40)


# The transcription against the records


@pytest.mark.parametrize("folder", CASES, ids=lambda p: p.name)
def test_the_transcription_computes_what_caffe_recorded(folder):
    case, record = json.loads((folder / "case.json").read_text()), np.load(folder / "record.npz")
    message = read_net(folder / "net.prototxt")
    net = Net(message.layer, read_weights(folder / "weights.caffemodel"), case["phase"])
    for _ in range(case["forwards"]):
        blobs = net.forward({key[3:]: record[key] for key in record.files if key.startswith("in/")})
    computed = {f"out/{blob}": value for blob, value in blobs.items()}
    if case["backward"]:
        below_a_loss = message.force_backward or any(getattr(layer, "is_loss", False) for layer in net.layers)
        seeds = {key[5:]: record[key] * below_a_loss for key in record.files if key.startswith("seed/")}
        computed |= {f"grad/{blob}": value for blob, value in net.backward(seeds).items()}
    for layer in net.layers:
        for i, (blob, diff) in enumerate(zip(layer.blobs, layer.diffs, strict=True)):
            name = f"{layer.param.name}/{i}"
            computed |= {f"after/{name}": blob} | ({f"pgrad/{name}": diff} if case["backward"] else {})
    scale = max([1e-3, *(float(np.abs(v).max()) for k, v in computed.items() if k.startswith("pgrad/"))])
    assert {key for key in record.files if not key.startswith(("in/", "seed/", "param/"))} <= set(computed)
    for key in set(record.files) & set(computed):
        gap = difference(key, computed[key], record[key], scale if key.startswith("pgrad/") else 0.0)
        assert gap.relative <= (2e-5 if "grad" in key else 3e-6), str(gap)


# Convolution and inner product


@st.composite
def convolutions(draw):
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    axis = draw(st.sampled_from([1, 1, 1, 0, 2]))
    group = draw(st.sampled_from([1, 1, 2]))
    channels, outputs = (group * draw(st.integers(1, 6 // group)) for _ in range(2))
    many = lambda low, high: draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))  # noqa: E731
    kernel, pad, dilation = many(1, 3), many(0, 2), many(1, 2)
    stride = draw(st.sampled_from([[1] * axes, many(1, 3)]))
    room = [draw(st.integers(1 - s, 4)) for s in stride]
    spatial = [max(1, d * (k - 1) + 1 - 2 * p + r) for d, k, p, r in zip(dilation, kernel, pad, room, strict=True)]
    body = f"num_output: {outputs} group: {group} axis: {draw(st.sampled_from([axis, axis - (axis + 1 + axes)]))}"
    forms = {"kernel_size": kernel, "stride": stride, "pad": pad}
    for name, sizes in forms.items():
        short = name.removesuffix("_size")
        if axes == 2 and draw(st.booleans()):
            body += f" {short}_h: {sizes[0]} {short}_w: {sizes[1]}"
        else:
            body += "".join(f" {name}: {n}" for n in (sizes[:1] if len(set(sizes)) == 1 else sizes))
    if set(dilation) != {1}:
        body += "".join(f" dilation: {n}" for n in dilation)
    if draw(st.booleans()):
        body += " bias_term: false"
    shape = [*draw(st.lists(st.integers(1, 3), min_size=axis, max_size=axis)), channels, *spatial]
    bottoms = draw(st.sampled_from([1, 1, 2]))
    return single(
        "Convolution", [shape] * bottoms, f"convolution_param {{ {body} }}", [f"y{i}" for i in range(bottoms)]
    )


@settings(max_examples=120)
@given(convolutions(), values, phases)
def test_convolution_over_one_to_three_axes(text, values, phase):
    agree(text, values=values, phase=phase)


@few
@given(st.integers(1, 4), st.integers(5, 9), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2), values)
def test_convolution_with_few_outputs(outputs, channels, height, width, pad, values):
    body = f"convolution_param {{ num_output: {outputs} kernel_h: {height} kernel_w: {width} pad: {pad} }}"
    shape = (2, channels, max(1, height - pad), max(1, width + 2 - pad))
    agree(single("Convolution", [shape], body), values=values)


def test_an_exact_convolution_of_two_bottoms_has_the_bits_of_one_of_each():
    body = 'convolution_param { num_output: 8 kernel_size: 5 weight_filler { type: "xavier" } }'
    one, two = (build_net(single("Convolution", [(2, 16, 9, 9)] * n, body, ["y", "z"][:n]), exact=True) for n in (1, 2))
    two.load_state_dict(one.state_dict())
    x, z = torch.randn(2, 2, 16, 9, 9)
    tops = two(x, z)
    assert torch.equal(tops["y"], one(x))
    assert torch.equal(tops["z"], one(z))


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data(), st.booleans(), st.booleans(), values)
def test_inner_product_from_any_axis(shape, data, bias, transpose, values):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    flags = f"bias_term: {str(bias).lower()} transpose: {str(transpose).lower()}"
    body = f"inner_product_param {{ num_output: {data.draw(st.integers(1, 4))} axis: {axis} {flags} }}"
    agree(single("InnerProduct", [shape], body), values=values)


# Pooling


@st.composite
def poolings(draw):
    pair = lambda low, high: [draw(st.integers(low, high)) for _ in range(2)]  # noqa: E731
    method = draw(st.sampled_from(["MAX", "AVE"]))
    tops = ["y", "mask"] if method == "MAX" and draw(st.booleans()) else ["y"]
    shape = [draw(st.integers(1, 2)), draw(st.integers(1, 3)), *pair(1, 9)]
    body = f"pool: {method} round_mode: {draw(st.sampled_from(['CEIL', 'FLOOR']))}"
    if draw(st.integers(0, 5)) == 0:
        return single("Pooling", [shape], f"pooling_param {{ {body} global_pooling: true }}", tops), shape
    kernel = pair(1, 4)
    for name, (h, w) in {
        "kernel": kernel, "stride": pair(1, 5), "pad": [draw(st.integers(0, k - 1)) for k in kernel],
    }.items():  # fmt: skip
        body += f" {name}{'_size' if name == 'kernel' else ''}: {h}" if h == w else f" {name}_h: {h} {name}_w: {w}"
    return single("Pooling", [shape], f"pooling_param {{ {body} }}", tops), shape


@settings(max_examples=250)
@given(poolings(), values)
def test_pooling_of_any_window(config, values):
    text, shape = config
    assume(pooled(text, shape))
    agree(text, values=values)


def pooled(text, shape):
    """The shape Caffe pools to; None where it aborts or nothing is left."""
    layer = Pooling(parse_text(text, pb.NetParameter).layer[-1], "TEST")
    try:
        layer.setup(shape)
    except CheckFailed:
        return None
    return tuple(layer.output) if min(layer.output) >= 1 else None


def ours(text):
    try:
        return build_graph(text).shapes["y"][2:]
    except CaffeCompatError:
        return None


@pytest.mark.parametrize("mode", ["CEIL", "FLOOR"])
def test_pooled_shapes_of_every_small_window(mode):
    for k in range(1, 6):
        for s in range(1, 6):
            for p in range(k + 1):  # k itself is refused
                for h in range(1, 21, 1 if p < k else 9):
                    w = 21 - h
                    body = f"pooling_param {{ kernel_size: {k} stride: {s} pad: {p} round_mode: {mode} }}"
                    text = single("Pooling", [(1, 1, h, w)], body)
                    assert ours(text) == pooled(text, (1, 1, h, w)), (h, w, k, s, p)


@pytest.mark.parametrize("pad", [("pad_h: 0 pad_w: 1"), ("pad_h: 1 pad_w: 0")])
def test_padding_along_one_axis_clips_along_both(pad):
    for h in range(1, 9):
        for s in range(1, 6):
            text = single("Pooling", [(1, 2, h, 9 - h)], f"pooling_param {{ kernel_size: 2 stride: {s} {pad} }}")
            assert ours(text) == pooled(text, (1, 2, h, 9 - h))


# Neurons and routing


@few
@given(st.sampled_from([0, 0.1, -0.5, 1, 2]), st.lists(st.integers(1, 4), min_size=1, max_size=5), values)
def test_relu_with_any_slope(slope, shape, values):
    agree(single("ReLU", [shape], f"relu_param {{ negative_slope: {slope} }}"), values=values)


@few
@given(st.sampled_from([0, 0.1, 0.5, 0.9]), st.integers(0, 99), phases)
def test_dropout_with_the_mask_that_was_drawn(ratio, seed, phase):
    text = single("Dropout", [(4, 5, 6)], f"dropout_param {{ dropout_ratio: {ratio} }}")
    agree(text, phase=phase, values=Values(seed), masks=["l"])


@st.composite
def eltwises(draw):
    bottoms = draw(st.integers(2, 4))
    operation = draw(st.sampled_from(["SUM", "PROD", "MAX"]))
    body = f"operation: {operation}"
    if operation == "SUM" and draw(st.booleans()):
        body += "".join(f" coeff: {draw(st.sampled_from([1, -1, 0, 0.3]))}" for _ in range(bottoms))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    return single("Eltwise", [shape] * bottoms, f"eltwise_param {{ {body} }}")


@few
@given(eltwises(), values)
def test_eltwise_with_ties_and_zeros(text, values):
    agree(text, values=values)


@few
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data(), values)
def test_concat_along_any_axis(shape, data, values):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    shapes = [[*shape[: axis % len(shape)], n, *shape[axis % len(shape) :][1:]] for n in lengths]
    field = "concat_dim" if axis >= 0 and data.draw(st.booleans()) else "axis"
    agree(single("Concat", shapes, f"concat_param {{ {field}: {axis} }}"), values=values)


@few
@given(st.integers(1, 4), values)
def test_split_adds_the_gradients_up(tops, values):
    agree(single("Split", [(2, 3, 4)], tops=[f"y{i}" for i in range(tops)]), values=values)


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data(), values)
def test_softmax_along_any_axis(shape, data, values):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    agree(single("Softmax", [shape], f"softmax_param {{ axis: {axis} }}"), values=values)


@few
@given(
    st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]), st.sampled_from([1, 3, 5, 7]), st.sampled_from([1, 0.1]),
    st.sampled_from([0.75, 0.5, 2]), st.sampled_from([1, 2]), st.lists(st.integers(1, 6), min_size=4, max_size=4), values,
)  # fmt: skip
def test_lrn_in_both_regions(region, size, alpha, beta, k, shape, values):
    body = f"norm_region: {region} local_size: {size} alpha: {alpha} beta: {beta} k: {k}"
    agree(single("LRN", [shape], f"lrn_param {{ {body} }}"), values=values)


# Losses and accuracy


@few
@given(
    st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3), st.booleans(), st.sampled_from([None, 0.5, -2]), values
)
def test_euclidean_loss_of_any_shape(batch, rest, flat, weight, values):
    shapes = [(batch, *rest), (batch, math.prod(rest)) if flat else (batch, *rest)]
    agree(single("EuclideanLoss", shapes, extra="" if weight is None else f"loss_weight: {weight}"), values=values)


@st.composite
def labelled(draw):
    """Scores, an axis, and labels of which some may be ignored."""
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    axis = draw(st.integers(1, len(shape) - 1))
    classes = shape[axis]
    ignore = draw(st.sampled_from([None, 0, -1, 255]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    labels = rng.integers(0, classes, [*shape[:axis], *shape[axis + 1 :]]).astype("f4")
    if ignore is not None and draw(st.booleans()):
        labels[rng.random(labels.shape) < draw(st.sampled_from([0.3, 1]))] = ignore
    labels = labels[:, None] if draw(st.booleans()) else labels
    negative = axis - len(shape) if draw(st.booleans()) else axis
    return shape, negative, labels, "" if ignore is None else f" ignore_label: {ignore}", classes


@settings(max_examples=120)
@given(
    labelled(), st.sampled_from([None, "FULL", "VALID", "BATCH_SIZE", "NONE"]),
    st.sampled_from([None, "true", "false"]), st.booleans(), st.sampled_from([None, 0.5, 3]), values,
)  # fmt: skip
def test_softmax_with_loss_in_every_normalization(config, mode, legacy, probabilities, weight, values):
    shape, axis, labels, ignore, _ = config
    ignore += "" if mode is None else f" normalization: {mode}"
    ignore += "" if legacy is None else f" normalize: {legacy}"
    body = f"softmax_param {{ axis: {axis} }} loss_param {{ {ignore} }}"
    if weight is not None:
        body += f" loss_weight: {weight}" + (" loss_weight: 0" if probabilities else "")
    tops = ["y", "p"] if probabilities else ["y"]
    agree(single("SoftmaxWithLoss", [shape, labels.shape], body, tops), values=values, labels={"x1": labels})


@pytest.mark.parametrize("gap", [50, 80, 87, 88, 100, 200, 1000])
def test_the_loss_of_a_hopeless_sample_is_capped_and_its_gradient_is_not(gap):
    text = single("SoftmaxWithLoss", [(1, 2), (1,)])
    scores = np.array([[0, gap]], "f4")
    agree(text, labels={"x0": scores, "x1": np.zeros(1, "f4")})
    agree(text, labels={"x0": scores, "x1": np.zeros(1, "f4")}, dtype=torch.float32)


def test_the_probabilities_of_a_softmax_loss_pass_no_gradient_back():
    text = """layer { name: "in2" type: "Input" top: "x2" input_param { shape { dim: 3 dim: 4 } } }
    %s
    layer { name: "e" type: "EuclideanLoss" bottom: "p" bottom: "x2" top: "y" }"""
    agree(
        text % single("SoftmaxWithLoss", [(3, 4), (3,)], tops=["loss", "p"]), labels={"x1": np.array([0, 1, 3], "f4")}
    )


@settings(max_examples=80)
@given(labelled(), st.data(), st.booleans(), values)
def test_accuracy_with_ties(config, data, per_class, values):
    shape, axis, labels, ignore, classes = config
    body = f"accuracy_param {{ axis: {axis} top_k: {data.draw(st.integers(1, classes))} {ignore} }}"
    tops = ["y", "each"] if per_class else ["y"]
    agree(single("Accuracy", [shape, labels.shape], body, tops), values=values, labels={"x1": labels})


# Normalisation and scaling


@few
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5), phases, st.sampled_from(["", "true", "false"]),
    st.sampled_from([0.999, 0.5]), st.sampled_from([1e-5, 0.1]), st.integers(1, 3), st.integers(0, 99),
)  # fmt: skip
def test_batch_norm_over_several_passes(shape, phase, fixed, fraction, eps, forwards, seed):
    body = f"batch_norm_param {{ moving_average_fraction: {fraction} eps: {eps} {fixed and f'use_global_stats: {fixed}'} }}"
    # With eps 1e-5 one value per channel is divided by 0.003: what is a rounding error before is not after.
    agree(single("BatchNorm", [shape], body), phase=phase, values=Values(seed), forwards=forwards, tolerance=1e-8)


@st.composite
def scales(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axis = draw(st.integers(0, len(shape) - 1))
    length = draw(st.integers(0, len(shape) - axis))
    body = f"axis: {axis if draw(st.booleans()) else axis - len(shape)}"
    body += " bias_term: true" if draw(st.booleans()) else ""
    if draw(st.booleans()):
        return single("Scale", [shape, shape[axis : axis + length]], f"scale_param {{ {body} }}")
    number = -1 if length == len(shape) - axis and draw(st.booleans()) else length
    return single("Scale", [shape], f"scale_param {{ {body} num_axes: {number} }}")


@settings(max_examples=120)
@given(scales(), values, phases)
def test_scale_learned_or_given(text, values, phase):
    agree(text, values=values, phase=phase)


# Whole nets


NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: %(n)d dim: 3 dim: %(h)d dim: %(w)d } } }
layer { name: "int" type: "Input" top: "t" input_param { shape { dim: %(n)d } } }
layer { name: "c1" type: "Convolution" bottom: "x" top: "c1" convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "b1" type: "BatchNorm" bottom: "c1" top: "c1" }
layer { name: "s1" type: "Scale" bottom: "c1" top: "c1" scale_param { bias_term: true } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" relu_param { negative_slope: %(slope)s } }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 3 stride: 2 pool: %(pool)s } }
layer { name: "n1" type: "LRN" bottom: "p1" top: "n1" lrn_param { alpha: 0.1 } }
layer { name: "c2" type: "Convolution" bottom: "n1" top: "c2" convolution_param { num_output: 6 kernel_size: 1 group: 2 } }
layer { name: "e" type: "Eltwise" bottom: "c2" bottom: "p1" top: "e" eltwise_param { operation: %(op)s } }
layer { name: "r2" type: "ReLU" bottom: "e" top: "e" }
layer { name: "p2" type: "Pooling" bottom: "e" top: "p2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "cat" type: "Concat" bottom: "p2" bottom: "p2" top: "cat" }
layer { name: "c3" type: "Convolution" bottom: "cat" top: "c3" convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
layer { name: "r3" type: "ReLU" bottom: "c3" top: "r3" }
layer { name: "g" type: "Pooling" bottom: "r3" top: "g" pooling_param { pool: %(pool)s global_pooling: true } }
layer { name: "ip1" type: "InnerProduct" bottom: "g" top: "ip1" param { name: "w" } param { name: "b" } inner_product_param { num_output: 4 } }
layer { name: "ip2" type: "InnerProduct" bottom: "g" top: "ip2" param { name: "w" } param { name: "b" } inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "t" top: "loss" loss_weight: 0.7 }
layer { name: "acc" type: "Accuracy" bottom: "ip1" bottom: "t" top: "acc" }
"""


@settings(max_examples=25)
@given(
    st.fixed_dictionaries(
        {
            "n": st.integers(1, 3), "h": st.integers(6, 11), "w": st.integers(6, 11), "slope": st.sampled_from([0, 0.1]),
            "pool": st.sampled_from(["MAX", "AVE"]), "op": st.sampled_from(["SUM", "PROD", "MAX"]),
        }
    ),
    phases, st.integers(0, 99), st.integers(1, 2),
)  # fmt: skip
def test_a_net_of_many_types(parameters, phase, seed, forwards):
    labels = np.random.default_rng(seed).integers(0, 4, parameters["n"]).astype("f4")
    agree(NET % parameters, phase=phase, values=Values(seed), labels={"t": labels}, forwards=forwards, tolerance=1e-8)


# Other sizes than the net was built with


def other(draw, shape, low=1):
    """Another batch and other lengths of the last two axes."""
    return [draw(st.integers(1, 3)), shape[1], *(draw(st.integers(low, low + 8)) for _ in shape[2:])]


@settings(max_examples=60)
@given(poolings(), st.data(), values)
def test_pooling_takes_maps_of_any_size(config, data, values):
    text, shape = config
    fed = other(data.draw, shape)
    assume(pooled(text, shape))
    if pooled(text, fed):
        agree(text, values=values, feed={"x0": fed})
    else:
        with pytest.raises(RuntimeError, match="too small|size is"):
            agree(text, values=values, feed={"x0": fed})


@few
@given(
    st.sampled_from(["num_output: 2", "num_output: 6 group: 2", "num_output: 6 stride: 2 dilation: 2"]),
    st.data(),
    values,
)
def test_convolution_takes_maps_of_any_size(body, data, values):
    text = single("Convolution", [(2, 6, 9, 9)], f"convolution_param {{ {body} kernel_size: 3 pad: 1 }}")
    fed = other(data.draw, (2, 6, 9, 9), low=3)
    agree(text, values=values, feed={"x0": fed})


@pytest.mark.parametrize("outputs", [2, 8])
@pytest.mark.parametrize("size", [(2, 9), (9, 2), (1, 1), (3, 3)])
def test_a_map_smaller_than_the_kernel_is_refused(outputs, size):
    net = build_net(
        single("Convolution", [(1, 6, 9, 9)], f"convolution_param {{ num_output: {outputs} kernel_size: 5 }}")
    )
    with pytest.raises(RuntimeError, match="[Kk]ernel"):
        net(torch.zeros(1, 6, *size))


@settings(max_examples=15)
@given(st.sampled_from(["MAX", "AVE"]), st.integers(1, 4), st.integers(6, 14), st.integers(6, 14), phases)
def test_a_fully_convolutional_net_takes_any_batch_and_size(pool, n, h, w, phase):
    text = NET % {"n": 2, "h": 9, "w": 9, "slope": 0.1, "pool": pool, "op": "SUM"}
    labels = np.random.default_rng(n).integers(0, 4, n).astype("f4")
    agree(text, phase=phase, labels={"t": labels}, feed={"x": (n, 3, h, w), "t": (n,)}, tolerance=1e-8)


# float32, on sizes where torch chooses other kernels


LARGER = {
    "Convolution": ("convolution_param { num_output: 24 kernel_size: 3 pad: 1 }", (4, 32, 20, 21)),
    "Convolution strided": ("convolution_param { num_output: 20 kernel_size: 5 stride: 2 group: 4 }", (3, 16, 33, 30)),
    "Convolution few": ("convolution_param { num_output: 1 kernel_size: 5 pad: 2 }", (2, 64, 18, 17)),
    "Convolution one": ("convolution_param { num_output: 40 kernel_size: 1 }", (2, 50, 13, 14)),
    "InnerProduct": ("inner_product_param { num_output: 50 }", (16, 20, 5, 5)),
    "Pooling": ("pooling_param { kernel_size: 3 stride: 2 }", (4, 16, 33, 32)),
    "Pooling mean": ("pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE }", (4, 16, 33, 32)),
    "LRN": ("lrn_param { alpha: 0.5 }", (3, 40, 11, 12)),
    "LRN within": ("lrn_param { alpha: 0.5 norm_region: WITHIN_CHANNEL }", (3, 16, 21, 22)),
    "BatchNorm": ("", (8, 24, 13, 12)),
    "Scale": ("scale_param { bias_term: true }", (8, 24, 13, 12)),
    "Softmax": ("", (32, 100)),
}


@pytest.mark.parametrize("name", LARGER)
def test_float32_is_within_rounding_of_the_transcription(name):
    body, shape = LARGER[name]
    agree(single(name.split()[0], [shape], body), phase="TRAIN", dtype=torch.float32)
