"""``lq-emotion make-recordings``: a synthetic package to try everything with."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from lq_emotion.cli.options import at_least


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "draw synthetic recordings in the shape of AVEC 2016: faces that follow made-up valence and arousal"
    make = commands.add_parser("make-recordings", help=text, description=text, allow_abbrev=False)
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one made before")
    make.add_argument("--train", type=at_least(0), default=9, metavar="N", help="training recordings (9)")
    make.add_argument("--dev", type=at_least(0), default=9, metavar="N", help="development recordings (9)")
    make.add_argument("--frames", type=at_least(50), default=7500, metavar="N", help="of each, 25 a second (7500)")
    make.add_argument("--size", type=_size, default=(480, 480), metavar="WxH", help="of a frame (480x480)")
    make.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="other numbers, other people (0)")
    make.add_argument("--lag", type=_seconds, default=0.4, metavar="S", help="the raters' mean delay (0.4)")
    make.add_argument("--nested", action="store_true", help="every folder within itself, as many copies are")
    make.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="recordings at a time (1)")
    make.add_argument("--fresh", action="store_true", help="make all of them again")
    make.set_defaults(run=_make)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: width and height are expected, like 480x480")
    return int(found[1]), int(found[2])


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds from 0 to 10 are expected")
    return value


def _make(args: argparse.Namespace) -> int:
    from lq_emotion.datasets.synthetic.package import Settings, make_recordings, summary

    width, height = args.size
    settings = Settings(args.train, args.dev, args.frames, width, height, args.seed, args.lag, args.nested)
    make_recordings(args.out, settings, jobs=args.jobs, fresh=args.fresh)
    print(summary(args.out))
    return 0
