"""Include and exclude rules: phase, level, stages."""

import pytest

from caffe_compat.definition.filtering import filter_net, net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.refusals import refused


def _kept(rules: str, **state: object) -> bool:
    net = parse_text(f'layer {{ name: "a" type: "ReLU" {rules} }}', pb.NetParameter, file="n.prototxt")
    return bool(filter_net(net, net_state(**state)).layer)


@pytest.mark.parametrize(
    ("rules", "state", "kept"),
    [
        ("", {}, True),
        ("include { phase: TEST }", {"phase": "TEST"}, True),
        ("include { phase: TEST }", {"phase": "TRAIN"}, False),
        ("exclude { phase: TEST }", {"phase": "TEST"}, False),
        ("exclude { phase: TEST }", {"phase": "TRAIN"}, True),
        ("include { min_level: 2 }", {"level": 1}, False),
        ("include { min_level: 2 }", {"level": 2}, True),
        ("include { max_level: 2 }", {"level": 3}, False),
        ("include { max_level: 2 }", {"level": 2}, True),
        ("include { max_level: 2 }", {"level": -1}, True),
        ('include { stage: "a" stage: "b" }', {"stages": ["a"]}, False),
        ('include { stage: "a" stage: "b" }', {"stages": ["b", "a"]}, True),
        ('include { not_stage: "a" }', {"stages": ["a"]}, False),
        ('include { not_stage: "a" }', {"stages": ["b"]}, True),
        ('include { phase: TEST stage: "a" } include { phase: TRAIN }', {"phase": "TRAIN"}, True),
        ('include { phase: TEST stage: "a" } include { phase: TRAIN }', {"phase": "TEST"}, False),
        ('exclude { phase: TEST stage: "a" }', {"phase": "TEST"}, True),
        ('exclude { phase: TEST } exclude { stage: "a" }', {"phase": "TRAIN", "stages": ["a"]}, False),
    ],
)  # fmt: skip
def test_a_layer_belongs_to_the_states_its_rules_name(rules: str, state: dict[str, object], kept: bool) -> None:
    assert _kept(rules, **state) is kept


def test_both_kinds_of_rules_are_refused_with_the_line() -> None:
    with refused("conflict", file="n.prototxt", line=1, layer="a"):
        _kept("include { } exclude { }")


def test_the_state_is_written_into_the_net() -> None:
    state = filter_net(pb.NetParameter(), net_state("TRAIN", stages=["s"], level=3)).state
    assert (state.phase, list(state.stage), state.level) == (pb.TRAIN, ["s"], 3)


def test_the_nets_own_stages_are_added_and_its_level_is_not_used() -> None:
    text = """state { stage: "a" level: 3 phase: TRAIN }
        layer { name: "x" type: "ReLU" include { stage: "a" stage: "b" phase: TEST } }
        layer { name: "y" type: "ReLU" include { min_level: 3 } }"""
    message = parse_text(text, pb.NetParameter)
    assert not prepare(message).message.layer
    net = prepare(message, net_state(stages=["b", "a"]))
    assert ([layer.name for layer in net.message.layer], list(net.state.stage)) == (["x"], ["a", "b"])
