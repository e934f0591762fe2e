"""``show``: list the layers of a net or a file of weights."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from caffe_compat.cli.flags import add_inputs, add_json, add_state, prepared
from caffe_compat.cli.table import write_table
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import FileError
from caffe_compat.formats.files import is_hdf5, read_binary, read_weights_h5
from caffe_compat.formats.kinds import is_solver, looks_like_text
from caffe_compat.graph.costs import caffe_data_bytes, top_bytes
from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.layers import Shape
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.feeds import feed


@dataclass
class LayerRow:
    """A layer of the listing."""

    layer: str
    type: str = ""
    bottoms: Sequence[str] = ()
    tops: Mapping[str, Shape] = field(default_factory=dict)
    blobs: Sequence[Shape] = ()
    macs: int = 0
    memory: int = 0
    parameters: int = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = sum(map(math.prod, self.blobs))


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("file", help="net definition (prototxt), caffemodel or HDF5 weights")
    part.add_argument("--phase", choices=("TRAIN", "TEST"), default="TEST", help="phase of the net (default TEST)")
    add_json(part)
    add_state(part)
    add_inputs(part)


def run(args: Namespace) -> int:
    """List layers, shapes, parameters and costs."""
    totals: dict[str, int] = {}
    if is_hdf5(args.file):
        rows = [
            LayerRow(name, blobs=[blob.shape for blob in blobs if blob is not None])
            for name, blobs in read_weights_h5(args.file).items()
        ]
    elif looks_like_text(args.file):
        if is_solver(args.file):
            raise FileError("is a solver, expected a net", code="wrong-format", file=args.file)
        graph = _graph(args)
        rows = [_node_row(graph, node) for node in graph.nodes]
        totals = {
            "macs": sum(row.macs for row in rows),
            "memory": sum(row.memory for row in rows),
            "memory_required_for_data": caffe_data_bytes(graph),
        }
    else:
        net, store = read_binary(args.file, pb.NetParameter)
        rows = [
            LayerRow(layer.name, layer.type, list(layer.bottom), blobs=[store.data(b).shape for b in layer.blobs])
            for layer in upgrade_net(net).layer
        ]
    totals["parameters"] = sum(row.parameters for row in rows)
    if args.json:
        sys.stdout.write(json.dumps({"layers": list(map(asdict, rows)), **totals}) + "\n")
    else:
        _write(rows, totals)
    return 0


def _write(rows: Sequence[LayerRow], totals: Mapping[str, int]) -> None:
    table = [("layer", "type", "tops", "blobs", "MACs", "memory", "parameters")]
    table += [
        (
            row.layer,
            row.type,
            " ".join(f"{top} {_x(shape)}" for top, shape in row.tops.items()),
            " ".join(map(_x, row.blobs)),
            f"{row.macs:,}" if row.macs else "",
            _bytes(row.memory) if row.memory else "",
            f"{row.parameters:,}" if row.parameters else "",
        )
        for row in rows
    ]
    sums = (f"{totals.get('macs', 0):,}", _bytes(totals.get("memory", 0)), f"{totals['parameters']:,}")
    table.append((f"{len(rows)} layers", "", "", "", *sums))
    if "macs" in totals:
        write_table(table, {4, 5, 6})
        weights = _bytes(4 * totals["parameters"])
        caffe_memory = _bytes(totals["memory_required_for_data"])
        sys.stdout.write(f'parameters take {weights}; Caffe\'s "Memory required for data" is {caffe_memory}\n')
    else:
        write_table([(*row[:4], row[6]) for row in table], {4})


def _graph(args: Namespace) -> NetGraph:
    with feed(prepared(args.file, args), input_shapes=dict(args.input)) as data:
        for note in data.notes:
            sys.stderr.write(f"{note}\n")
        return data.graph


def _node_row(graph: NetGraph, node: LayerNode) -> LayerRow:
    tops = {top: graph.shapes[top] for top in node.tops}
    blobs = [slot.blob.shape for slot in node.slots if slot.owner is None]
    macs = node.layer.macs(node.spec)
    return LayerRow(node.name, node.type, node.bottoms, tops, blobs, macs, top_bytes(graph, node))


def _bytes(count: int) -> str:
    """Format a number of bytes in the largest unit in which it is at least 1."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _x(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
