"""What the builders of published definitions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from caffe_compat.definition.netspec import NetSpec, layers
from caffe_compat.formats.files import format_text, parse_text
from caffe_compat.schema import caffe_pb2 as pb

XAVIER: Mapping[str, Any] = {"weight_filler": {"type": "xavier"}}
ZERO_BIAS: Mapping[str, Any] = {"bias_filler": {"type": "constant", "value": 0.0}}


def input_layer(spec: NetSpec, shape: Sequence[int], blob: str = "data") -> Any:
    """Add the layer ``input``, whose top is `blob`, as Caffe upgrades ``input: "data"``; return the top."""
    top = layers.Input(shape={"dim": list(shape)})
    spec[blob] = top
    spec["input"] = top.fn
    return top


def rates(*pairs: tuple[float, float]) -> dict[str, Any]:
    """Return lr_mult and decay_mult of each blob of a layer as its ``param``."""
    return {"param": [{"lr_mult": rate, "decay_mult": decay} for rate, decay in pairs]}


def message(spec: NetSpec, name: str = "", fork_fields: Mapping[str, str] | None = None) -> pb.NetParameter:
    """Return the net of a spec.

    Parameters
    ----------
    name : of the net.
    fork_fields : layer -> text of its fields that Caffe 1.0 does not have.
    """
    net = spec.to_proto()
    if name:
        net.name = name
    if not fork_fields:
        return net
    bodies = (format_text(layer) + fork_fields.get(layer.name, "") for layer in net.layer)
    head = f'name: "{name}"\n' if name else ""
    return parse_text(head + "".join(f"layer {{\n{body}\n}}\n" for body in bodies), pb.NetParameter)
