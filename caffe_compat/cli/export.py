"""``export``: hand a net to other programs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from caffe_compat.build.net import load_net
from caffe_compat.cli.flags import add_inputs, add_state, stages
from caffe_compat.errors import WeightsError
from caffe_compat.export import FORMATS, export
from caffe_compat.export.portable import read_labels


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=run)
    part.add_argument("model", help="net definition (prototxt)")
    part.add_argument("--weights", required=True, metavar="FILE", help="caffemodel or HDF5 weights")
    part.add_argument("--to", required=True, choices=FORMATS, help="format to write")
    part.add_argument("--out", required=True, metavar="FILE", help="file to write")
    part.add_argument(
        "--with_preprocessing",
        action="store_true",
        help="let the model begin with the preprocessing kept beside the weights (docs/export.md)",
    )
    part.add_argument(
        "--labels", metavar="FILE", help="names of the classes or dimensions to keep with the net, one a line"
    )
    add_state(part)
    add_inputs(part)


def run(args: Namespace) -> int:
    """Load a net with its weights and write it in a format of other programs."""
    net = load_net(
        args.model,
        args.weights,
        stages=stages(args),
        level=args.level,
        input_shapes=dict(args.input) or None,
        fork=args.fork,
    )
    report = net.meta["report"]
    if report.left_at_filler:
        problem = f"no values for {', '.join(report.left_at_filler)}"
        hint = "pass the definition these weights belong to"
        raise WeightsError(problem, code="mismatch", file=args.weights, hint=hint)
    sys.stderr.writelines(f"caffe-compat: warning: {text}\n" for text in report.warnings(args.weights))
    if args.labels:
        net.meta["labels"] = read_labels(args.labels)
    export(net, args.out, args.to, with_preprocessing=args.with_preprocessing)
    sys.stdout.write(f"{args.out}: {args.to}, {Path(args.out).stat().st_size} bytes\n")
    return 0
