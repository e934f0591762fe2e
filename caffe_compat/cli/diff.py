"""``diff``: find the first difference between two definitions, weights, states, logs, or runs on one input."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path

from caffe_compat.build.net import CaffeNet, build_net, fill_net
from caffe_compat.build.weights import caffe_blobs, copy_weights
from caffe_compat.cli.flags import add_inputs, add_json, add_state, prepared
from caffe_compat.errors import FileError
from caffe_compat.formats.files import is_hdf5, read_net, read_solver
from caffe_compat.formats.kinds import is_solver, looks_like_text
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
    part.add_argument("first", help="net, solver (prototxt), weights, solver state, or log of a training run")
    part.add_argument("second", help="another of the same kind")
    part.add_argument("--model", metavar="FILE", help="with two files of weights: run this net with each on one input")
    part.add_argument(
        "--run", dest="runs", action="store_true", help="with two nets: run both on one input, with the same weights"
    )
    part.add_argument(
        "--weights", metavar="A,B", help="with --run: weights of both nets (default: drawn from the fillers)"
    )
    part.add_argument(
        "--phase", choices=("TRAIN", "TEST"), default="TEST", help="with a run: phase of the nets (default TEST)"
    )
    part.add_argument(
        "--seed", type=int, default=0, metavar="N", help="with a run: seed of the random input (default 0)"
    )
    part.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.0,
        metavar="X",
        help="ignore differences up to X times the largest magnitude (default 0)",
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
        raise ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def run(args: Namespace) -> int:
    """Compare two files; return 0 if they are the same, 1 if they differ."""
    comparison = _compare(args)
    first = comparison.first
    if args.json:
        result = asdict(comparison) | {"same": first is None, "first": None if first is None else asdict(first)}
        sys.stdout.write(json.dumps(_finite(result)) + "\n")
        return int(first is not None)
    if first is None:
        largest = comparison.largest
        within = f", within {largest:.3g} of the largest magnitude" if largest else ""
        sys.stdout.write(f"the same: {comparison.compared} {comparison.what} compared{within}\n")
        return 0
    sys.stdout.write(f"first difference: {first.where}: {first.problem}\n")
    shown = comparison.differences[1:] if args.all else comparison.differences[1:20]
    for difference in shown:
        sys.stdout.write(f"  {difference.where}: {difference.problem}\n")
    more = len(comparison.differences) - 1 - len(shown)
    if more:
        sys.stdout.write(f"  and {more} more (--all)\n")
    sys.stdout.write(
        f"{len(comparison.differences)} differences; {comparison.compared} {comparison.what} are in both\n"
    )
    return 1


def _finite(value: object) -> object:
    """Replace NaN and infinities, which JSON does not have, with None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _compare(args: Namespace) -> Comparison:
    kinds = [_kind(path) for path in (args.first, args.second)]
    if kinds[0] != kinds[1]:
        problem = f"is {kinds[1]}, but {args.first} is {kinds[0]}"
        raise FileError(problem, code="mismatch", file=args.second, hint="pass two files of the same kind")
    if kinds[0] == "weights":
        if not args.model:
            return diff_weights(args.first, args.second, tolerance=args.tolerance)
        nets = [_net(args, args.model, weights) for weights in (args.first, args.second)]
        return diff_nets_on_input(*nets, seed=args.seed, tolerance=args.tolerance)
    if kinds[0] == "a solver state":
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
    if not looks_like_text(path) or is_hdf5(path):
        return "a solver state" if ".solverstate" in Path(path).name else "weights"
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
