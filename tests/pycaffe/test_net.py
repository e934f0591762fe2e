"""Net: what scripts see, read and write, and what passes do to it."""

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from tests.pycaffe.test_like_caffe import FORCE, layer, source
from tests.refusals import refused

INPUT = source((2, 3, 5, 5))
KERNEL = 'num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 }'
CONV = layer("Convolution", "x", "c", f"convolution_param {{ {KERNEL} }}", "conv")


DOUBLE = layer("Power", "x", "y", "power_param { scale: 2 }", "p")


def rng():
    return np.random.default_rng(0)


def test_values_written_to_a_blob_take_effect_and_the_same_array_shows_the_result(make):
    net = make(INPUT + DOUBLE)
    x, y = net.blobs["x"].data, net.blobs["y"].data
    x[...] = 3
    net.forward()
    assert (y == 6).all()
    x[0] = 1
    net.forward()
    assert [sorted(set(row.flat)) for row in y] == [[2], [6]]
    assert (y.dtype, y.shape) == (np.float32, (2, 3, 5, 5))


def test_values_written_to_a_parameter_take_effect(make):
    net = make(INPUT + CONV)
    weight, bias = (blob.data for blob in net.params["conv"])
    weight[...], bias[...] = 0, [1, 2, 3, 4]
    assert (net.forward()["c"][0, :, 0, 0] == [1, 2, 3, 4]).all()


def test_a_transposed_weight_is_caffes_array(make):
    parameters = "inner_product_param { num_output: 2 transpose: true bias_term: false }"
    net = make(INPUT + layer("InnerProduct", "x", "y", parameters, "ip"))
    weight = net.params["ip"][0].data
    assert weight.shape == (75, 2)
    weight[...] = 0
    weight[:, 1] = 1
    net.blobs["x"].data[...] = 1
    assert net.forward()["y"].tolist() == [[0, 75], [0, 75]]


def test_splits_appear_as_in_caffe_and_share_their_values(make):
    readers = [
        layer("Power", "x", top, f"power_param {{ scale: {scale} }}", top) for top, scale in (("a", 2), ("b", 3))
    ]
    net = make(FORCE + INPUT + "".join(readers))
    assert list(net.blobs) == ["x", "x_in_0_split_0", "x_in_0_split_1", "a", "b"]
    assert list(net.layer_dict) == ["in", "x_in_0_split", "a", "b"]
    assert net.top_names["x_in_0_split"] == ["x_in_0_split_0", "x_in_0_split_1"]
    net.blobs["x"].data[...] = 1
    net.forward()
    assert (net.blobs["x_in_0_split_1"].data == 1).all()
    net.blobs["a"].diff[...], net.blobs["b"].diff[...] = 1, 10
    net.backward()
    assert (net.blobs["x"].diff == 32).all()


def test_without_loss_and_force_backward_no_layer_runs_backward(make):
    net = make(INPUT + CONV)
    net.blobs["x"].data[...] = 1
    net.forward()
    net.blobs["c"].diff[...] = 1
    net.backward()
    assert not net.blobs["x"].diff.any()
    assert not net.params["conv"][0].diff.any()


def test_parameter_gradients_add_up_and_bottom_gradients_do_not(make):
    net = make(FORCE + INPUT + CONV)
    net.blobs["x"].data[...] = rng().standard_normal((2, 3, 5, 5))
    net.forward()
    net.blobs["c"].diff[...] = 1
    net.backward()
    bottom, weight = net.blobs["x"].diff.copy(), net.params["conv"][0].diff.copy()
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, bottom)
    np.testing.assert_array_equal(net.params["conv"][0].diff, 2 * weight)
    net.clear_param_diffs()
    assert not net.params["conv"][0].diff.any()


LOSSES = """layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3
  weight_filler { type: "gaussian" std: 1 } } param { lr_mult: %s } }
layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "l" loss_weight: 0.5 %s }
layer { name: "r" type: "Reduction" bottom: "y" top: "r" reduction_param { operation: SUMSQ } loss_weight: 3 }
"""


def test_losses_are_weighted_and_added_up(make):
    net = make(LOSSES % (1, ""))
    x, t = rng().standard_normal((2, 2, 3)).astype("f4")
    net.blobs["x"].data[...], net.blobs["t"].data[...] = x, t
    total = net._forward(0, len(net.layers) - 1)
    y = x @ net.params["ip"][0].data.T
    np.testing.assert_allclose(total, 0.5 * ((y - t) ** 2).sum() / 4 + 3 * (y**2).sum(), rtol=1e-5)
    net.backward()
    seed = 0.5 * (y - t) / 2 + 6 * y
    np.testing.assert_allclose(net.params["ip"][0].diff, seed.T @ x, rtol=2e-5, atol=1e-5)
    assert [net.blob_loss_weights[name] for name in "lr"] == [0.5, 3]


def test_the_weight_of_a_loss_is_the_gradient_of_its_top_and_can_be_changed(make):
    net = make(LOSSES % (1, ""))
    assert net.blobs["l"].diff == np.float32(0.5)
    net.blobs["x"].data[...] = 1
    net.forward()
    net.blobs["l"].diff[...], net.blobs["r"].diff[...] = 0, 0
    net.backward()
    assert not net.params["ip"][0].diff.any()


def test_a_frozen_parameter_gets_no_gradient(make):
    net = make(LOSSES % (0, ""))
    net.blobs["x"].data[...] = 1
    net.forward()
    net.backward()
    assert [blob.diff.any() for blob in net.params["ip"]] == [False, True]


def test_propagate_down_stops_a_gradient(make):
    net = make(LOSSES % (1, "propagate_down: false propagate_down: false"))
    net.blobs["x"].data[...] = 1
    net.forward()
    net.blobs["r"].diff[...] = 0
    net.backward()
    assert not net.params["ip"][0].diff.any()


def test_in_place_layers_share_one_blob(make):
    net = make(FORCE + INPUT + CONV + layer("ReLU", "c", "c"))
    net.blobs["x"].data[...] = rng().standard_normal((2, 3, 5, 5))
    net.forward()
    c = net.blobs["c"]
    assert list(net.blobs) == ["x", "c"]
    assert c.data.min() == 0
    positive = c.data > 0
    c.diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(c.diff, positive)


def test_reshape_gives_every_blob_its_shape_and_keeps_the_weights(make):
    net = make(INPUT + CONV + layer("Pooling", "c", "p", "pooling_param { kernel_size: 2 }"))
    weight = net.params["conv"][0].data.copy()
    net.blobs["x"].reshape(1, 3, 9, 7)
    assert net.blobs["p"].data.shape == (2, 4, 2, 2)
    net.reshape()
    assert net.blobs["c"].data.shape == (1, 4, 7, 5)
    assert net.blobs["p"].shape == (1, 4, 6, 4)
    net.blobs["x"].reshape(4, 3, 5, 5)
    net.forward()
    assert net.blobs["p"].shape == (4, 4, 2, 2)
    np.testing.assert_array_equal(net.params["conv"][0].data, weight)


def test_reshape_to_a_shape_that_does_not_fit_the_parameters_names_the_layer(make):
    net = make(INPUT + layer("InnerProduct", "x", "y", "inner_product_param { num_output: 2 }", "ip"))
    net.blobs["x"].reshape(2, 3, 6, 6)
    with refused("shape-mismatch", layer="ip", field="bottom", value=((2, 3, 6, 6),)):
        net.reshape()


def test_shared_parameters_are_one_memory_and_their_gradients_one_sum(make):
    parameters = 'param { name: "w" } inner_product_param { num_output: 3 bias_term: false }'
    shared = [layer("InnerProduct", bottom, top, parameters, top) for bottom, top in ("xa", "ab")]
    net = make(FORCE + source((2, 3)) + "".join(shared))
    net.params["a"][0].data[...] = np.eye(3) * 2
    assert (net.params["b"][0].data == np.eye(3) * 2).all()
    net.blobs["x"].data[...] = 1
    assert (net.forward()["b"] == 4).all()
    net.blobs["b"].diff[...] = 1
    net.backward()
    assert np.shares_memory(net.params["a"][0].diff, net.params["b"][0].diff)
    np.testing.assert_array_equal(net.params["a"][0].diff, np.full((3, 3), 2 * 2 + 2 * 2))


def test_a_range_of_layers_runs_alone(make):
    net = make(FORCE + INPUT + CONV + layer("Power", "c", "y", "power_param { scale: 2 }", "p"))
    net.blobs["c"].data[...] = 5
    assert (net.forward(start="p")["y"] == 10).all()
    assert set(net.forward(end="conv", blobs=["x"])) == {"c", "x"}
    with refused("out-of-range", field="layers", value=(0, 3)):
        net._forward(0, 3)
    net.blobs["y"].diff[...] = 1
    assert (net.backward(start="p", end="p")["c"] == 2).all()
    assert not net.params["conv"][0].diff.any()


def test_a_backward_pass_needs_no_forward_pass(make):
    net = make(FORCE + INPUT + CONV)
    net.blobs["c"].diff[...] = 1
    net.params["conv"][0].data[...] = 1
    assert net.backward()["x"][0, 0, 2, 2] == 36


def test_inputs_and_gradients_given_by_name(make):
    net = make(FORCE + INPUT + DOUBLE)
    x = rng().standard_normal((2, 3, 5, 5))
    np.testing.assert_allclose(net.forward(x=x)["y"], 2 * x, rtol=1e-6)
    np.testing.assert_allclose(net.backward(y=x, diffs=["y"])["x"], 2 * x, rtol=1e-6)
    with refused("mismatch", value=["z"], hint="the net has: x"):
        net.forward(z=x)
    with refused("shape-mismatch", field="x", value=(1, 3, 5, 5), hint="the net has (2, 3, 5, 5)"):
        net.forward(x=x[:1])


def test_long_inputs_run_batch_by_batch(make):
    net = make(FORCE + INPUT + DOUBLE)
    x = rng().standard_normal((5, 3, 5, 5)).astype("f4")
    np.testing.assert_allclose(net.forward_all(x=x)["y"], 2 * x)
    values, gradients = net.forward_backward_all(x=x, y=x)
    np.testing.assert_allclose(values["y"], 2 * x)
    np.testing.assert_allclose(gradients["x"], 2 * x)


def test_weights_are_saved_and_loaded_in_both_formats(make, tmp_path):
    net, other = make(INPUT + CONV), make(INPUT + CONV)
    for save, name in ((net.save, "w.caffemodel"), (net.save_hdf5, "w.caffemodel.h5")):
        net.params["conv"][0].data[...] = rng().standard_normal((4, 3, 3, 3))
        save(str(tmp_path / name))
        other.params["conv"][0].data[...] = 0
        other.copy_from(str(tmp_path / name))
        np.testing.assert_array_equal(other.params["conv"][0].data, net.params["conv"][0].data)
        assert caffe.Net(str(tmp_path / "net.prototxt"), str(tmp_path / name), caffe.TEST).params["conv"][0].data.any()


def test_share_with_shares_memory_between_two_nets(make):
    net, other = make(INPUT + CONV), make(INPUT + CONV)
    other.share_with(net)
    net.params["conv"][0].data[...], net.params["conv"][1].data[...] = 0, 7
    assert (other.forward()["c"] == 7).all()
    with refused("shape-mismatch", layer="conv", field="blobs", value=[(4, 3, 3, 3), (4,)]):
        net.share_with(make(INPUT + CONV.replace("kernel_size: 3", "kernel_size: 1")))


def test_a_missing_file_is_a_caffe_error_which_is_a_runtime_error(make):
    net = make(INPUT + CONV)
    for read in (net.copy_from, net.load_hdf5, lambda file: caffe.Net(file, caffe.TEST)):
        with refused("file-missing", file="none") as caught:
            read("none")
        assert isinstance(caught.value, caffe.CaffeError)
        assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), {}),
        (("net.prototxt",), {}),
        (("net.prototxt", 2), {}),
        (("net.prototxt", 1), {"phase": 1}),
        (("net.prototxt", 1), {"stage": "a"}),
        (("net.prototxt", 1, 0, [], "w", 3), {}),
    ],
)
def test_arguments_that_make_no_net_are_a_type_error(arguments, named):
    with pytest.raises(TypeError, match="^Net (takes|needs)|^phase is"):
        caffe.Net(*arguments, **named)


def test_an_invalid_net_raises_an_error_that_names_the_layer(make):
    with refused("type-unknown", file="net.prototxt", layer="bad", hint="did you mean 'ReLU'?"):
        make(INPUT + layer("Relu", "x", "y", name="bad"))


def test_callbacks_get_the_number_of_each_layer(make):
    net = make(FORCE + INPUT + CONV)
    calls = []
    for name in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, name)(lambda number, name=name: calls.append(f"{name} {number}"))
    net.forward()
    net.backward()
    assert calls == [
        "before_forward 0", "after_forward 0", "before_forward 1", "after_forward 1",
        "before_backward 1", "after_backward 1", "before_backward 0", "after_backward 0",
    ]  # fmt: skip


def test_missing_legacy_dimensions_are_1(make):
    blob = caffe.Blob((2, 3))
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 1, 1, 6)
    blob.reshape(1, 2, 3, 4, 5)
    with refused("shape-mismatch", field="shape", value=(1, 2, 3, 4, 5), hint="use shape"):
        _ = blob.num


@pytest.mark.parametrize("shape", [(2, -1), (1,) * 33])
def test_a_shape_that_no_blob_can_have_is_refused(shape):
    with refused("out-of-range", field="shape", value=shape):
        caffe.Blob().reshape(*shape)


def test_keyword_arguments_of_a_blobs_shape_are_refused():
    for call in (caffe.Blob().reshape, caffe.BlobVec().add_blob):
        with refused("field-unknown", value=["num"]):
            call(num=1)


def test_a_blob_that_shrinks_keeps_its_memory():
    blob = caffe.Blob((6,))
    blob.data[...] = range(6)
    before = blob.data
    blob.reshape(2, 2)
    assert blob.data.tolist() == [[0, 1], [2, 3]]
    assert np.shares_memory(before, blob.data)


def test_a_loss_without_a_top_is_not_an_output(make):
    net = make(source((2, 3), (2, 3)) + layer("EuclideanLoss", "xy", ""))
    assert net.outputs == []
    assert list(net.blobs) == ["x", "y", "(automatic)"]
    net.blobs["x"].data[...] = 2
    net.forward()
    assert net.blobs["(automatic)"].data == 6


def test_the_gradient_of_scale_over_a_batch_of_one_is_overwritten_as_in_caffe(make):
    for rows, sums in ((2, 2), (1, 1)):
        net = make(FORCE + source((rows, 3, 5, 5)) + layer("Scale", "x", "y", name="s"))
        net.blobs["x"].data[...], net.blobs["y"].diff[...] = 1, 1
        net.forward()
        net.backward()
        once = net.params["s"][0].diff.copy()
        net.backward()
        np.testing.assert_array_equal(net.params["s"][0].diff, sums * once)


def test_the_gradient_of_a_parameter_layer_is_that_of_its_top(make):
    net = make(FORCE + layer("Parameter", "", "y", "parameter_param { shape { dim: 3 } }", "p"))
    net.forward()
    net.blobs["y"].diff[...] = [1, 2, 3]
    net.backward()
    assert net.params["p"][0].diff.tolist() == [1, 2, 3]
    net.params["p"][0].data[...] = 4
    assert net.forward()["y"].tolist() == [4, 4, 4]


def test_a_gradient_reads_the_values_that_in_place_layers_wrote(make):
    net = make(
        FORCE + INPUT + layer("Sigmoid", "x", "y") + layer("Bias", "y", "y", "bias_param { filler { value: 1 } }")
    )
    net.forward()
    net.blobs["y"].diff[...] = 1
    assert net.backward()["x"][0, 0, 0, 0] == -0.75  # y (1 - y) at y = 0.5 + 1, as in Caffe


def test_hinge_loss_leaves_its_margins_and_scale_its_product_where_caffe_does(make):
    net = make(source((1, 2), (1,)) + layer("HingeLoss", "xy", "l"))
    net.blobs["x"].data[...] = [[0.25, -3]]
    net.forward()
    assert net.blobs["x"].diff.tolist() == [[0.75, 0]]
    net = make(INPUT + layer("Scale", "x", "y", "loss_weight: 1"))
    net.blobs["x"].data[...] = 3
    net.forward()
    net.backward()
    assert (net.blobs["x"].diff == 3).all()


def test_a_memory_data_layer_takes_batches_from_arrays(make):
    batch = "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 }"
    net = make(layer("MemoryData", "", "xt", batch) + layer("Silence", "t", ""))
    data = np.arange(12, dtype="f4").reshape(4, 1, 1, 3)
    net.set_input_arrays(data, np.arange(4, dtype="f4"))
    for rows in (slice(0, 2), slice(2, 4), slice(0, 2)):
        net.forward()
        np.testing.assert_array_equal(net.blobs["x"].data, data[rows])
    np.testing.assert_array_equal(net.blobs["t"].data.ravel(), [0, 1])
    with refused("wrong-type", layer="in", field="type", value="Input"):
        make(INPUT).set_input_arrays(data, np.arange(4, dtype="f4"))


def test_dummy_data_fills_constant_tops_once_and_other_tops_in_every_pass(make):
    fillers = 'shape { dim: 2 dim: 3 } data_filler { type: "gaussian" } data_filler { value: 7 }'
    net = make(layer("DummyData", "", "xt", f"dummy_data_param {{ {fillers} }}"))
    assert (net.blobs["t"].data == 7).all()
    net.blobs["t"].data[...] = 1
    first = net.forward()["x"].copy()
    assert (net.blobs["t"].data == 1).all()
    assert (net.forward()["x"] != first).any()


def test_debug_info_writes_the_means_of_every_layer(make, capsys, monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    net = make("debug_info: true\n" + FORCE + INPUT + DOUBLE)
    net.blobs["x"].data[...] = -3
    net.forward()
    net.blobs["y"].diff[...] = 1
    net.backward()
    lines = [line.partition("] ")[2].strip() for line in capsys.readouterr().err.splitlines()]
    assert "[Forward] Layer p, top blob y data: 6" in lines
    assert "[Backward] Layer p, bottom blob x diff: 2" in lines
