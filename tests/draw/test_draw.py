"""Diagrams of nets show their layers and blobs, in the requested direction and phase."""

import io
import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from caffe_compat import draw
from caffe_compat.draw.layout import layout
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import parse_text, read_net
from caffe_compat.schema.caffe_pb2 import NetParameter
from lq_emotion import prototxt


def drawn(net, fmt="png", **options):
    return draw.encode(draw.diagram(net, **options), fmt)


def dot_text(net, **options):
    return drawn(net, "dot", **options).decode()


NET = """
name: "small"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 64 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } data_param { batch_size: 100 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
        convolution_param { num_output: 20 kernel_size: 5 pad: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
RED, GREEN, ORANGE, VIOLET = (255, 80, 80), (144, 238, 144), (255, 153, 0), (204, 51, 255)


@pytest.fixture
def net():
    return parse_text(NET, NetParameter)


def chain(count):
    layers = (f'layer {{ name: "r{i}" type: "ReLU" bottom: "b{i}" top: "b{i + 1}" }}' for i in range(count))
    return parse_text("\n".join(layers), NetParameter)


def pixels(content):
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def centre(image, colour):
    """Mean row and column of the pixels of a colour."""
    rows, columns = np.nonzero((image == colour).all(axis=2))
    assert rows.size > 100
    return rows.mean(), columns.mean()


def test_the_dot_text_has_each_node_once_and_each_arrow(net):
    assert dot_text(net, phase="TEST") == (
        """digraph "small" {
rankdir=LR;
n0 [label="data\\n(Data)", shape=record, style=filled, fillcolor="#6495ED"];
n1 [label="data", shape=octagon, style=filled, fillcolor="#E0E0E0"];
n2 [label="label", shape=octagon, style=filled, fillcolor="#E0E0E0"];
n3 [label="conv\\n(Convolution)\\nkernel size: 5\\nstride: 1\\npad: 2", shape=record, style=filled, fillcolor="#FF5050"];
n4 [label="conv", shape=octagon, style=filled, fillcolor="#E0E0E0"];
n5 [label="relu\\n(ReLU)", shape=record, style=filled, fillcolor="#90EE90"];
n6 [label="pool\\n(Pooling AVE)\\nkernel size: 2x3\\nstride: 2\\npad: 0", shape=record, style=filled, fillcolor="#FF9900"];
n7 [label="pool", shape=octagon, style=filled, fillcolor="#E0E0E0"];
n8 [label="ip\\n(InnerProduct)", shape=record, style=filled, fillcolor="#CC33FF"];
n9 [label="ip", shape=octagon, style=filled, fillcolor="#E0E0E0"];
n10 [label="loss\\n(SoftmaxWithLoss)", shape=record, style=filled, fillcolor="#6495ED"];
n11 [label="loss", shape=octagon, style=filled, fillcolor="#E0E0E0"];
n0 -> n1 [label="Batch 100"];
n0 -> n2 [label="Batch 100"];
n1 -> n3;
n3 -> n4 [label="20"];
n4 -> n5;
n5 -> n4;
n4 -> n6;
n6 -> n7;
n7 -> n8;
n8 -> n9 [label="10"];
n9 -> n10;
n2 -> n10;
n10 -> n11;
}
"""
    )


def test_without_a_phase_all_layers_are_drawn_with_their_phases(net):
    text = dot_text(net)
    assert text.count("(Data)") == 2
    assert "phase: TRAIN" in text
    assert "Batch 64" in text
    assert "Batch 100" in text


def test_stages_select_layers_like_phases():
    net = parse_text(
        """layer { name: "a" type: "ReLU" bottom: "x" top: "y" include { stage: "deploy" } }
           layer { name: "b" type: "ReLU" bottom: "x" top: "z" exclude { stage: "deploy" } }""",
        NetParameter,
    )
    assert '"a\\n(ReLU)"' in dot_text(net, phase="TEST", stages=("deploy",))
    assert '"a\\n(ReLU)"' not in dot_text(net, phase="TEST")
    assert '"b\\n(ReLU)"' in dot_text(net, phase="TEST")


def test_edge_labels_and_learning_rate_multipliers_are_optional(net):
    plain = dot_text(net, label_edges=False)
    assert "Batch" not in plain
    assert "lr mult" not in plain
    labelled = dot_text(net, display_lrm=True, rankdir="TB")
    assert '"conv (Convolution) kernel size: 5 stride: 1 pad: 2 lr mult: 1.0, 2.0"' in labelled
    assert '"ip (InnerProduct) lr mult: 1.0, 1.0"' in labelled


def test_quotes_and_record_separators_are_escaped():
    net = NetParameter(name='a "b"')
    net.layer.add(name="x|y\\z", type="ReLU", bottom=['q"'], top=["t"])
    text = dot_text(net)
    assert 'digraph "a \\"b\\""' in text
    assert r'"x\|y\\z\n(ReLU)"' in text
    assert '"q\\""' in text


def test_v1_layers_and_legacy_inputs_are_drawn():
    net = parse_text(
        """input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
           layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
           layers { name: "r" type: RELU bottom: "c" top: "c" }""",
        NetParameter,
    )
    before = str(net)
    text = dot_text(net)
    assert [kind in text for kind in ("(Input)", "(Convolution)", "(ReLU)")] == [True] * 3
    assert str(net) == before


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_the_text(net):
    process = subprocess.run(["dot", "-Tplain"], input=dot_text(net), capture_output=True, text=True, check=True)
    assert process.stdout.count("\nnode ") == 13


@pytest.mark.parametrize(
    ("rankdir", "axis", "sign"), [("LR", 1, 1), ("RL", 1, -1), ("TB", 0, 1), ("BT", 0, -1)], ids=str
)
def test_the_figure_flows_in_the_requested_direction(net, rankdir, axis, sign):
    image = pixels(drawn(net, "png", rankdir=rankdir, phase="TRAIN"))
    places = [centre(image, colour)[axis] for colour in (RED, ORANGE, VIOLET)]
    assert places == sorted(places, reverse=sign < 0)
    assert (image.shape[axis] > image.shape[1 - axis]) or rankdir in ("TB", "BT")


def test_an_in_place_layer_does_not_stand_between_its_blob_and_the_next_layer(net):
    image = pixels(drawn(net, "png", phase="TRAIN"))
    assert centre(image, RED)[1] < centre(image, GREEN)[1]
    assert abs(centre(image, GREEN)[1] - centre(image, ORANGE)[1]) < 60


def test_an_svg_is_well_formed_reproducible_and_keeps_text_as_text(net):
    content = drawn(net, "svg", phase="TEST")
    root = ET.fromstring(content)
    texts = ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"conv", "(Convolution)", "Batch 100", "kernel size: 2x3", "(SoftmaxWithLoss)"} <= set(texts)
    assert drawn(net, "svg", phase="TEST") == content


def test_every_format_begins_with_its_signature(net):
    heads = {fmt: drawn(net, fmt)[:8] for fmt in draw.FORMATS}
    assert heads["pdf"].startswith(b"%PDF")
    assert heads["png"] == b"\x89PNG\r\n\x1a\n"
    assert heads["dot"] == heads["gv"] == heads["raw"] == b"digraph "
    assert heads["svg"].startswith(b"<?xml")
    assert heads["ps"] == heads["eps"] == b"%!PS-Ado"
    assert heads["jpg"] == heads["jpeg"]
    assert heads["jpg"].startswith(b"\xff\xd8\xff")


def test_names_with_formulas_and_missing_glyphs_are_drawn():
    net = NetParameter()
    net.layer.add(name="$x^2_\u4e2d$", type="ReLU", bottom=["a&b<c>"], top=["\U0001f984"])
    assert ET.fromstring(drawn(net, "svg")) is not None
    assert drawn(net, "png")


def test_an_empty_net_is_an_empty_figure():
    assert dot_text(NetParameter()) == 'digraph "Net" {\nrankdir=LR;\n}\n'
    assert pixels(drawn(NetParameter(), "png")).size


def test_the_authors_nets_are_drawn_in_both_phases():
    nets = [name for name in prototxt.available() if "solver" not in name]
    assert nets
    for name in nets:
        net = read_net(prototxt.path(name))
        for phase in ("TRAIN", "TEST"):
            text = dot_text(net, phase=phase)
            assert text.count("(Convolution)") == sum(layer.type == "Convolution" for layer in net.layer)


def test_a_figure_too_large_for_viewers_gets_a_lower_resolution(monkeypatch):
    wide = pixels(drawn(chain(40)))
    monkeypatch.setattr("caffe_compat.draw.figure.SIDE", 2000)
    assert pixels(drawn(chain(40))).shape[1] in (1999, 2000)
    assert wide.shape[1] > 5000
    monkeypatch.setattr("caffe_compat.draw.figure.AREA", 10_000)
    assert np.prod(pixels(drawn(chain(40))).shape[:2]) == pytest.approx(10_000, rel=0.1)


def test_the_suffix_of_the_file_selects_the_format(net, tmp_path):
    for name in ("a.png", "b.SVG", "c.dot"):
        draw.write(draw.diagram(net, rankdir="tb"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b.SVG").read_bytes()
    assert "rankdir=TB" in (tmp_path / "c.dot").read_text()
    draw.write(draw.diagram(net), tmp_path / "d", "raw")
    assert (tmp_path / "d").read_text() == dot_text(net)


@pytest.mark.parametrize(
    ("name", "options", "field", "hint"),
    [
        ("a.qqq", {}, "format", "png"),
        ("a.pgn", {}, "format", "did you mean 'png'"),
        ("a", {}, None, "svg, png"),
        ("a.png", {"rankdir": "UP"}, "rankdir", "LR, TB, BT or RL"),
        ("a.png", {"phase": "test"}, "phase", ""),
    ],
)
def test_invalid_options_are_refused_before_a_file_is_written(net, tmp_path, name, options, field, hint):
    with pytest.raises(CaffeCompatError) as caught:
        draw.write(draw.diagram(net, **options), tmp_path / name)
    assert caught.value.field == field
    assert hint in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


def random_graph(seed, count=40):
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, count, (60, 2))
    return (
        [float(v) for v in rng.integers(5, 60, count)],
        [float(v) for v in rng.integers(5, 30, count)],
        [(int(a), int(b)) for a, b in pairs],
    )


@pytest.mark.parametrize("seed", range(8))
def test_boxes_do_not_overlap_and_arrows_follow_the_flow_unless_turned(seed):
    depths, breadths, edges = random_graph(seed)
    placed = layout(depths, breadths, edges, (30.0, 10.0))
    count = len(depths)
    for a in range(count):
        for b in range(a):
            along = abs(placed.along[a] - placed.along[b]) - (depths[a] + depths[b]) / 2
            across = abs(placed.across[a] - placed.across[b]) - (breadths[a] + breadths[b]) / 2
            assert max(along, across) > 9.99
    for (a, b), turned, route in zip(edges, placed.turned, placed.routes, strict=True):
        if a != b:
            assert (placed.along[a] < placed.along[b]) == (not turned)
        steps = [placed.along[a], *(x for x, _ in route), placed.along[b]]
        assert steps == sorted(steps, reverse=turned)
    low = min(v - w / 2 for v, w in zip(placed.across, breadths, strict=True))
    high = max(v + w / 2 for v, w in zip(placed.across, breadths, strict=True))
    assert low >= -1e-6
    assert high <= placed.size[1] + 1e-6


def test_only_arrows_that_close_a_cycle_are_turned():
    placed = layout([1.0] * 4, [1.0] * 4, [(0, 1), (1, 2), (2, 1), (2, 3), (0, 3)], (1.0, 1.0))
    assert placed.turned == [False, False, True, False, False]
    assert placed.along == [0.5, 2.5, 4.5, 6.5]
    assert [x for x, _ in placed.routes[4]] == [2.0, 3.0, 4.0, 5.0]


def test_two_crossed_pairs_are_uncrossed():
    placed = layout([1.0] * 4, [1.0] * 4, [(0, 3), (1, 2)], (1.0, 1.0))
    assert (placed.across[0] < placed.across[1]) == (placed.across[3] < placed.across[2])


def test_a_source_is_one_rank_before_its_target():
    placed = layout([1.0] * 5, [1.0] * 5, [(0, 1), (1, 2), (2, 3), (4, 3)], (1.0, 1.0))
    assert placed.along[4] == placed.along[2]


def test_all_text_lies_inside_the_figure(net):
    root = ET.fromstring(drawn(net, "svg", phase="TRAIN"))
    width = float(re.match(r"[\d.]+", root.attrib["width"])[0])
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    places = [re.search(r"translate\(([\d.-]+) ", text.attrib.get("transform", "")) for text in texts]
    columns = [float(place[1]) for place in places if place]
    assert columns
    assert all(0 < column < width for column in columns)
