"""``lq-emotion submission``: estimates for recordings without labels, in the form of AVEC's gold standard."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import add_delay, at_least, number_from, teller

if TYPE_CHECKING:
    from lq_emotion.evaluation.results import Evaluation


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "estimate recordings without labels, such as AVEC's test partition, and write them like the gold standard"
    parser = commands.add_parser("submission", help=text, description=text, allow_abbrev=False)
    option = parser.add_argument
    option("--weights", type=Path, required=True, metavar="FILE", help="a caffemodel, or the folder of a training")
    help_text = "folder of crops: ROOT/data/raw_data/HQ, of `prepare --unlabelled`"
    option("--data", type=Path, required=True, metavar="FOLDER", help=help_text)
    option("--out", type=Path, required=True, metavar="FOLDER", help="folder for NAME.arff and NAME.csv by dimension")
    option("--names", nargs="+", default=(), metavar="NAME", help="recordings (default: the partition test)")
    option("--net", type=Path, metavar="FILE", help="deploy definition of the net (default: the authors' CNN+D)")
    late = parser.add_mutually_exclusive_group()
    add_delay(late)
    help_text = "scores.json of `evaluate`: apply the delay and the post-processing that were found there"
    late.add_argument("--scores", type=Path, metavar="FILE", help=help_text)
    help_text = "mean to subtract from every frame, if h5 --mean-sub was used"
    option("--mean", type=number_from(), default=0.0, metavar="X", help=help_text)
    help_text = "standard deviation to divide every frame by, if h5 --norm was used"
    option("--std", type=number_from(1e-12), default=1.0, metavar="X", help=help_text)
    option("--batch", type=at_least(1), default=64, metavar="N", help="frames per batch (default 64)")
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    option("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    parser.set_defaults(run=_submission)


def _submission(args: argparse.Namespace) -> int:
    from lq_emotion.evaluation.submission import RESULTS, write_submission

    results = write_submission(
        args.weights,
        args.data,
        args.out,
        args.names,
        net=args.net,
        delay=args.delay,
        scored=_scores(args.scores),
        mean=args.mean,
        std=args.std,
        device=args.device,
        batch=args.batch,
        say=teller(args),
    )
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
    else:
        for name in (*results.files, RESULTS):
            print(f"  {args.out / name}")
    return 0


def _scores(path: Path | None) -> Evaluation | None:
    from lq_emotion.common.json_files import read_record
    from lq_emotion.evaluation.results import Evaluation

    if path is None:
        return None
    return read_record(path, Evaluation, "--scores is the scores.json of an evaluation")
