"""Graphs of definitions as tests write them."""

from collections.abc import Sequence

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.graph import graph
from caffe_compat.schema import caffe_pb2 as pb


def build_graph(
    net: pb.NetParameter,
    *,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: graph.InputShapes | None = None,
    fork: str | Sequence[str] | None = None,
) -> graph.NetGraph:
    """Return the graph of a net in a state."""
    state = net_state(phase, stages=stages, level=level)
    return graph.build_graph(prepare(net, state, fork=fork), input_shapes=input_shapes)
