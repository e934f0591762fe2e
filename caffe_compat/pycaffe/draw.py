"""``caffe.draw``: draw nets without Graphviz and pydot; see :mod:`caffe_compat.draw`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from caffe_compat.draw import Diagram, diagram, encode, write
from caffe_compat.draw.content import layer_lines, lr_mults
from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}


def get_pooling_types_dict() -> dict[int, str]:
    """Return the names of the pooling methods by number."""
    return {v.number: v.name for v in caffe_pb2.PoolingParameter.PoolMethod.DESCRIPTOR.values}


def get_edge_label(layer: caffe_pb2.LayerParameter) -> str:
    """Return the label of the arrows out of a layer, ``'""'`` if there is none."""
    return facts(layer.type).drawn_output(layer) or '""'


def get_layer_lr_mult(layer: caffe_pb2.LayerParameter) -> tuple[float, float]:
    """Return the learning-rate multipliers of weights and bias.

    Raises
    ------
    ValueError
        If the layer is not a Convolution, Deconvolution or InnerProduct, or has more than two parameters.
    """
    if not facts(layer.type).drawing.lr_mult:
        raise ValueError(f"{layer.type} layers do not have a learning rate multiplier")
    if len(layer.param) > 2:
        raise ValueError(f"Could not parse the learning rate multiplier: layer {layer.name!r} has {len(layer.param)}")
    return lr_mults(layer)


def get_layer_label(layer: caffe_pb2.LayerParameter, rankdir: str, display_lrm: bool = False) -> str:  # noqa: FBT001, FBT002
    """Return the text of a layer's box, in quotes."""
    separator = " " if rankdir in ("TB", "BT") else r"\n"
    return f'"{separator.join(layer_lines(layer, display_lrm=display_lrm))}"'


def choose_color_by_layertype(layertype: str) -> str:
    """Return the colour of layers of a type, ``#RRGGBB``."""
    return facts(layertype).drawing.colour


class Graph:
    """A drawn net with the methods of pydot's graphs: ``to_string()``, ``create_png()``, ``write_svg(path)``, ..."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram

    def to_string(self) -> str:
        """Return the graph in Graphviz's DOT language."""
        return encode(self.diagram, "raw").decode()

    def create(self, prog: object = None, format: str = "ps") -> bytes:  # noqa: A002  (pydot's name)
        """Return the diagram in a format."""
        del prog
        return encode(self.diagram, format)

    def write(self, path: str | os.PathLike[str], prog: object = None, format: str = "raw") -> bool:  # noqa: A002
        """Write the diagram to a file, atomically."""
        del prog
        write(self.diagram, path, format)
        return True

    def get_name(self) -> str:
        """Return the net's name."""
        return self.diagram.name

    def __getattr__(self, name: str) -> Callable[..., Any]:
        verb, _, fmt = name.partition("_")
        if fmt and verb == "create":
            return lambda prog=None: self.create(prog, fmt)
        if fmt and verb == "write":
            return lambda path, prog=None: self.write(path, prog, fmt)
        raise AttributeError(f"graphs of caffe_compat have no {name!r}: they are drawn, not edited")


def get_pydot_graph(
    caffe_net: caffe_pb2.NetParameter,
    rankdir: str,
    label_edges: bool = True,  # noqa: FBT001, FBT002
    phase: int | None = None,
    display_lrm: bool = False,  # noqa: FBT001, FBT002
) -> Graph:
    """Draw a net as a graph.

    Parameters
    ----------
    rankdir : ``LR``, ``TB``, ``BT`` or ``RL``.
    label_edges : label arrows with numbers of outputs and batch sizes.
    phase : ``caffe.TRAIN``, ``caffe.TEST``, or None for all layers.
    display_lrm : show the learning rate multipliers.
    """
    name = None if phase is None else caffe_pb2.Phase.Name(phase)
    return Graph(diagram(caffe_net, rankdir=rankdir, phase=name, label_edges=label_edges, display_lrm=display_lrm))


def draw_net(
    caffe_net: caffe_pb2.NetParameter,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,  # noqa: FBT001, FBT002
) -> bytes:
    """Draw a net in the format of a file extension."""
    return get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).create(format=ext)


def draw_net_to_file(
    caffe_net: caffe_pb2.NetParameter,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,  # noqa: FBT001, FBT002
) -> None:
    """Draw a net to a file in the format of its extension; ``.raw`` is Graphviz's DOT language."""
    ext = os.fspath(filename).rpartition(".")[2]
    get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).write(filename, format=ext)
