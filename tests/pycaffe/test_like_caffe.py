"""Corners of passes where scripts can see what Caffe does; every number is what genuine Caffe 9b89154 printed."""

import h5py
import numpy as np
import pytest

from caffe_compat.errors import CaffeCompatError
from tests.refusals import refused

FORCE = "force_backward: true\n"


def source(*shapes):
    """An Input layer: tops x, y, ... of these shapes."""
    tops = " ".join(f'top: "{name}"' for name, _ in zip("xyz", shapes, strict=False))
    dims = " ".join("shape { " + " ".join(f"dim: {dim}" for dim in shape) + " }" for shape in shapes)
    return f'layer {{ name: "in" type: "Input" {tops} input_param {{ {dims} }} }}\n'


def layer(kind, bottoms, tops, more="", name="l"):
    names = " ".join([*(f'bottom: "{b}"' for b in bottoms), *(f'top: "{t}"' for t in tops)])
    return f'layer {{ name: "{name}" type: "{kind}" {names} {more} }}\n'


LEARNED = (
    'layer { name: "s" type: "Scale" bottom: "x" top: "s" scale_param { axis: 0 num_axes: 0 filler { value: 1.5 } } }\n'
)


@pytest.mark.parametrize(
    ("text", "bottom"),
    [
        (FORCE + source((2, 3)) + layer("ArgMax", "x", "t"), None),
        (FORCE + source((2, 3)) + layer("Threshold", "x", "t"), None),
        (FORCE + source((2, 3), (2,)) + layer("Accuracy", "xy", "t"), "x"),
        (FORCE + source((2, 3), (2,)) + layer("BatchReindex", "xy", "t"), "y"),
        (FORCE + source((2, 3), (2,)) + layer("Filter", "xy", "t"), "y"),
        (FORCE + source((2,)) + layer("Embed", "x", "t", "embed_param { num_output: 2 input_dim: 3 }"), "x"),
        (FORCE + source((2, 3), (2,), (1, 1, 3, 3)) + layer("InfogainLoss", "xyz", "t"), "z"),
        (source((2,), (2, 3)) + LEARNED + layer("SoftmaxWithLoss", "ys", "t"), "s"),
        (source((2,), (2, 3)) + LEARNED + layer("HingeLoss", "ys", "t"), "s"),
        (source((2, 3), (2, 3)) + LEARNED + layer("SigmoidCrossEntropyLoss", "ys", "t"), "s"),
        (source((2,), (2, 3)) + LEARNED + layer("MultinomialLogisticLoss", "ys", "t"), "s"),
    ],
)
def test_a_backward_pass_that_caffe_aborts_is_an_error(make, text, bottom):
    net = make(text)
    net.forward()
    with refused("unsupported", layer="l", value=bottom):
        net.backward()


def test_propagate_down_false_lets_a_net_with_learned_labels_run_backward(make):
    net = make(source((2,), (2, 3)) + LEARNED + layer("SoftmaxWithLoss", "ys", "t", "propagate_down: [true, false]"))
    net.forward()
    net.backward()
    assert not net.blobs["s"].diff.any()


def test_flatten_shares_gradients_after_a_backward_pass(make):
    net = make(source((1, 2, 1)) + LEARNED + layer("Flatten", "s", "f"))
    net.forward()
    net.blobs["f"].diff[...] = [[3, 4]]
    net.backward()  # no loss, so that Flatten takes no part
    assert net.blobs["s"].diff.flatten().tolist() == [0, 0]
    net = make(FORCE + source((1, 2, 1)) + layer("Flatten", "x", "f", "loss_weight: 0.5"))
    net.forward()
    assert net.blobs["x"].diff.flatten().tolist() == [0, 0]
    net.backward()
    assert net.blobs["x"].diff.flatten().tolist() == [0.5, 0.5]
    net.blobs["f"].diff[...] = 7
    assert net.blobs["x"].diff.flatten().tolist() == [7, 7]


@pytest.mark.parametrize("kind", ["Concat", "Slice"])
def test_concat_and_slice_of_one_blob_share_its_gradients(make, kind):
    net = make(source((1, 2)) + layer(kind, "x", "t"))
    net.blobs["t"].diff[...] = [[3, 4]]
    assert net.blobs["x"].diff.tolist() == [[3, 4]]


def test_the_loss_weight_of_a_parameter_layer_has_no_effect(make):
    net = make(layer("Parameter", "", "p", "loss_weight: 2 parameter_param { shape { dim: 2 } }"))
    net.params["l"][0].data[...] = [3, 4]
    assert (net.blobs["p"].diff.tolist(), net.params["l"][0].diff.tolist()) == ([2, 2], [0, 0])
    assert net._forward(0, 0) == 0
    assert net.blobs["p"].diff.tolist() == [0, 0]


def test_argmax_of_a_blob_with_one_axis(make):
    net = make(source((3,)) + layer("ArgMax", "x", "t", "argmax_param { out_max_val: true }"))
    net.blobs["x"].data[...] = [1, -2, 3]
    assert net.forward()["t"].tolist() == [[[0], [1]], [[0], [-2]], [[0], [3]]]


def test_a_reshape_layer_that_does_not_fit_its_new_bottom_is_an_error(make):
    net = make(source((3, 2)) + layer("Reshape", "x", "t", "reshape_param { shape { dim: 3 dim: -1 } }"))
    net.blobs["x"].reshape(2, 2)
    with refused("shape-mismatch", layer="l"):
        net.reshape()


def test_lstm_unit_always_writes_the_gradient_of_its_gates(make):
    net = make(
        source((1, 1, 1), (1, 1, 4), (1, 1)) + LEARNED + layer("LSTMUnit", "syz", "dh")
        + 'layer { name: "r" type: "Reduction" bottom: "h" top: "r" loss_weight: 1 }'
    )  # fmt: skip
    for name, value in (("x", 0.5), ("y", [[[0.1, 0.2, 0.3, 0.4]]]), ("z", 1)):
        net.blobs[name].data[...] = value
    net.forward()
    net.backward()
    recorded = [0.038236867636442184, 0.0749148353934288, 0.13333284854888916, 0.1812737137079239]
    np.testing.assert_allclose(net.blobs["y"].diff.flatten(), recorded, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "more", "x", "gradient"),
    [
        ("Power", "power_param { scale: 3 }", [1, 2], [9, 9]),
        ("Power", "power_param { power: 2 scale: 0.5 shift: 1 }", [1, 2], [4.515625, 9]),
        ("Power", "power_param { power: 3 }", [1, 2], [9, 9]),
        ("Power", "power_param { power: 0 scale: 3 }", [1, 2], [0, 0]),
        ("Power", "power_param { power: 0.5 scale: 2 shift: 1 }", [1, 2], [0.15054039657115936, 0.16697685420513153]),
        ("Log", "log_param { base: 2 scale: 2 shift: 1 }", [1, 2], [0.4787983000278473, 0.26137086749076843]),
        ("Log", "", [2, 4], [2.081368923187256, 0.520342230796814]),
        ("ELU", "elu_param { alpha: -2 }", [-1, 2], [5, 7]),
    ],
)
def test_in_place_gradients_match_caffe_where_their_inputs_are_overwritten(make, kind, more, x, gradient):
    split = 'layer { name: "q" type: "Split" bottom: "x" top: "q" }\n'
    net = make(FORCE + source((2,)) + split + layer(kind, "q", "q", more))
    net.blobs["x"].data[...] = x
    net.forward()
    net.blobs["q"].diff[...] = [5, 7]
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, gradient, rtol=2e-6)


def test_a_product_without_stable_gradient_divides(make):
    more = "eltwise_param { operation: PROD stable_prod_grad: false }"
    net = make(FORCE + source((3,), (3,)) + layer("Eltwise", "xy", "t", more))
    net.blobs["x"].data[...], net.blobs["y"].data[...] = [0, 2, 0], [3, 4, 0]
    net.forward()
    net.blobs["t"].diff[...] = [1, 2, 3]
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [np.nan, 8, np.nan])
    np.testing.assert_array_equal(net.blobs["y"].diff, [0, 4, np.nan])


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (source((3,)) + layer("BatchNorm", "x", "t"), "shape-mismatch", "bottom"),
        (source((2, 3, 1, 1, 1)) + layer("PReLU", "x", "t"), "shape-mismatch", "bottom"),
        (source((2, 3, 1, 1, 1), (2, 3, 1, 1, 1)) + layer("EuclideanLoss", "xy", "t"), "shape-mismatch", "bottom"),
        (source((2, 3, 1, 1, 1), (2,)) + layer("HingeLoss", "xy", "t"), "shape-mismatch", "bottom"),
        (source((2, 3, 1, 1, 1), (2,)) + layer("MultinomialLogisticLoss", "xy", "t"), "shape-mismatch", "bottom"),
        (source((2, 3), (2,)) + layer("SoftmaxWithLoss", "xy", "tu"), "wrong-count", "loss_weight"),
        (
            source((2, 3), (2,)) + layer("SoftmaxWithLoss", "xy", "t", "loss_weight: [1, 0]"),
            "wrong-count",
            "loss_weight",
        ),
        (source((2, 4)) + layer("Slice", "x", "tu", "loss_weight: 1"), "wrong-count", "loss_weight"),
        (
            source((3, 2), (2, 3), (1, 1, 3, 3)) + layer("InfogainLoss", "xyz", "t", "infogain_loss_param { axis: 0 }"),
            "shape-mismatch",
            "bottom",
        ),
    ],
)
def test_nets_that_caffe_cannot_build_are_errors(make, text, code, field):
    with pytest.raises(CaffeCompatError) as caught:
        make(text)
    for error in getattr(caught.value, "problems", [caught.value]):
        assert (error.code, error.layer, error.field) == (code, "l", field)


def test_gradients_of_shared_parameters_are_saved_for_every_layer(make, tmp_path):
    shared = [layer("Scale", b, t, 'param { name: "w" }', t) for b, t in ("xy", "yz")]
    net = make(source((2, 3)) + "".join(shared))
    net.write(tmp_path / "w.h5", "HDF5", diffs=True)
    with h5py.File(tmp_path / "w.h5") as file:
        stored = {group: sorted(name for name in file[group] if len(file[group][name])) for group in ("data", "diff")}
    assert stored == {"data": ["y"], "diff": ["y", "z"]}


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_batch_norm_of_one_value_per_channel_is_0(make, shape):
    net = make(FORCE + source(shape) + layer("BatchNorm", "x", "t"))
    net.blobs["x"].data.flat = [1000.3, -2.7, 5.1]
    assert not net.forward()["t"].any()
    net.blobs["t"].diff[...] = 7
    net.backward()
    assert not net.blobs["x"].diff.any()
    mean, variance, factor = (blob.data.flatten().tolist() for blob in net.params["l"])
    assert (mean, variance, factor) == (net.blobs["x"].data.flatten().tolist(), [0, 0, 0], [1])


@pytest.mark.parametrize(
    ("more", "bottoms", "top", "gradients"),
    [
        ("coeff: 2 coeff: 3", "xy", [3, 6], [[2, 20], [6, 60]]),
        ("", "xyz", [1, 11], [[1, 10], [1, 10], [1, 10]]),
        ("operation: MAX", "xy", [1, 2], [[0, 0], [0, 0]]),
        ("operation: MAX", "xyz", [1, 9], [[0, 0], [0, 0], [0, 0]]),
    ],
)
def test_in_place_eltwise_reads_the_cleared_top(make, more, bottoms, top, gradients):
    net = make(FORCE + source(*[(2,)] * len(bottoms)) + layer("Eltwise", bottoms, "x", f"eltwise_param {{ {more} }}"))
    for name, value in zip(bottoms, ([5, 7], [1, 2], [0, 9]), strict=False):
        net.blobs[name].data[...] = value
    net.forward()
    assert net.blobs["x"].data.tolist() == top
    net.blobs["x"].diff[...] = [1, 10]
    net.backward()
    assert [net.blobs[name].diff.tolist() for name in bottoms] == gradients


def test_max_pooling_skips_nan_and_starts_from_the_lowest_float(make):
    pooling = "pooling_param { kernel_w: 2 kernel_h: 1 stride_w: 2 stride_h: 1 }"
    net = make(FORCE + source((1, 1, 1, 6)) + layer("Pooling", "x", "t", pooling))
    net.blobs["x"].data.flat = [np.nan, 1, -np.inf, -np.inf, 2, np.inf]
    assert net.forward()["t"].flatten().tolist() == [1, np.finfo(np.float32).min, np.inf]
    net.blobs["t"].diff.flat = [3, 5, 7]
    net.backward()
    assert net.blobs["x"].diff.flatten().tolist()[:2] == [0, 3]


@pytest.mark.parametrize(
    ("kind", "more", "gradient"),
    [
        ("Exp", "exp_param { base: 4 scale: 0.5 }", [21 * np.log(2), 40 * np.log(2)]),
        ("ELU", "elu_param { alpha: 2 }", [3 * (2 + 7), 5]),
        ("Power", "power_param { power: 3 }", [3 * 3 * (7 / -1), 5 * 3 * (8 / 2)]),
        ("Power", "power_param { power: 0.5 scale: 2 shift: 4 }", [3 * (7 / 2), 5 * (8 / 8)]),
        ("Power", "power_param { power: 2 scale: 2 }", [3 * -8, 5 * 16]),
    ],
)
def test_gradients_read_the_current_values_of_the_top(make, kind, more, gradient):
    net = make(FORCE + source((2,)) + layer(kind, "x", "t", more))
    net.blobs["x"].data[...] = [-1, 2]
    net.forward()
    net.blobs["t"].data[...] = [7, 8]
    net.blobs["t"].diff[...] = [3, 5]
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, gradient, rtol=1e-6)


@pytest.mark.parametrize(("norm", "passes"), [("L1", [1, 1, 1]), ("L2", [3, 6, 12])])
def test_a_second_backward_pass_of_a_hinge_loss_starts_from_the_result_of_the_first(make, norm, passes):
    net = make(FORCE + source((1, 3), (1,)) + layer("HingeLoss", "xy", "t", f"hinge_loss_param {{ norm: {norm} }}"))
    net.blobs["x"].data[...] = [[2, -1, 0.5]]
    net.forward()
    gradients = []
    for _ in passes:
        net.backward()
        gradients.append(net.blobs["x"].diff.tolist())
    assert gradients == [[[0, 0, value]] for value in passes]


def test_input_arrays_are_not_copied(make):
    feed = 'layer { name: "d" type: "MemoryData" top: "x" top: "y" memory_data_param { batch_size: 1 channels: 1 '
    net = make(feed + "height: 1 width: 2 } }")
    data, labels = np.zeros((2, 1, 1, 2), np.float32), np.zeros(2, np.float32)
    net.set_input_arrays(data, labels)
    net.forward()
    data[1], labels[1] = 5, 6
    net.forward()
    assert (net.blobs["x"].data.tolist(), net.blobs["y"].data.tolist()) == ([[[[5, 5]]]], [6])
