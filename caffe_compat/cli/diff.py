"""``diff``: two definitions, files of weights, logs, or runs on one input; the first difference is named."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path

from caffe_compat.build.net import CaffeNet, build_net, fill_net
from caffe_compat.build.weights import caffe_blobs, copy_weights
from caffe_compat.cli.detect import is_solver, says_text
from caffe_compat.cli.flags import add_inputs, add_json, add_state, prepared
from caffe_compat.errors import FileError
from caffe_compat.formats.files import is_hdf5, read_net, read_solver
from caffe_compat.tools.diff import (
    Comparison,
    diff_logs,
    diff_nets,
    diff_nets_on_input,
    diff_solvers,
    diff_states,
    diff_weights,
)
from caffe_compat.tools.feeds import feed
from caffe_compat.tools.logs import is_log


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=run)
    part.add_argument("first", help="net, solver (prototxt), weights, solver state, or log of a training run")
    part.add_argument("second", help="another of the same kind")
    part.add_argument("--model", metavar="FILE", help="with two files of weights: run this net with each on one input")
    part.add_argument(
        "--run", dest="runs", action="store_true", help="with two nets: run both on one input, with the same weights"
    )
    part.add_argument(
        "--weights", metavar="A,B", help="with --run: weights of both nets; by default drawn from fillers"
    )
    part.add_argument("--phase", choices=("TRAIN", "TEST"), default="TEST", help="with a run: phase (default TEST)")
    part.add_argument("--seed", type=int, default=0, metavar="N", help="with a run: of the input (default 0)")
    part.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.0,
        metavar="X",
        help="ignore X times the largest magnitude (default 0)",
    )
    part.add_argument("--all", action="store_true", help="list every difference, not the first 20")
    add_json(part)
    add_state(part)
    add_inputs(part)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"{text!r}: must be a number, 0 or more")
    return value


def run(args: Namespace) -> int:
    """Compare; 0 where both are the same, 1 where they differ."""
    found = _compared(args)
    first = found.first
    if args.json:
        told = asdict(found) | {"same": first is None, "first": None if first is None else asdict(first)}
        sys.stdout.write(json.dumps(_finite(told)) + "\n")
        return int(first is not None)
    if first is None:
        within = f", within {found.largest:.3g} of the largest magnitude" if found.largest else ""
        sys.stdout.write(f"the same: {found.compared} {found.what} compared{within}\n")
        return 0
    sys.stdout.write(f"first difference: {first.where}: {first.problem}\n")
    shown = found.differences[1:] if args.all else found.differences[1:20]
    for difference in shown:
        sys.stdout.write(f"  {difference.where}: {difference.problem}\n")
    more = len(found.differences) - 1 - len(shown)
    if more:
        sys.stdout.write(f"  and {more} more (--all)\n")
    sys.stdout.write(f"{len(found.differences)} differences; {found.compared} {found.what} are in both\n")
    return 1


def _finite(value: object) -> object:
    """Return a value that JSON can hold: None for nan and infinities."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _compared(args: Namespace) -> Comparison:
    kinds = [_kind(path) for path in (args.first, args.second)]
    if kinds[0] != kinds[1]:
        raise FileError(f"is {kinds[1]}, and {args.first} is {kinds[0]}", file=args.second, hint="two of one kind")
    if kinds[0] == "weights":
        if not args.model:
            return diff_weights(args.first, args.second, tolerance=args.tolerance)
        nets = [_net(args, args.model, weights) for weights in (args.first, args.second)]
        return diff_nets_on_input(*nets, seed=args.seed, tolerance=args.tolerance)
    if kinds[0] == "a solver's state":
        return diff_states(args.first, args.second, tolerance=args.tolerance)
    if kinds[0] == "a log":
        return diff_logs(args.first, args.second, tolerance=args.tolerance)
    if kinds[0] == "a solver":
        return diff_solvers(read_solver(args.first), read_solver(args.second))
    if args.runs:
        first, second = (_net(args, path, args.weights) for path in (args.first, args.second))
        if not args.weights:
            copy_weights(second, {name: [b.numpy() for b in blobs] for name, blobs in caffe_blobs(first).items()},
                         mismatched="skip")  # fmt: skip
        return diff_nets_on_input(first, second, seed=args.seed, tolerance=args.tolerance)
    return diff_nets(read_net(args.first), read_net(args.second))


def _kind(path: str) -> str:
    if not says_text(path) or is_hdf5(path):
        return "a solver's state" if ".solverstate" in Path(path).name else "weights"
    if is_log(Path(path).read_text(encoding="utf-8", errors="replace")):
        return "a log"
    return "a solver" if is_solver(path) else "a net"


def _net(args: Namespace, model: str, weights: str | None) -> CaffeNet:
    with feed(prepared(model, args), input_shapes=dict(args.input)) as fed:
        net = build_net(fed.graph, empty=True)
    for name in weights.split(",") if weights else ():
        copy_weights(net, name.strip())
    fill_net(net, seed=args.seed)
    return net
