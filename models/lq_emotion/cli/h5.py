"""``lq-emotion h5``: training files from prepared recordings."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from lq_emotion.cli.options import add_dimension, add_partitions, at_least, teller


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "write train.h5, test.h5 and their lists from prepared recordings, as the authors' scripts do"
    h5 = commands.add_parser("h5", help=text, description=text, allow_abbrev=False)
    h5.add_argument("--out", type=Path, required=True, metavar="ROOT", help="the folder prepare wrote to")
    h5.add_argument("--from", dest="source", default="HQ", metavar="CROPS", help="HQ (default), LR3, ...")
    h5.add_argument("--name", metavar="NAME", help="folder below ROOT/h5_files; by default as the options say")
    h5.add_argument("--seed", type=at_least(0, 2**32 - 1), default=0, metavar="N", help="0: a MATLAB just started")
    h5.add_argument("--chunk", type=at_least(1), default=128, metavar="N", help="samples per chunk (128)")
    add_dimension(h5)
    add_partitions(h5)
    h5.add_argument("--test", dest="dev", nargs="+", metavar="NAME", help="another name of --dev")
    _add_making(h5.add_argument_group("what to make of the frames"))
    _add_multi(h5.add_argument_group("three frames at a time, for nets of your own: lq-emotion train refuses them"))
    h5.add_argument("--fresh", action="store_true", help="make everything again")
    h5.add_argument("--json", action="store_true", help="results as JSON on stdout, progress on stderr")
    h5.set_defaults(run=_h5)


def _add_making(making: argparse._ArgumentGroup) -> None:
    making.add_argument(
        "--mix", nargs="+", type=_factor, metavar="S", help="degrade every frame by a factor drawn from these"
    )
    making.add_argument("--keep-clean", action="store_true", help="with --mix: the clean frames as well")
    making.add_argument(
        "--mix-epochs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="with --mix: N passes, each with factors of its own",
    )
    making.add_argument("--augment", action="store_true", help="mirror every frame (as the script: instead of it)")
    making.add_argument("--keep-unflipped", action="store_true", help="with --augment: the frames themselves as well")
    making.add_argument("--mean-sub", action="store_true", help="subtract the mean of each file")
    making.add_argument("--norm", action="store_true", help="divide by the standard deviation of each file")
    making.add_argument("--train-statistics", action="store_true", help="the training file's, for the test file too")
    making.add_argument("--keep-remainder", action="store_true", help="keep the samples that fill no chunk")


def _add_multi(multi: argparse._ArgumentGroup) -> None:
    multi.add_argument("--triplets", choices=("repaired", "clean"), help="three consecutive frames as channels")
    multi.add_argument("--label-frame", choices=("first", "middle", "last"), default="first")
    multi.add_argument("--split", type=at_least(1), default=1, metavar="N", help="over N files")


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: a factor from 1 up is expected")
    return int(value) if value == int(value) else value


def _h5(args: argparse.Namespace) -> int:
    from lq_emotion.crops.h5 import H5Settings, make_h5
    from lq_emotion.datasets.avec.layout import dimension_root
    from lq_emotion.datasets.avec.partitions import avec_name, chosen_partitions
    from matlab_ports.generate_h5 import Options

    say = teller(args)
    mixed: dict[str, Any] = {"mix": True, "mix_lr": tuple(args.mix)} if args.mix else {}
    options = Options(
        **mixed,
        mode="multi" if args.triplets else "single",
        augmentation=args.augment,
        mean_sub=args.mean_sub,
        norm=args.norm,
        split=args.split,
        keep_clean=args.keep_clean,
        keep_unflipped=args.keep_unflipped,
        mix_epochs=args.mix_epochs,
        remainder="keep" if args.keep_remainder else "drop",
        triplets=args.triplets or "repaired",
        label_frame=args.label_frame,
    )
    settings = H5Settings(
        args.source,
        args.name,
        tuple(map(avec_name, args.train)),
        tuple(map(avec_name, args.dev)),
        options=options,
        seed=args.seed,
        chunk=args.chunk,
        train_statistics=args.train_statistics,
    )
    results = make_h5(
        dimension_root(args.out, args.dimension),
        settings,
        partitions=chosen_partitions(table=args.partitions),
        fresh=args.fresh,
        say=say,
    )
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        print(f"  {results['folder']}/train.txt\n  {results['folder']}/test.txt")
    return 0
