"""``upgrade``, ``show`` and ``layers``: looking at definitions."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from google.protobuf.message import Message

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.files import is_hdf5, read_binary, read_net, read_solver, read_weights_h5, write_binary, write_text
from caffe_compat.layers import REGISTRY, Layer
from caffe_compat.net import load_net
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.proto.marks import all_forks
from caffe_compat.proto.sniff import is_text
from caffe_compat.upgrade import upgrade_net, upgrade_solver


class Row(TypedDict):
    """One layer, shown."""

    layer: str
    type: str
    bottoms: list[str]
    tops: dict[str, list[int]]
    blobs: list[list[int]]
    parameters: int


def _says_text(path: str) -> bool:
    with Path(path).open("rb") as file:
        return is_text(file.read(4096))


def upgrade(args: Namespace) -> int:
    """Write the current form of a net or solver."""
    if args.kind != "solver" and not _says_text(args.source):
        net, store = read_binary(args.source, pb.NetParameter)
        write_binary(upgrade_net(net), args.target, store)
    elif args.kind == "solver" or (args.kind == "auto" and is_solver(args.source)):
        write_text(upgrade_solver(read_solver(args.source)), args.target)
    else:
        write_text(upgrade_net(read_net(args.source)), args.target)
    return 0


def is_solver(path: str) -> bool:
    """Tell whether a text fits SolverParameter better than NetParameter."""

    def strangers(message: Message) -> int:
        return len(all_forks(message))

    try:
        as_solver = strangers(read_solver(path))
    except CaffeCompatError:
        return False
    try:
        return as_solver < strangers(read_net(path))
    except CaffeCompatError:
        return True


def show(args: Namespace) -> int:
    """List layers, shapes and parameters."""
    if is_hdf5(args.file):
        rows = [
            _row(name, "", blobs=[blob.shape for blob in blobs if blob is not None])
            for name, blobs in read_weights_h5(args.file).items()
        ]
    elif _says_text(args.file):
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
    _write_table(table, right=4)
    return 0


def _net_rows(args: Namespace) -> list[Row]:
    stages = [stage for stage in args.stage.split(",") if stage]
    shapes = dict(args.input) or None
    net = load_net(args.file, phase=args.phase, stages=stages, level=args.level, input_shapes=shapes, losses=True)
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


def layers(args: Namespace) -> int:
    """List the supported layer types and what becomes of each of their fields."""
    known = [REGISTRY[name] for name in sorted(REGISTRY)]
    if args.json:
        found = {
            layer.type: {
                "summary": layer.summary,
                "fields": {
                    name: {
                        "read": list(account.read),
                        "ignored": dict(account.ignored),
                        "refused": dict(account.rejected),
                    }
                    for name, account in layer.accounts.items()
                },
            }
            for layer in known
        }
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    if args.markdown:
        sys.stdout.write(_markdown(known))
        return 0
    table = [("type", "does", "not supported")]
    table += [
        (layer.type, layer.summary, "; ".join(sorted({f for a in layer.accounts.values() for f in a.rejected})))
        for layer in known
    ]
    _write_table(table)
    return 0


def _markdown(known: Sequence[Layer]) -> str:
    """Return the support table as the README has it."""
    lines = ["| layer | does | reads |", "|---|---|---|"]
    for layer in known:
        fields = [field for account in layer.accounts.values() for field in account.read]
        lines.append(f"| {layer.type} | {layer.summary} | {', '.join(fields)} |")
    return "\n".join(lines) + "\n"


def _write_table(table: Sequence[tuple[str, ...]], right: int | None = None) -> None:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [
            cell.rjust(width) if column == right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
