"""`lq-emotion make-ravdess`: draw clips in the layout of RAVDESS."""

from __future__ import annotations

import argparse
from pathlib import Path

from lq_emotion.cli.options import at_least, frame_size


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "draw synthetic clips of actors with eight emotions, with the names and folders of RAVDESS"
    make = commands.add_parser("make-ravdess", help=text, description=text, allow_abbrev=False)
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one from an earlier run")
    make.add_argument("--actors", type=at_least(1), default=24, metavar="N", help="number of actors (default 24)")
    make.add_argument(
        "--size", type=frame_size, default=(1280, 720), metavar="WxH", help="frame size (default 1280x720)"
    )
    make.add_argument("--seconds", type=float, default=3.7, metavar="S", help="mean length of a clip (default 3.7)")
    make.add_argument("--statements", type=int, choices=(1, 2), default=2, help="sentences (default 2)")
    make.add_argument("--repetitions", type=int, choices=(1, 2), default=2, help="of each sentence (default 2)")
    make.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="random seed (default 0)")
    make.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="clips in parallel (default 1)")
    make.add_argument("--fresh", action="store_true", help="discard earlier clips")
    make.set_defaults(run=_make)


def _make(args: argparse.Namespace) -> int:
    from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess

    width, height = args.size
    settings = RavdessTreeSettings(
        args.actors, width, height, args.seconds, args.statements, args.repetitions, args.seed
    )
    make_ravdess(args.out, settings, jobs=args.jobs, fresh=args.fresh)
    print(f"{args.out}: {len(settings.files)} synthetic clips of {args.actors} actors")
    return 0
