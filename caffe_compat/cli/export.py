"""``export``: hand a net to other programs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from caffe_compat.build.net import load_net
from caffe_compat.cli.flags import add_inputs, add_state, stages
from caffe_compat.errors import NetError, WeightsError
from caffe_compat.export import FORMATS, export
from caffe_compat.export.int8 import to_int8
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
    part.add_argument("--int8", action="store_true", help="with --to onnx: compute in 8 bits (docs/export.md)")
    part.add_argument(
        "--calibrate", metavar="DIR", help="with --int8: a folder of images, or inputs of the net in .npy or .h5"
    )
    add_state(part)
    add_inputs(part)


def run(args: Namespace) -> int:
    """Load a net with its weights and write it in a format of other programs."""
    _check_int8(args)
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
    if args.int8:
        report = to_int8(net, args.out, args.calibrate, with_preprocessing=args.with_preprocessing)
        note = f" (float32: {report.float_bytes})\n{report}"
    else:
        export(net, args.out, args.to, with_preprocessing=args.with_preprocessing)
        note = "\n"
    sys.stdout.write(f"{args.out}: {args.to}, {Path(args.out).stat().st_size} bytes{note}")
    return 0


def _check_int8(args: Namespace) -> None:
    if args.int8 and args.to != "onnx":
        raise NetError("only ONNX models compute in 8 bits", code="conflict", field="--int8", hint="use --to=onnx")
    if args.int8 and not args.calibrate:
        hint = "pass a folder of images such as the net will see"
        raise NetError("needs --calibrate", code="field-missing", field="--int8", hint=hint)
    if args.calibrate and not args.int8:
        raise NetError(
            "only --int8 calibrates", code="conflict", field="--calibrate", value=args.calibrate, hint="add --int8"
        )
