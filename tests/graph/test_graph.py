"""Graphs: Caffe's order, names and refusals; splits, sharing, in-place blobs, inference nets."""

import pytest
import torch

from caffe_compat.build.inference import inference_net
from caffe_compat.build.net import load_net
from caffe_compat.definition.splits import insert_splits
from caffe_compat.errors import NetError, ProblemsError
from caffe_compat.formats.extras import same
from caffe_compat.formats.text import parse_text
from caffe_compat.graph.graph import NetGraph
from caffe_compat.schema import caffe_pb2 as pb
from tests.nets import build_graph
from tests.refusals import refused

X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def _net(text: str) -> pb.NetParameter:
    return parse_text(text, pb.NetParameter, file="net.prototxt")


def _graph(text: str, **state: object) -> NetGraph:
    return build_graph(_net(text), **state)


def test_outputs_are_the_unread_blobs_in_alphabetical_order() -> None:
    graph = _graph(
        X + "".join(f'layer {{ name: "{n}" type: "ReLU" bottom: "x" top: "{n}" }}\n' for n in ("c", "a", "b"))
    )
    assert graph.outputs == ("a", "b", "c")


def test_a_blob_with_several_readers_gets_caffes_split() -> None:
    net = insert_splits(
        _net(
            X
            + 'layer { name: "a" type: "ReLU" bottom: "x" top: "a" }\nlayer { name: "b" type: "ReLU" bottom: "x" top: "b" }'
        )
    )
    split = net.layer[1]
    assert (split.name, split.type, list(split.bottom)) == ("x_x_0_split", "Split", ["x"])
    assert list(split.top) == ["x_x_0_split_0", "x_x_0_split_1"]
    assert [layer.bottom[0] for layer in net.layer[2:]] == ["x_x_0_split_0", "x_x_0_split_1"]


def test_a_loss_that_is_also_read_hands_its_weight_to_the_split() -> None:
    net = insert_splits(
        _net(
            X + 'layer { name: "l" type: "ReLU" bottom: "x" top: "l" loss_weight: 3 }\n'
            'layer { name: "p" type: "ReLU" bottom: "l" top: "p" }'
        )
    )
    assert not net.layer[1].loss_weight
    assert list(net.layer[2].loss_weight) == [3, 0]
    assert net.layer[3].bottom[0] == "l_l_0_split_1"


def test_splitting_twice_changes_nothing_more() -> None:
    once = insert_splits(_net(X + 'layer { name: "e" type: "Eltwise" bottom: "x" bottom: "x" top: "e" }'))
    assert same(once, insert_splits(once))


@pytest.mark.parametrize(
    ("text", "code", "line", "field"),
    [
        ('layer { name: "a" type: "ReLU" bottom: "y" top: "a" }', "name-unknown", 2, "bottom"),
        ('layer { name: "a" type: "Relu" bottom: "x" top: "a" }', "type-unknown", 2, "type"),
        ('layer { name: "a" type: "Warp" bottom: "x" top: "a" }', "type-unknown", 2, "type"),
        ('layer { name: "a" type: "ReLU" bottom: "x" top: "x" }\nlayer { name: "b" type: "ReLU" bottom: "x" top: "b" relu_parm { } }',
         "field-unknown", 3, "relu_parm"),
        ('layer { name: "b" type: "ReLU" bottom: "x" top: "b" }\nlayer { name: "a" type: "ReLU" bottom: "x" top: "x" }',
         "duplicate", 3, "top"),
        ('layer { name: "a" type: "EuclideanLoss" bottom: "x" top: "a" }', "wrong-count", 2, "bottom"),
        ('layer { name: "a" type: "ReLU" bottom: "x" top: "a" param { lr_mult: 1 } }', "wrong-count", 2, "param"),
        ('layer { name: "a" type: "ReLU" bottom: "x" top: "a" propagate_down: true propagate_down: true }', "wrong-count", 2, "propagate_down"),
        ('layer { name: "a" type: "ReLU" bottom: "x" top: "a" include { } exclude { } }', "conflict", 2, None),
        ('frobnicate: 3', "field-unknown", 2, "frobnicate"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_with_its_place(text: str, code: str, line: int, field: str | None) -> None:
    with refused(code, file="net.prototxt", line=line, field=field):
        _graph(X + text)


def test_all_faults_come_in_one_error() -> None:
    with pytest.raises(ProblemsError) as caught:
        _graph(
            X + 'layer { name: "a" type: "Warp" bottom: "x" top: "a" }\n'
            'layer { name: "b" type: "ReLU" bottom: "nope" top: "b" }\n'
            'layer { name: "c" type: "Pooling" bottom: "x" top: "c" pooling_param { kernel_size: 2 } }'
        )
    assert len(caught.value.problems) == 3
    assert str(caught.value).count("net.prototxt:") == 3


def test_a_fork_field_in_a_layer_that_is_not_part_of_the_net_is_no_fault() -> None:
    text = X + 'layer { name: "a" type: "Warp" bottom: "x" top: "a" warp_param { s: 1 } include { phase: TRAIN } }'
    assert _graph(text).outputs == ("x",)
    with pytest.raises(ProblemsError) as caught:
        _graph(text, phase="TRAIN")
    assert [error.field for error in caught.value.problems] == ["type", "warp_param"]


def test_an_input_that_does_not_exist_is_refused() -> None:
    with refused("name-unknown", field="input_shapes", value="xx", hint="'x'"):
        _graph(X, input_shapes={"xx": (1,)})


def test_the_error_about_an_input_without_a_shape_has_the_argument_to_pass() -> None:
    text = 'layer { name: "d" type: "HDF5Data" top: "data" hdf5_data_param { source: "l" batch_size: 2 } }'
    with refused("shape-unknown", field="top", value="data", hint="input_shapes={'data': (N, ...)}"):
        _graph(text)
    assert _graph(text, input_shapes={"data": (2, 5)}).shapes["data"] == (2, 5)


def test_legacy_inputs_become_inputs() -> None:
    graph = _graph("input: 'data' input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 5")
    assert graph.inputs == ("data",)
    assert graph.shapes["data"] == (1, 3, 4, 5)


def test_parameters_of_one_name_are_shared_and_counted_once() -> None:
    ip = 'layer {{ name: "{n}" type: "InnerProduct" bottom: "x" top: "{n}" param {{ name: "w" }} inner_product_param {{ num_output: {k} }} }}\n'
    graph = _graph(X + ip.format(n="a", k=4) + ip.format(n="b", k=4))
    assert [slot.owner for slot in graph.slots] == [None, None, "a.weight", None]
    assert graph.parameter_count() == 4 * 3 + 4 + 4
    with refused("shape-mismatch", layer="b", field="param.name", value="w"):
        _graph(X + ip.format(n="a", k=4) + ip.format(n="b", k=5))


def test_a_loss_without_a_top_counts_and_is_no_output() -> None:
    graph = _graph(X + 'layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 2 dim: 3 } } }\n'
                   'layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "y" }')  # fmt: skip
    assert graph.outputs == ()
    assert graph.losses == (("loss (automatic)", 1.0),)


def test_names_that_a_torch_module_cannot_have_are_changed_and_stay_distinct() -> None:
    text = "".join(
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "t{i}" inner_product_param {{ num_output: 1 }} }}\n'
        for i, name in enumerate(["type", "res2a.b", "res2a_b", "params", "inception/1x1", "type"])
    )
    graph = _graph(X + text)
    keys = [node.key for node in graph.nodes if node.slots]
    assert keys == ["type_", "res2a_b", "res2a_b_2", "params_", "inception/1x1", "type__2"]


def test_an_inference_net_drops_losses_labels_and_what_only_they_need() -> None:
    net = inference_net(
        _net(
            'layer { name: "d" type: "HDF5Data" top: "data" top: "label" top: "extra" }\n'
            'layer { name: "scaled" type: "ReLU" bottom: "label" top: "scaled" }\n'
            'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" }\n'
            'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "scaled" top: "loss" }\n'
            'layer { name: "s" type: "Silence" bottom: "extra" }'
        )
    )
    assert [(layer.name, layer.type, list(layer.top)) for layer in net.layer] == [
        ("d", "Input", ["data"]),
        ("ip", "InnerProduct", ["ip"]),
    ]


def test_an_inference_net_may_end_in_an_in_place_layer() -> None:
    net = inference_net(
        parse_text(
            'layer { name: "in" type: "Input" top: "x" } layer { name: "r" type: "ReLU" bottom: "x" top: "x" }',
            pb.NetParameter,
        )
    )
    assert [layer.name for layer in net.layer] == ["in", "r"]


def test_an_inference_net_keeps_other_outputs() -> None:
    net = inference_net(
        _net(
            X + 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" }\n'
            'layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 2 } } }\n'
            'layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "y" top: "acc" }\n'
            'layer { name: "r" type: "ReLU" bottom: "ip" top: "r" }'
        )
    )
    assert [layer.name for layer in net.layer] == ["x", "ip", "r"]


@pytest.mark.parametrize(
    ("text", "code", "field", "value"),
    [
        ('top: "x" type: "Input" input_param { shape { dim: 1000000000 dim: 3 } }', "too-large", "top 'x'", (1000000000, 3)),
        ('top: "x" type: "Input" input_param { shape { dim: 4611686018427387904 dim: 4 } }', "too-large", "top 'x'", (2**62, 4)),
        ('bottom: "d" top: "i" type: "InnerProduct" inner_product_param { num_output: 2147483648 }', "too-large", "blobs[0]", (2147483648, 3)),
        ('bottom: "d" top: "t" type: "Tile" tile_param { tiles: 2147483647 }', "too-large", "top 't'", (2, 6442450941)),
        ('top: "p" type: "Parameter" parameter_param { shape { dim: -3 } }', "out-of-range", "blobs[0]", (-3,)),
    ],
)  # fmt: skip
def test_a_blob_of_an_impossible_size_is_refused_by_name(text: str, code: str, field: str, value: object) -> None:
    first = X.replace('"x"', '"d"')
    with pytest.raises((NetError, ProblemsError)) as caught:
        _graph(first + f'layer {{ name: "big" {text} }}')
    error, *_ = getattr(caught.value, "problems", (caught.value,))
    assert (error.code, error.line, error.layer, error.field) == (code, 2, "big", field)
    assert error.value == value


@pytest.mark.parametrize("name", ["in", "for", "None", "lambda", "self", "x.y", "3a/1x1"])
def test_layers_and_blobs_may_be_called_what_python_cannot_call_them(name: str) -> None:
    text = (
        f'layer {{ name: "{name}0" type: "Input" top: "{name}" input_param {{ shape {{ dim: 2 }} }} }}\n'
        f'layer {{ name: "{name}" type: "AbsVal" bottom: "{name}" top: "y" }}'
    )
    net = load_net(_net(text))
    assert net.inputs == (name,)
    assert net(torch.tensor([-1.0, 2.0])).tolist() == [1, 2]
