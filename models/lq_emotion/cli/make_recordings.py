"""``lq-emotion make-recordings``: a synthetic package to try everything with."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from lq_emotion.cli.options import at_least, frame_size


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "draw synthetic recordings in the layout of AVEC 2016: faces that follow random valence and arousal"
    make = commands.add_parser("make-recordings", help=text, description=text, allow_abbrev=False)
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one from an earlier run")
    make.add_argument(
        "--train", type=at_least(0), default=9, metavar="N", help="number of training recordings (default 9)"
    )
    make.add_argument(
        "--dev", type=at_least(0), default=9, metavar="N", help="number of development recordings (default 9)"
    )
    make.add_argument(
        "--frames",
        type=at_least(50),
        default=7500,
        metavar="N",
        help="frames per recording, at 25 per second (default 7500)",
    )
    make.add_argument("--size", type=frame_size, default=(480, 480), metavar="WxH", help="frame size (default 480x480)")
    make.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="random seed; another seed draws other people (default 0)",
    )
    make.add_argument(
        "--lag", type=_seconds, default=0.4, metavar="S", help="mean delay of the raters in seconds (default 0.4)"
    )
    make.add_argument(
        "--nested",
        action="store_true",
        help="nest every folder in one of the same name, as many copies of AVEC 2016 do",
    )
    make.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="recordings in parallel (default 1)")
    make.add_argument("--fresh", action="store_true", help="discard earlier recordings")
    make.set_defaults(run=_make)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError(f"expected 0 to 10 seconds, got {text!r}")
    return value


def _make(args: argparse.Namespace) -> int:
    from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings, summary

    width, height = args.size
    settings = SyntheticSettings(args.train, args.dev, args.frames, width, height, args.seed, args.lag, args.nested)
    make_recordings(args.out, settings, jobs=args.jobs, fresh=args.fresh)
    print(summary(args.out))
    return 0
