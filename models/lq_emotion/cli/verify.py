"""``lq-emotion verify``: whether files of weights are whole, recognised, and the same to every engine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lq_emotion.cli.options import add_delay, add_partitions, partitions_of, teller


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = (
        "check weights: intact, of a known net, and with the same outputs in this engine, OpenCV and (if present) Caffe"
    )
    verify = commands.add_parser("verify", help=text, description=text, allow_abbrev=False)
    option = verify.add_argument
    option(
        "--weights",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder or zip archive of .caffemodel and .caffemodel.h5 files",
    )
    option(
        "--recordings", type=Path, metavar="ROOT", help="prepared recordings to score on, for a comparison with Table 1"
    )
    help_text = "factor of a folder of crops not named HQ or LR<s>, if the crops do not show it: faces=HQ, small=4"
    option("--crops", action="append", default=[], metavar="FOLDER=S", help=help_text)
    add_partitions(verify)
    add_delay(verify, 0.0)
    help_text = "cell of Table 1 that a file belongs to, if its name does not say: class/a.caffemodel=Joint-3"
    option("--cell", action="append", default=[], metavar="FILE=METHOD-S", help=help_text)
    option("--out", type=Path, default=Path("verify.json"), metavar="FILE", help="result file (default verify.json)")
    help_text = "earlier result; every byte must be unchanged since (the only check that finds plausible changes)"
    option("--against", type=Path, metavar="FILE", help=help_text)
    option("--fresh", action="store_true", help="replace the result in --out without comparing with it")
    option(
        "--caffe",
        metavar="PYTHON",
        help="a Python with genuine Caffe, as a third engine (default: this Python, if it has Caffe)",
    )
    option(
        "--device",
        default="auto",
        metavar="NAME",
        help="device of this engine: auto, cpu, cuda or cuda:N (default auto)",
    )
    option("--json", action="store_true", help="print the result as JSON to stdout and progress to stderr")
    verify.set_defaults(run=_verify)


def _verify(args: argparse.Namespace) -> int:
    from lq_emotion.common.plain_text import plain_text
    from lq_emotion.verify.checks import Verify
    from lq_emotion.verify.crops import read_crops
    from lq_emotion.verify.results import PASSED
    from lq_emotion.verify.scoring import read_cell
    from lq_emotion.verify.tables import differences, tables, verdict

    run = Verify(
        args.weights,
        args.out,
        recordings=args.recordings,
        crops=dict(map(read_crops, args.crops)),
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
        print(json.dumps(result.to_json(), indent=2))
    else:
        print("\n".join(plain_text([*differences(result), *tables(result), verdict(result)])))
    if result.verdict == PASSED:
        print(f"  {args.out}", file=sys.stderr if args.json else sys.stdout)
        return 0
    sys.stdout.flush()
    if result.against and run.keeps_earlier:
        message = "is unchanged: a failed result does not replace one that passed (--fresh replaces without comparing)"
        print(f"lq-emotion: {args.out} {message}", file=sys.stderr)
    print(f"lq-emotion: error: {args.weights}: the weights did not pass", file=sys.stderr)
    return 1
