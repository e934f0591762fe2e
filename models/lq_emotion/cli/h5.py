"""``lq-emotion data h5``: training files from prepared recordings."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from lq_emotion.cli.options import add_dimension, add_partitions, at_least, teller


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "write train.h5, test.h5 and the lists that name them from prepared recordings, as the authors' scripts do"
    h5 = commands.add_parser("h5", help=text, description=text, allow_abbrev=False)
    h5.add_argument("--out", type=Path, required=True, metavar="ROOT", help="the output folder of `prepare`")
    h5.add_argument("--from", dest="source", default="HQ", metavar="CROPS", help="crops to use: HQ (default), LR3, ...")
    h5.add_argument(
        "--name", metavar="NAME", help="name of the folder below ROOT/h5_files (default: derived from the options)"
    )
    h5.add_argument(
        "--seed",
        type=at_least(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="random seed (default 0, that of a fresh MATLAB session)",
    )
    h5.add_argument("--chunk", type=at_least(1), default=128, metavar="N", help="samples per chunk (default 128)")
    add_dimension(h5)
    add_partitions(h5)
    h5.add_argument("--test", dest="dev", nargs="+", metavar="NAME", help="same as --dev")
    _add_making(h5.add_argument_group("augmentation and normalisation"))
    _add_multi(h5.add_argument_group("three frames per sample, for your own nets (lq-emotion's take one frame)"))
    h5.add_argument("--fresh", action="store_true", help="discard earlier results")
    h5.add_argument("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    h5.set_defaults(run=_h5)


def _add_making(making: argparse._ArgumentGroup) -> None:
    making.add_argument(
        "--mix", nargs="+", type=_factor, metavar="S", help="downsample every frame by a factor drawn from these"
    )
    making.add_argument("--keep-clean", action="store_true", help="with --mix: include the clean frames")
    making.add_argument(
        "--mix-epochs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="with --mix: write N passes, each with newly drawn factors (default 1)",
    )
    making.add_argument(
        "--augment", action="store_true", help="mirror every frame; like the script, this replaces the original"
    )
    making.add_argument("--keep-unflipped", action="store_true", help="with --augment: include the original frames")
    making.add_argument("--mean-sub", action="store_true", help="subtract each file's mean")
    making.add_argument("--norm", action="store_true", help="divide by each file's standard deviation")
    making.add_argument(
        "--train-statistics",
        action="store_true",
        help="use the mean and standard deviation of the training file for the test file",
    )
    making.add_argument("--keep-remainder", action="store_true", help="keep the samples of the last, incomplete chunk")


def _add_multi(multi: argparse._ArgumentGroup) -> None:
    multi.add_argument("--triplets", choices=("repaired", "clean"), help="use three consecutive frames as channels")
    multi.add_argument(
        "--label-frame", choices=("first", "middle", "last"), default="first", help="frame whose label is used"
    )
    multi.add_argument(
        "--split",
        type=at_least(1),
        default=1,
        metavar="N",
        help="number of files to split the samples over (default 1)",
    )


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a factor of 1 or more, got {text!r}")
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
        print(json.dumps(results.to_json(), indent=2))
    else:
        print(f"  {results.folder}/train.txt\n  {results.folder}/test.txt")
    return 0
