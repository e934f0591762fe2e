"""``show``: what a net or a file of weights holds."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from typing import TypedDict

from caffe_compat.cli.flags import add_inputs, add_json, add_state, stages
from caffe_compat.cli.kinds import is_solver, says_text
from caffe_compat.cli.table import write_table
from caffe_compat.errors import FileError
from caffe_compat.files import is_hdf5, read_binary, read_weights_h5
from caffe_compat.net import load_net
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.upgrade import upgrade_net


class Row(TypedDict):
    """One layer, shown."""

    layer: str
    type: str
    bottoms: list[str]
    tops: dict[str, list[int]]
    blobs: list[list[int]]
    parameters: int


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=show)
    part.add_argument("file", help="net definition (prototxt), caffemodel or HDF5 weights")
    part.add_argument("--phase", choices=("TRAIN", "TEST"), default="TEST", help="phase of the net (default TEST)")
    add_json(part)
    add_state(part)
    add_inputs(part)


def show(args: Namespace) -> int:
    """List layers, shapes and parameters."""
    if is_hdf5(args.file):
        rows = [
            _row(name, "", blobs=[blob.shape for blob in blobs if blob is not None])
            for name, blobs in read_weights_h5(args.file).items()
        ]
    elif says_text(args.file):
        if is_solver(args.file):
            raise FileError("this is a solver; a net is expected", file=args.file)
        rows = _net_rows(args)
    else:
        net, store = read_binary(args.file, pb.NetParameter)
        rows = [
            _row(layer.name, layer.type, layer.bottom, blobs=[store.data(blob).shape for blob in layer.blobs])
            for layer in upgrade_net(net).layer
        ]
    if args.json:
        sys.stdout.write(json.dumps({"layers": rows, "parameters": sum(row["parameters"] for row in rows)}) + "\n")
        return 0
    table = [("layer", "type", "tops", "blobs", "parameters")]
    table += [
        (
            row["layer"],
            row["type"],
            " ".join(f"{top} {_x(shape)}" for top, shape in row["tops"].items()),
            " ".join(map(_x, row["blobs"])),
            f"{row['parameters']:,}" if row["parameters"] else "",
        )
        for row in rows
    ]
    table.append((f"{len(rows)} layers", "", "", "", f"{sum(row['parameters'] for row in rows):,}"))
    write_table(table, {4})
    return 0


def _net_rows(args: Namespace) -> list[Row]:
    shapes = dict(args.input) or None
    net = load_net(args.file, phase=args.phase, stages=stages(args), level=args.level, input_shapes=shapes, losses=True)
    graph = net.caffe
    return [
        _row(
            node.name,
            node.type,
            node.bottoms,
            {top: graph.shapes[top] for top in node.tops},
            [slot.blob.shape for slot in node.slots if slot.owner is None],
        )
        for node in graph.nodes
    ]


def _row(
    name: str,
    kind: str,
    bottoms: Iterable[str] = (),
    tops: dict[str, tuple[int, ...]] | None = None,
    blobs: Iterable[tuple[int, ...]] = (),
) -> Row:
    shapes = [list(shape) for shape in blobs]
    return {
        "layer": name,
        "type": kind,
        "bottoms": list(bottoms),
        "tops": {top: list(shape) for top, shape in (tops or {}).items()},
        "blobs": shapes,
        "parameters": sum(map(math.prod, shapes)),
    }


def _x(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
