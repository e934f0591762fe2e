"""A net written in Python is the net written in text."""

# ruff: noqa: C408 -- dict(type="xavier") is how these are written

import copy

import numpy as np
import pytest

from caffe_compat.definition import netspec
from caffe_compat.definition.netspec import NetSpec, Top, param_name_dict, to_proto
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from caffe_compat.formats.files import parse_text
from caffe_compat.schema.caffe_pb2 import FillerParameter, LayerParameter, NetParameter, ParamSpec, PoolingParameter
from tests.refusals import refused


@pytest.fixture
def n():
    return NetSpec()


def agree(net, source):
    expected = parse_text(source, NetParameter)
    for layer in expected.layer:
        layer.DiscardUnknownFields()  # the notes of where it was written
    assert str(net) == str(expected)


def two_blobs():
    return L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=2)], ntop=2)


def test_assigned_names_name_layers_and_tops(n):
    n.data, n.label = two_blobs()
    n.conv = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2, pool=P.Pooling.AVE)
    agree(
        n.to_proto(),
        """
        layer { name: "data" type: "DummyData" top: "data" top: "label"
          dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
          convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
        layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
          pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
        """,
    )


def test_without_names_each_type_counts_from_one_in_the_order_needed():
    data, label = two_blobs()
    hidden = L.ReLU(L.InnerProduct(data, num_output=4), in_place=True)
    net = L.SoftmaxWithLoss(L.InnerProduct(hidden, num_output=2), label).to_proto()
    names = [layer.name for layer in net.layer]
    assert names == ["DummyData1", "InnerProduct1", "ReLU1", "InnerProduct2", "SoftmaxWithLoss1"]
    assert list(net.layer[0].top) == ["DummyData1", "DummyData2"]
    assert list(net.layer[4].bottom) == ["InnerProduct2", "DummyData2"]


def test_in_place_writes_its_bottom_and_the_next_layer_reads_it(n):
    n.ip = L.InnerProduct(L.Input(shape=dict(dim=[1, 2])), num_output=3)
    n.relu = L.ReLU(n.ip, in_place=True)
    n.out = L.Power(n.relu, scale=2)
    _, ip, relu, out = n.to_proto().layer
    assert (list(relu.bottom), list(relu.top), relu.name) == (["ip"], ["ip"], "relu")
    assert list(out.bottom) == ["ip"]
    assert ip.name == "ip"


def test_layers_that_no_named_top_needs_are_omitted(n):
    n.data = L.Input(shape=dict(dim=[1]))
    L.ReLU(n.data)
    assert [layer.name for layer in n.to_proto().layer] == ["data"]


def test_unnamed_layers_between_named_ones_are_numbered(n):
    n.data = L.Input(shape=dict(dim=[1]))
    n.out = L.ReLU(L.Power(L.Power(n.data)))
    assert [layer.name for layer in n.to_proto().layer] == ["data", "Power1", "Power2", "out"]


def test_a_layer_without_tops_is_named_by_its_attribute_or_its_type(n):
    n.a, n.b = two_blobs()
    n.quiet = L.Silence(n.a, ntop=0)
    n["also quiet"] = L.Silence(n.b, ntop=0)
    assert [(layer.name, list(layer.top)) for layer in n.to_proto().layer[1:]] == [("quiet", []), ("also quiet", [])]
    (a, b) = two_blobs()
    assert [layer.name for layer in to_proto(a, L.Silence(a, b, ntop=0)).layer] == ["DummyData1", "Silence1"]


def test_several_tops_share_the_layers_below_them():
    data = L.Input(shape=dict(dim=[1, 2]))
    net = to_proto(L.ReLU(data), L.Sigmoid(data))
    assert [layer.type for layer in net.layer] == ["Input", "ReLU", "Sigmoid"]
    assert net.layer[1].bottom == net.layer[2].bottom


def test_a_name_reassigned_names_the_new_top(n):
    n.x = L.Input(shape=dict(dim=[1]))
    first = n.x
    n.x = L.Power(n.x)
    assert [(layer.type, layer.name) for layer in n.to_proto().layer] == [("Input", "Input1"), ("Power", "x")]
    assert first is not n["x"]
    assert list(n.tops) == ["x"]


def test_fields_of_the_layer_itself_and_generic_params_are_set(n):
    n.data = L.DummyData(shape=dict(dim=[1, 1]), include=dict(phase=1), transform_param=dict(scale=0.5))
    param = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2)]
    n.ip = L.InnerProduct(n.data, num_output=3, param=param, loss_weight=2, propagate_down=[True], name="other")
    agree(
        n.to_proto(),
        """
        layer { name: "data" type: "DummyData" top: "data" include { phase: TEST }
          transform_param { scale: 0.5 } dummy_data_param { shape { dim: 1 dim: 1 } } }
        layer { name: "other" type: "InnerProduct" bottom: "data" top: "ip" loss_weight: 2
          param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 } propagate_down: true
          inner_product_param { num_output: 3 } }
        """,
    )


def test_a_type_whose_message_has_another_name_takes_the_message():
    x = L.Input(shape=dict(dim=[1, 1, 4, 4]))
    net = L.Deconvolution(x, convolution_param=dict(num_output=2, kernel_size=[3, 4], bias_term=False)).to_proto()
    assert list(net.layer[1].convolution_param.kernel_size) == [3, 4]
    field, hint = "Deconvolution: num_output", "convolution_param=dict(num_output=...)"
    with refused("field-unknown", field=field, value=2, hint=hint):
        L.Deconvolution(x, num_output=2).to_proto()


def test_a_field_of_a_fork_is_an_error_and_its_types_without_fields_are_accepted():
    x = L.Input(shape=dict(dim=[1, 1, 4, 4]))
    with refused(
        "field-unknown", field="Permute: permute_param", hint="ssd, not of Caffe 1.0: write this layer in prototxt"
    ):
        L.Permute(x, permute_param=dict(order=[0, 2, 3, 1])).to_proto()
    assert L.ReLU6(x).to_proto().layer[1].type == "ReLU6"


def test_the_message_of_every_type_comes_from_the_descriptors():
    names = param_name_dict()
    assert names["Convolution"] == "convolution"
    assert names["LRN"] == "lrn"
    assert names["HDF5Data"] == "hdf5_data"
    assert names["Transformation"] == "transform"
    fields = [f for f in LayerParameter.DESCRIPTOR.fields if f.name.endswith("_param")]
    assert len(names) == len(fields)


def test_params_are_the_constants_of_the_messages():
    assert P.Pooling.MAX == PoolingParameter.MAX == 0
    assert P.Pooling.STOCHASTIC == 2
    assert P.Data.LMDB == 1
    assert P.Loss.VALID == 1
    assert P.Filler.FAN_OUT == FillerParameter.FAN_OUT
    with refused("name-unknown", value="Poling", hint="'Pooling'"):
        P.Poling.MAX


def test_a_bottom_that_is_not_a_top_is_a_type_error():
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"):
        L.Silence(two_blobs(), ntop=0)
    with pytest.raises(TypeError, match="ReLU input 0"):
        L.ReLU("data")


NUMBER = "ConvolutionParameter.num_output"


@pytest.mark.parametrize(
    ("fields", "kind", "code", "field", "hint"),
    [
        (dict(kernal_size=3), AttributeError, "field-unknown", "kernal_size", "did you mean 'kernel_size'"),
        (dict(weight_filler=dict(typ="xavier")), AttributeError, "field-unknown", "typ", "did you mean 'type'"),
        (dict(num_output="ten"), TypeError, "wrong-type", NUMBER, "an integer"),
        (dict(num_output=-1), ValueError, "out-of-range", NUMBER, "from 0 to 4294967295"),
        (dict(num_output=[1, 2]), AttributeError, "wrong-type", NUMBER, ""),
        (dict(engine="CUDA"), ValueError, "name-unknown", "engine", "DEFAULT or CAFFE or CUDNN"),
        (dict(num_output=dict(a=1)), AttributeError, "wrong-type", NUMBER, "an integer"),
        (dict(kernel_size=dict(a=1)), AttributeError, "wrong-type", "ConvolutionParameter.kernel_size", "an integer"),
        (dict(weight_filler=3), TypeError, "wrong-type", "ConvolutionParameter.weight_filler", "dict"),
    ],
)
def test_a_field_that_cannot_be_set_is_named_with_its_layer(n, fields, kind, code, field, hint):
    n.conv7 = L.Convolution(L.Input(shape=dict(dim=[1])), **fields)
    with refused(code, layer="conv7", field=f"Convolution: {field}", hint=hint) as caught:
        n.to_proto()
    assert isinstance(caught.value, kind)


def test_a_missing_top_is_a_key_error_and_an_attribute_error(n):
    n.conv1 = L.Input(shape=dict(dim=[1]))
    with refused("name-unknown", value="conv", hint="did you mean 'conv1'") as caught:
        n.conv
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, AttributeError)
    assert not hasattr(n, "conv2")


def test_a_tuple_under_a_single_name_is_an_error_that_names_it(n):
    n.data = two_blobs()
    with refused("wrong-type", field="data", hint="n.a, n.b"):
        n.to_proto()


def test_numpy_values_and_tuples_are_accepted(n):
    n.data = L.Input(shape=dict(dim=(1, np.int64(2))))
    n.conv = L.Convolution(n.data, num_output=np.int32(3), kernel_size=np.array([3, 5]), pad=())
    (data, conv) = n.to_proto().layer
    assert list(data.input_param.shape[0].dim) == [1, 2]
    assert list(conv.convolution_param.kernel_size) == [3, 5]
    assert not conv.convolution_param.pad


def test_messages_are_accepted_in_place_of_dicts():
    x = L.Input(shape=dict(dim=[1]))
    layer = L.InnerProduct(x, weight_filler=FillerParameter(type="msra"), param=[ParamSpec(lr_mult=3)]).to_proto().layer
    assert layer[1].inner_product_param.weight_filler.type == "msra"
    assert layer[1].param[0].lr_mult == 3


def test_enums_are_accepted_by_identifier():
    pool = L.Pooling(L.Input(shape=dict(dim=[1])), pool="AVE").to_proto().layer[1]
    assert pool.pooling_param.pool == PoolingParameter.AVE


def test_a_chain_of_two_thousand_layers_is_no_deeper_than_python_allows():
    top = L.Input(shape=dict(dim=[1]))
    for _ in range(2000):
        top = L.ReLU(top)
    assert top.to_proto().layer[-1].name == "ReLU2000"


def test_a_net_can_be_copied(n):
    n.data = L.Input(shape=dict(dim=[1]))
    twin = copy.deepcopy(n)
    twin.more = L.ReLU(twin.data)
    assert list(n.tops) == ["data"]
    assert isinstance(twin.data, Top)
    assert len(twin.to_proto().layer) == 2


def test_layer_functions_support_introspection():
    assert L.Convolution.__name__ == "Convolution"
    with pytest.raises(AttributeError):
        L.__wrapped__
    with pytest.raises(AttributeError):
        P.__wrapped__


def test_the_same_message_can_be_built_twice(n):
    n.data = L.DummyData(shape=dict(dim=[1]), ntop=1)
    assert str(n.to_proto()) == str(n.to_proto())


def test_a_second_top_of_a_layer_in_place_does_not_exist():
    a, b = two_blobs()
    both = L.Split(a, ntop=2, in_place=True)
    with refused("out-of-range", layer="Split1"):
        L.ReLU(both[1]).to_proto()
    assert len(L.Eltwise(a, b).to_proto().layer) == 2


def test_assign_proto_wraps_single_values_of_repeated_fields():
    layer = LayerParameter()
    netspec.assign_proto(layer, "bottom", "x")
    netspec.assign_proto(layer, "param", dict(lr_mult=0))
    netspec.assign_proto(layer, "loss_weight", [])
    assert list(layer.bottom) == ["x"]
    assert layer.param[0].lr_mult == 0
    assert layer.param[0].HasField("lr_mult")
    assert not layer.loss_weight
