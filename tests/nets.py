"""Graphs and nets of definitions as tests write them."""

from collections.abc import Sequence

from caffe_compat.build import net as build
from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.text import parse_text
from caffe_compat.graph import graph
from caffe_compat.schema import caffe_pb2 as pb


def build_graph(
    net: pb.NetParameter | str,
    *,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: graph.InputShapes | None = None,
    fork: str | Sequence[str] | None = None,
) -> graph.NetGraph:
    """Return the graph of a net, or of the text of one in net.prototxt, in a state."""
    net = parse_text(net, pb.NetParameter, file="net.prototxt") if isinstance(net, str) else net
    state = net_state(phase, stages=stages, level=level)
    return graph.build_graph(prepare(net, state, fork=fork), input_shapes=input_shapes)


def build_net(net: pb.NetParameter | str, *, seed: int | None = 0, exact: bool = False, **state) -> build.CaffeNet:
    """Return the module of such a graph."""
    return build.build_net(build_graph(net, **state), seed=seed, exact=exact)
