"""``lq-emotion verify``: whether files of weights are whole, recognised, and the same to every engine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lq_emotion.cli.options import add_delay, add_partitions, partitions_of, teller


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "check the authors' weights: whole, recognised, the same in our engine and OpenCV's (and Caffe's)"
    verify = commands.add_parser("verify", help=text, description=text, allow_abbrev=False)
    option = verify.add_argument
    option(
        "--weights", type=Path, required=True, metavar="DIR", help="folder, or zip, of .caffemodel and .caffemodel.h5"
    )
    option("--recordings", type=Path, metavar="ROOT", help="prepared recordings: score on them, beside Table 1")
    add_partitions(verify)
    add_delay(verify, 0.0)
    told = "what a file is, where its name does not tell: class/a.caffemodel=Joint-3"
    option("--cell", action="append", default=[], metavar="FILE=METHOD-S", help=told)
    option("--out", type=Path, default=Path("verify.json"), metavar="FILE", help="the result (verify.json)")
    told = "an earlier result: every byte must be as then; the only way to find a change that is plausible"
    option("--against", type=Path, metavar="FILE", help=told)
    option("--fresh", action="store_true", help="replace what --out holds; else files of its names must be as then")
    option("--caffe", metavar="PYTHON", help="a Python with a genuine Caffe, the third engine (this one, if it has)")
    option("--device", default="auto", metavar="NAME", help="of our engine: auto, cpu, cuda, cuda:1 (auto)")
    option("--json", action="store_true", help="the result as JSON on stdout, progress on stderr")
    verify.set_defaults(run=_verify)


def _verify(args: argparse.Namespace) -> int:
    from lq_emotion.verify.checks import Verify
    from lq_emotion.verify.result_file import PASSED
    from lq_emotion.verify.scoring import read_cell
    from lq_emotion.verify.summary import lines

    run = Verify(
        args.weights,
        args.out,
        recordings=args.recordings,
        partitions=partitions_of(args),
        delay=args.delay,
        cells=dict(map(read_cell, args.cell)),
        against=args.against,
        fresh=args.fresh,
        caffe=args.caffe,
        device=args.device,
        say=teller(args),
    )
    result = run.run()
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print("\n".join(lines(result)))
    if result["verdict"] == PASSED:
        print(f"  {args.out}", file=sys.stderr if args.json else sys.stdout)
        return 0
    sys.stdout.flush()
    if result["against"] and run.kept:
        told = "stays as it was: what failed does not replace what passed (--fresh does, and compares nothing)"
        print(f"lq-emotion: {args.out} {told}", file=sys.stderr)
    print(f"lq-emotion: error: {args.weights}: the weights did not pass", file=sys.stderr)
    return 1
