"""``upgrade``: write old definitions and weights in the current format."""

from __future__ import annotations

import argparse
import re

from caffe_compat.definition.upgrade import upgrade_net, upgrade_solver
from caffe_compat.formats.files import read_binary, read_net, read_solver, write_binary, write_text
from caffe_compat.formats.kinds import is_solver, looks_like_text
from caffe_compat.schema import caffe_pb2 as pb


def define(part: argparse.ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("source", help="net (prototxt or caffemodel) or solver (prototxt)")
    part.add_argument("target", help="file to write, text or binary like the source")
    named = re.search(r"upgrade_(net|solver)_proto", part.prog)
    part.add_argument(
        "--kind", choices=("auto", "net", "solver"), default=named[1] if named else "auto", help="kind of source"
    )


def run(args: argparse.Namespace) -> int:
    """Upgrade a net or solver to the current format."""
    if args.kind != "solver" and not looks_like_text(args.source):
        net, store = read_binary(args.source, pb.NetParameter)
        write_binary(upgrade_net(net), args.target, store)
    elif args.kind == "solver" or (args.kind == "auto" and is_solver(args.source)):
        write_text(upgrade_solver(read_solver(args.source)), args.target)
    else:
        write_text(upgrade_net(read_net(args.source)), args.target)
    return 0
