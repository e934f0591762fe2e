"""``lq-emotion degrade``: a copy of a video as a low-quality channel delivers it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from caffe_compat.errors import printable
from lq_emotion.cli.options import at_least, number_from, teller


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "shrink a video, lower its frame rate and code it at a quantiser"
    degrade = commands.add_parser("degrade", help=text, description=text, allow_abbrev=False)
    option = degrade.add_argument
    option("video", type=Path, metavar="VIDEO", help="a video file")
    option("--out", type=Path, required=True, metavar="FILE", help="an .mp4, .mov or .mkv file, without sound")
    option("--scale", type=number_from(1), default=1.0, metavar="S", help="factor to shrink by (default 1)")
    option("--qp", type=at_least(0, 51), default=28, metavar="QP", help="quantiser of all frames (default 28)")
    option("--fps", type=number_from(0.01), metavar="F", help="most frames per second (default: all frames)")
    option("--codec", choices=("x264", "x265"), default="x264", help="encoder (default x264)")
    option("--json", action="store_true", help="print the result as JSON to stdout")
    degrade.set_defaults(run=_degrade)


def _degrade(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from lq_emotion.common.words import counted
    from lq_emotion.video.degrade import degrade_video

    say = teller(args)
    with tqdm(desc=printable(args.video.name), unit=" frames", disable=None, leave=False) as bar:
        result = degrade_video(
            args.video, args.out, scale=args.scale, qp=args.qp, fps=args.fps, codec=args.codec, progress=bar.update
        )
    if args.json:
        print(json.dumps({**result.to_json(), "bpp": result.bpp, "bits_per_second": result.rate}, indent=2))
    rate = "" if result.rate is None else f", {result.rate / 1000:.1f} kbit/s"
    say(
        f"{args.out}: {counted(result.frames, 'frame')} of {result.width} x {result.height} in {result.seconds:.2f} s, "
        f"{result.bits} bits, {result.bpp:.4f} per pixel{rate}"
    )
    return 0
