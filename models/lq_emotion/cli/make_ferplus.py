"""`lq-emotion make-ferplus`: draw images in the forms of FER+."""

from __future__ import annotations

import argparse
from pathlib import Path

from lq_emotion.cli.options import at_least


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "draw synthetic faces with eight emotions and made-up votes, in either form of FER+"
    make = commands.add_parser("make-ferplus", help=text, description=text, allow_abbrev=False)
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one from an earlier run")
    make.add_argument("--images", type=at_least(10), default=2000, metavar="N", help="number of images (default 2000)")
    make.add_argument(
        "--form",
        choices=("csv", "folders"),
        default="csv",
        help="fer2013new.csv and fer2013.csv, or folders of PNG files",
    )
    make.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="random seed (default 0)")
    make.add_argument("--fresh", action="store_true", help="discard earlier images")
    make.set_defaults(run=_make)


def _make(args: argparse.Namespace) -> int:
    from lq_emotion.datasets.synthetic.ferplus_tree import FerTreeSettings, make_ferplus

    make_ferplus(args.out, FerTreeSettings(args.images, args.form, args.seed), fresh=args.fresh)
    return 0
