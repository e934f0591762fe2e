"""``draw``: draw a net as a diagram, with the flags of Caffe's draw_net.py."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from caffe_compat import draw
from caffe_compat.cli.flags import add_state, stages
from caffe_compat.formats.files import read_net


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("model", help="net definition (prototxt)")
    part.add_argument("output", help=f"file to write; its suffix selects the format: {', '.join(draw.FORMATS)}")
    part.add_argument(
        "--rankdir", choices=draw.RANK_DIRECTIONS, default="LR", help="direction of the diagram (default LR)"
    )
    part.add_argument("--phase", choices=("TRAIN", "TEST", "ALL"), default="ALL", help="phase to draw (default ALL)")
    part.add_argument("--display_lrm", action="store_true", help="show the learning rate multipliers")
    part.add_argument("--format", choices=draw.FORMATS, metavar="FORMAT", help="format to write, overriding the suffix")
    add_state(part)


def run(args: Namespace) -> int:
    """Draw a net and write the diagram to a file."""
    picture = draw.diagram(
        read_net(args.model),
        rankdir=args.rankdir,
        phase=None if args.phase == "ALL" else args.phase,
        stages=stages(args),
        level=args.level,
        display_lrm=args.display_lrm,
    )
    draw.write(picture, args.output, args.format)
    sys.stdout.write(f"{args.output}: {Path(args.output).stat().st_size} bytes\n")
    return 0
