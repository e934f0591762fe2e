"""``lq-emotion study evaluate``: predictions, scores and figures of a trained net."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import add_delay, add_partitions, at_least, number_from, partitions_of, teller

if TYPE_CHECKING:
    from lq_emotion.evaluation.results import Evaluation

_CONVENTIONS = ("avec", "population", "sample")  # those of metrics.regression, which torch comes with


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "predict valence (or arousal) for prepared recordings, and score it: RMSE, CC, CCC"
    evaluate = commands.add_parser("evaluate", help=text, description=text, allow_abbrev=False)
    option = evaluate.add_argument
    option("--weights", type=Path, required=True, metavar="FILE", help="a caffemodel, or the folder of a training")
    option("--data", type=Path, required=True, metavar="FOLDER", help="folder of crops: ROOT/data/raw_data/HQ")
    option("--out", type=Path, required=True, metavar="FOLDER", help="folder for predictions, scores and plots")
    option("--names", nargs="+", default=(), metavar="NAME", help="recordings to score (default: those of --dev)")
    add_partitions(evaluate)
    option("--net", type=Path, metavar="FILE", help="deploy definition of the net (default: the authors' CNN+D)")
    late = evaluate.add_mutually_exclusive_group()
    add_delay(late)
    help_text = (
        "search the delay (0 to 8 s in steps of 0.4 s) on these recordings; `train` or `dev` means the whole partition"
    )
    late.add_argument("--search-delay", nargs="+", default=(), metavar="NAME", help=help_text)
    option(
        "--postprocess",
        nargs="+",
        default=(),
        metavar="NAME",
        help="fit AVEC's median filter, bias and factor on these recordings of --data, and apply them to all; "
        "`train` or `dev` means the whole partition (fitting on the scored recordings overstates the scores)",
    )
    option(
        "--search",
        choices=("official", "consistent"),
        default="official",
        help="search for the filter as AVEC's script does, with its error and across recordings; or corrected, "
        "per recording (default official)",
    )
    option(
        "--convention",
        choices=_CONVENTIONS,
        default="avec",
        help="definition of CC and CCC (default avec, the authors')",
    )
    option(
        "--timeline",
        type=Path,
        metavar="FOLDER",
        help="write a prediction for each time in this gold standard (ROOT/data/gsd), nan for dropped frames",
    )
    option(
        "--mean",
        type=number_from(),
        default=0.0,
        metavar="X",
        help="mean to subtract from every frame, if h5 --mean-sub was used",
    )
    option(
        "--std",
        type=number_from(1e-12),
        default=1.0,
        metavar="X",
        help="standard deviation to divide every frame by, if h5 --norm was used",
    )
    option("--batch", type=at_least(1), default=64, metavar="N", help="frames per batch (default 64)")
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    option("--json", action="store_true", help="print scores as JSON to stdout and progress to stderr")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from lq_emotion.evaluation.evaluate import Evaluate

    say = teller(args)
    results = Evaluate(
        args.weights,
        args.data,
        args.out,
        names=args.names,
        partitions=partitions_of(args),
        net=args.net,
        delay=args.delay,
        delay_on=args.search_delay,
        learn_on=args.postprocess,
        search=args.search,
        convention=args.convention,
        timeline=args.timeline,
        mean=args.mean,
        std=args.std,
        device=args.device,
        batch=args.batch,
        say=say,
    ).run()
    if args.json:
        every = [one.to_json() for one in results]
        print(json.dumps(every[0] if len(every) == 1 else every, indent=2))
    else:
        for one in results:
            _report(one, args.out if len(results) == 1 else args.out / one.labels)
    return 0


def _report(results: Evaluation, out: Path) -> None:
    from caffe_compat.errors import printable
    from lq_emotion.evaluation.tables import describe, score_rows

    rows = score_rows(results)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for name, *numbers in rows:
        cells = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
        print("  ".join([f"{name:{widths[0]}}", *cells]))
    for line in describe(results):
        print(printable(line))
    if results.files is not None:
        for name in (*results.files.tables, *results.files.plots, "predictions"):
            print(f"  {out / name}")
