"""Graphs and nets of definitions as tests write them."""

from collections.abc import Sequence
from pathlib import Path

from caffe_compat import load_net
from caffe_compat.build import net as build
from caffe_compat.build.weights import save_weights
from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.files import read_net, write_text
from caffe_compat.formats.text import parse_text
from caffe_compat.graph import graph
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion import prototxt
from lq_emotion.evaluation.predictor import DEPLOY


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


def write_three_frame_net(folder: Path) -> tuple[Path, Path]:
    """Write the authors' deploy form for three frames a sample, and weights as its fillers draw them."""
    net = read_net(prototxt.path(DEPLOY))
    net.input_dim[1] = 3
    write_text(net, folder / "three.prototxt")
    save_weights(load_net(net, seed=3), folder / "three.caffemodel")
    return folder / "three.prototxt", folder / "three.caffemodel"
