"""``lq-emotion train``: the authors' nets, trained as they did."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.errors import NetError
from lq_emotion.cli.options import add_switches, at_least, chosen, teller
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import format_setting

if TYPE_CHECKING:
    from lq_emotion.training.results import TrainingResults

_OPTIONS = {
    "--iterations": ("max_iter", "iterations in all; a larger number continues an earlier run"),
    "--batch": ("batch", "training samples per iteration"),
    "--test-iter": ("test_iter", "batches per test"),
    "--test-interval": ("test_interval", "iterations between tests"),
    "--display": ("display", "iterations between losses in the log"),
    "--snapshot": ("snapshot", "iterations between snapshots"),
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "train one of the authors' nets; options override the authors' net and solver"
    train = commands.add_parser("train", help=text, description=text, allow_abbrev=False)
    train.add_argument("--net", choices=[net.value for net in Net], default="HQ", help="net to train (default HQ)")
    train.add_argument("--h5", type=Path, required=True, metavar="FOLDER", help="folder of train.txt and test.txt")
    train.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for the log, snapshots and the loss plot"
    )
    train.add_argument(
        "--weights",
        metavar="FILE",
        help="weights to start from, matched by layer name: a caffemodel, or the folder of a training; "
        "vlqr and vlqr_non_joint need those of pretrain, or `none`",
    )
    for option, (name, text) in _OPTIONS.items():
        train.add_argument(option, dest=name, type=at_least(1), metavar="N", help=text)
    train.add_argument("--base-lr", type=_rate, metavar="X", help="base learning rate (default: the authors')")
    train.add_argument(
        "--filler", choices=("xavier", "msra"), help="filler for all weights (default: each layer's own)"
    )
    add_switches(train)
    train.add_argument(
        "--seed", dest="random_seed", type=at_least(0), metavar="N", help="random seed of fillers and dropout"
    )
    train.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    train.add_argument("--fresh", action="store_true", help="discard earlier results instead of continuing")
    train.add_argument("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    train.set_defaults(run=_train)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _require_effect(switches: Sequence[tuple[str, object]], net: Net) -> None:
    """Refuse a switch that changes nothing in the training of a net."""
    from lq_emotion.nets.definitions import builder, parts

    for name, value in switches:
        touched = parts(name, value)
        if touched and f"train {net}" not in touched and not (name == "input_size" and builder(net).own_size):
            hint = f"it affects {', '.join(touched)}; use `lq-emotion study run robust-lq`, which applies all switches"
            raise NetError(
                f"has no effect on net {net}", code="conflict", field=name, value=format_setting(value), hint=hint
            )


def _train(args: argparse.Namespace) -> int:
    from lq_emotion.training.overrides import Changes
    from lq_emotion.training.training_run import TrainingRun

    _require_effect(args.switch, Net(args.net))

    say = teller(args)
    names = ("base_lr", "random_seed", "filler", *(name for name, _ in _OPTIONS.values()))
    results = TrainingRun(
        args.out,
        args.h5,
        net=Net(args.net),
        weights=None if args.weights in (None, "none") else Path(args.weights),
        from_nothing=args.weights == "none",
        changes=Changes(**{name: getattr(args, name) for name in names}),
        switches=chosen(args),
        device=args.device,
        fresh=args.fresh,
        say=say,
    ).run()
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
    else:
        _report(results)
    return 0


def _report(results: TrainingResults) -> None:
    tests = list(results.test_loss.items())
    if tests:
        (first, first_loss), (last, last_loss) = tests[0], tests[-1]
        print(f"\ntest loss {first_loss:.4g} at iteration {first}, {last_loss:.4g} at iteration {last}")
    if results.files is not None:
        for path in filter(None, (results.files.losses, results.files.log, results.files.caffemodel)):
            print(f"  {path}")
