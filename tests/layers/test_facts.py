"""Statements of layer types about themselves are true, and nothing outside their classes keeps tables of them."""

import ast
import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from caffe_compat.graph.backward import needs
from caffe_compat.layers import REGISTRY, Drawing, Gradient, Layer, Reads, View, every_layer, facts, register
from caffe_compat.layers.base import parameter_descriptor, schema_of
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint import lint_net
from tests.conftest import ROOT
from tests.layers.agreement import single
from tests.layers.examples import LAYERS, example_inputs, example_net
from tests.nets import build_graph

NAMES = {layer.type for layer in every_layer()}

pytestmark = pytest.mark.usefixtures("folder")

HISTORY = ("caffe_compat/layers/", "caffe_compat/schema/", "caffe_compat/definition/upgrade.py")
"""The layers themselves, and the names that layer types have had in the file format."""


def tables(text):
    """Yield the lines of collections, and of chains of comparisons, that name two layer types or more."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Set(elts=items) | ast.List(elts=items) | ast.Tuple(elts=items) | ast.Dict(keys=items):
                names = items
            case ast.BoolOp(values=values):
                names = [side for value in values if isinstance(value, ast.Compare) for side in value.comparators]
            case _:
                continue
        if sum(isinstance(item, ast.Constant) and item.value in NAMES for item in names) > 1:
            yield node.lineno


@pytest.mark.parametrize("folder", ["caffe_compat", "matlab_ports", "models"])
def test_no_table_keyed_by_layer_type_stands_outside_the_classes(folder):
    files = [
        path for path in (ROOT / folder).rglob("*.py") if not path.relative_to(ROOT).as_posix().startswith(HISTORY)
    ]
    assert files
    assert not [f"{path.relative_to(ROOT)}:{line}" for path in files for line in tables(path.read_text("utf-8"))]


@pytest.mark.parametrize("text", ['{"ReLU", "Split"}', 'x in ("ReLU", "Split")', '{"ReLU": 1, "Split": 2}',
                                  'x == "ReLU" or x == "Split"'])  # fmt: skip
def test_the_search_for_tables_finds_them(text):
    assert list(tables(text)) == [1]
    assert not list(tables(text.replace("Split", "split")))


def run(name):
    """The node of an example, its module, bottoms and tops."""
    net = example_net(name)
    node, inputs = net.caffe.nodes[-1], example_inputs(net, name)
    bottoms = [inputs[blob].requires_grad_() for blob in node.bottoms]
    module = net.get_submodule(node.key)
    tops = module(*bottoms)
    return node, module, bottoms, [tops] if isinstance(tops, torch.Tensor) else list(tops or ())


COMPUTED = [name for name, layer in LAYERS.items() if not layer.is_data and name not in ("Split", "Silence")]
"""The types with a module to run: a Split's tops are its bottom, and Silence has none."""


@pytest.mark.parametrize("name", COMPUTED)
def test_gradients_pass_where_the_type_says_so(name):
    node, module, bottoms, tops = run(name)
    layer = node.layer
    differentiable = [top for top in tops if top.requires_grad]
    assert bool(differentiable) == (layer.gradient is Gradient.PASSES)
    if not differentiable:
        return
    leaves = [*bottoms, *module.parameters()]
    gradients = torch.autograd.grad([top.sum() for top in differentiable], leaves, allow_unused=True)
    for index in layer.no_gradient:
        if index < len(bottoms):
            assert gradients[: len(bottoms)][index] is None
    passing = {i % len(bottoms) for i in layer.no_gradient if i < len(bottoms)} if bottoms else set()
    assert any(grad is not None for i, grad in enumerate(gradients) if i not in passing)


@pytest.mark.parametrize("name", COMPUTED)
def test_multiply_accumulates_are_those_that_torch_counts(name):
    node, module, bottoms, _ = run(name)
    with FlopCounterMode(display=False) as counter:
        module(*bottoms)
    assert node.layer.macs(node.spec) == counter.get_total_flops() // 2


def label(layer):
    """Return a name for a test of a layer type."""
    return f"{'/'.join(layer.forks)} {layer.type}".strip()


@pytest.mark.parametrize("name", COMPUTED)
def test_values_views_and_signs_are_as_stated(name):
    node, _, bottoms, tops = run(name)
    layer, param = node.layer, node.spec.param
    if layer.top_view(param) is not View.NONE:
        assert tops[0].data_ptr() == bottoms[0].data_ptr()
    if layer.keeps_values:
        values = {value for bottom in bottoms for value in bottom.flatten().tolist()}
        assert all(value in values for top in tops for value in top.flatten().tolist())
    if layer.keeps_sign:
        assert torch.equal(tops[0][tops[0] != 0] > 0, bottoms[0][tops[0] != 0] > 0)
    if layer.identity_in_test and node.spec.phase == "TEST":
        assert torch.equal(tops[0], bottoms[0])
    whole = layer.whole_number_bottoms(len(bottoms))
    assert all(0 <= index < len(bottoms) for index in whole)
    assert len(layer.drawn_lines(param)) >= 1
    assert re.fullmatch("#[0-9A-F]{6}", layer.drawing.colour)


@pytest.mark.parametrize("layer", every_layer(), ids=label)
def test_names_in_facts_are_those_of_the_schema_and_of_types(layer):
    if layer.weight_message:
        schema = schema_of(layer, next(iter(layer.forks), ""))
        assert "weight_filler" in parameter_descriptor(layer.weight_message, schema).fields_by_name
        assert layer.weight_message in layer.accounts
        assert type(layer).blobs is not Layer.blobs
    assert set(layer.unsuited_scores) <= NAMES
    assert layer.is_loss or not layer.unsuited_scores
    assert not layer.clears_in_place or layer.in_place_fault


def test_an_unknown_type_has_the_defaults():
    unknown = facts("NoSuchType")
    assert (unknown.reads, unknown.view, unknown.drawing) == (Reads.NOTHING, View.NONE, Drawing())
    assert unknown.drawn_lines(pb.LayerParameter(type="NoSuchType")) == ["(NoSuchType)"]


class Twist(Layer):
    """A type of the user's own that states facts."""

    type = "Twist"
    reads = Reads.BOTTOM
    unforced = 0
    in_place_fault = "it forgets"
    drawing = Drawing("#123456")

    def module(self, spec):
        return torch.nn.Identity()

    def macs(self, spec):
        return 7


@pytest.fixture
def twist():
    register(Twist)
    yield
    REGISTRY.pop("Twist")


@pytest.mark.usefixtures("twist")
def test_what_a_users_own_type_states_is_used(tmp_path):
    loss = '\nlayer { name: "loss" type: "Reduction" bottom: "x0" top: "loss" loss_weight: 1 }'
    text = single("Twist", [(2, 3)], tops=("x0",)) + loss
    graph = build_graph(text, phase="TRAIN")
    node = graph.nodes[1]
    assert node.layer.macs(node.spec) == 7
    assert needs(graph.nodes, force=True)[1].bottoms == [False]
    assert facts("Twist").drawing.colour == "#123456"
    (tmp_path / "net.prototxt").write_text(text)
    findings = lint_net(tmp_path / "net.prototxt")
    assert [finding.layer for finding in findings if finding.rule == "in-place"] == ["l"]
