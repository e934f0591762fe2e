"""caffe.draw has the functions scripts call, and draws what the engine draws."""

import pytest

from caffe_compat.draw import diagram, encode
from caffe_compat.formats.files import parse_text
from caffe_compat.pycaffe import TEST, TRAIN, draw
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter
from tests.refusals import refused

NET = """
name: "tiny"
layer { name: "d" type: "Data" top: "data" data_param { batch_size: 8 } include { phase: TRAIN } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
"""


@pytest.fixture
def net():
    return parse_text(NET, NetParameter)


def layer(text):
    return parse_text(text, LayerParameter)


def test_labels_are_those_of_pycaffe():
    conv = layer('name: "c" type: "Convolution" convolution_param { num_output: 7 kernel_size: 3 stride: 2 pad: 1 }')
    assert draw.get_layer_label(conv, "LR") == r'"c\n(Convolution)\nkernel size: 3\nstride: 2\npad: 1"'
    assert draw.get_layer_label(conv, "TB", True) == (
        '"c (Convolution) kernel size: 3 stride: 2 pad: 1 lr mult: 1.0, 1.0"'
    )
    assert draw.get_edge_label(conv) == "7"
    pool = layer('name: "p" type: "Pooling" pooling_param { kernel_size: 2 stride: 2 pool: AVE }')
    assert draw.get_layer_label(pool, "BT") == '"p (Pooling AVE) kernel size: 2 stride: 2 pad: 0"'
    assert draw.get_edge_label(pool) == '""'
    assert draw.get_edge_label(layer('type: "Data" data_param { batch_size: 5 }')) == "Batch 5"
    assert draw.get_edge_label(layer('type: "InnerProduct" inner_product_param { num_output: 9 }')) == "9"


def test_multipliers_default_to_one_and_belong_to_learning_layers():
    assert draw.get_layer_lr_mult(layer('type: "InnerProduct"')) == (1.0, 1.0)
    assert draw.get_layer_lr_mult(layer('type: "InnerProduct" param { lr_mult: 3 }')) == (3.0, 1.0)
    assert draw.get_layer_lr_mult(layer('type: "Convolution" param { lr_mult: 3 } param { lr_mult: 0 }')) == (3.0, 0.0)
    with pytest.raises(ValueError, match="ReLU layers do not have"):
        draw.get_layer_lr_mult(layer('type: "ReLU"'))
    with pytest.raises(ValueError, match="Could not parse"):
        draw.get_layer_lr_mult(layer('name: "x" type: "Convolution" param {} param {} param {}'))


def test_colours_and_pooling_names_are_those_of_pycaffe():
    kinds = ("Convolution", "Deconvolution", "Pooling", "InnerProduct", "Softmax")
    assert [draw.choose_color_by_layertype(kind) for kind in kinds] == [
        "#FF5050", "#FF5050", "#FF9900", "#CC33FF", "#6495ED",
    ]  # fmt: skip
    assert draw.get_pooling_types_dict() == {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}


def test_a_graph_returns_text_and_images_as_pydots_does(net, tmp_path):
    graph, picture = draw.get_pydot_graph(net, "TB", phase=TRAIN), diagram(net, rankdir="TB", phase="TRAIN")
    assert graph.get_name() == "tiny"
    assert graph.to_string() == encode(picture, "dot").decode()
    assert graph.create_svg() == graph.create(format="svg") == encode(picture, "svg")
    assert graph.write_png(str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert graph.write(str(tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_text() == graph.to_string()
    with pytest.raises(AttributeError, match="drawn, not edited"):
        graph.add_node


def test_phases_are_those_of_the_module(net):
    assert "(Data)" in draw.draw_net(net, "LR", "raw").decode()
    assert "(Data)" in draw.draw_net(net, "LR", "raw", TRAIN).decode()
    assert "(Data)" not in draw.draw_net(net, "LR", ext="raw", phase=TEST).decode()
    assert draw.draw_net(net, "LR").startswith(b"\x89PNG")


def test_a_file_has_the_format_of_its_extension(net, tmp_path):
    draw.draw_net_to_file(net, str(tmp_path / "n.svg"), "RL", TRAIN, True)
    assert (tmp_path / "n.svg").read_bytes() == encode(
        diagram(net, rankdir="RL", phase="TRAIN", display_lrm=True), "svg"
    )
    draw.draw_net_to_file(net, str(tmp_path / "n.raw"))
    assert "rankdir=LR" in (tmp_path / "n.raw").read_text()
    with refused("name-unknown", field="format", value="xyz"):
        draw.draw_net_to_file(net, str(tmp_path / "n.xyz"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.raw", "n.svg"]
