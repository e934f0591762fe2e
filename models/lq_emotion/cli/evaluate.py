"""``lq-emotion evaluate``: predictions, scores and pictures of a trained net."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lq_emotion.cli.options import add_delay, add_partitions, at_least, number_from, partitions_of, teller

_CONVENTIONS = ("avec", "population", "sample")  # those of metrics.regression, which torch comes with


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "predict the valence (or arousal) of prepared recordings, and score it: RMSE, CC, CCC"
    evaluate = commands.add_parser("evaluate", help=text, description=text, allow_abbrev=False)
    option = evaluate.add_argument
    option("--weights", type=Path, required=True, metavar="FILE", help="a caffemodel, or the folder of a run")
    option("--data", type=Path, required=True, metavar="FOLDER", help="recordings: ROOT/data/raw_data/HQ")
    option("--out", type=Path, required=True, metavar="FOLDER", help="for predictions, scores and pictures")
    option("--names", nargs="+", default=(), metavar="NAME", help="recordings to score (those of --dev)")
    add_partitions(evaluate)
    option("--net", type=Path, metavar="FILE", help="definition of the net (the authors' deploy form of CNN+D)")
    late = evaluate.add_mutually_exclusive_group()
    add_delay(late)
    told = "take the best of the delays 0:0.4:8 s on these recordings; train and dev stand for all of a partition"
    late.add_argument("--search-delay", nargs="+", default=(), metavar="NAME", help=told)
    option(
        "--postprocess",
        nargs="+",
        default=(),
        metavar="NAME",
        help="learn AVEC's median filter, bias and factor on these recordings of --data, and apply them to all; "
        "train and dev stand for all of a partition (learnt on what is scored, they flatter)",
    )
    option(
        "--search",
        choices=("official", "consistent"),
        default="official",
        help="AVEC's search for the filter, with its slip and recordings as one; or without, each alone (official)",
    )
    option("--convention", choices=_CONVENTIONS, default="avec", help="of CC and CCC (avec, the authors')")
    option(
        "--timeline",
        type=Path,
        metavar="FOLDER",
        help="ROOT/data/gsd: a row of predictions for each of its times, nan where the frame was dropped",
    )
    option(
        "--mean", type=number_from(), default=0.0, metavar="X", help="subtract from every frame, after h5 --mean-sub"
    )
    option(
        "--std", type=number_from(1e-12), default=1.0, metavar="X", help="divide every frame by this, after h5 --norm"
    )
    option("--batch", type=at_least(1), default=64, metavar="N", help="frames at once (64)")
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (auto)")
    option("--json", action="store_true", help="scores as JSON on stdout, progress on stderr")
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
        print(json.dumps(results, indent=2))
    else:
        _report(results, args.out)
    return 0


def _report(results: dict[str, Any], out: Path) -> None:
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
    for name in (*results["files"]["tables"], *results["files"]["pictures"], "predictions"):
        print(f"  {out / name}")
