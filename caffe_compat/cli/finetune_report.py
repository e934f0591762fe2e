"""``finetune_report``: what a file of weights gives to a net, before a training run depends on it."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from caffe_compat.build.load_report import LoadReport
from caffe_compat.build.net import CaffeNet, build_net, fill_net
from caffe_compat.build.weights import copy_weights
from caffe_compat.cli.convert import FORMATS, write_weights
from caffe_compat.cli.flags import add_adapting, add_inputs, add_json, add_state, prepared, reshaping
from caffe_compat.cli.table import write_table
from caffe_compat.errors import FileError
from caffe_compat.tools.feeds import feed


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=run)
    part.add_argument("--model", required=True, metavar="FILE", help="net to be trained (prototxt)")
    part.add_argument("--weights", required=True, metavar="FILE", help="caffemodel or HDF5 weights to start from")
    part.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="phase of the net (default TRAIN)")
    add_adapting(part)
    part.add_argument("--output", metavar="FILE", help=f"write the net's weights: {', '.join(FORMATS)}")
    part.add_argument("--seed", type=int, default=1, metavar="N", help="of the fillers, for --output (default 1)")
    part.add_argument("--strict", action="store_true", help="exit code 1 unless every blob of the net was copied")
    add_json(part)
    add_state(part)
    add_inputs(part)


def run(args: Namespace) -> int:
    """Copy the weights into a net and tell what became of each blob."""
    if args.output and Path(args.output).suffix not in FORMATS:
        raise FileError("its name does not say the format", file=args.output, hint=f"one of {', '.join(FORMATS)}")
    with feed(prepared(args.model, args), input_shapes=dict(args.input)) as fed:
        net = build_net(fed.graph, empty=True)
    report = copy_weights(
        net,
        args.weights,
        rename=dict(args.rename),
        reshape=reshaping(args.reshape),
        mismatched="skip",
        unrelated="take",
    )
    if args.output:
        fill_net(net, seed=args.seed)
        write_weights(net, Path(args.output))
    sys.stderr.writelines(f"caffe-compat: warning: {text}\n" for text in report.warnings(args.weights))
    if args.json:
        sys.stdout.write(json.dumps({"model": args.model, "weights": args.weights, **asdict(report)}) + "\n")
    else:
        write_table([("net", "shape", "what becomes of it"), *rows(net, report)])
        sys.stdout.write(summary(net, report) + "\n")
    return int(args.strict and bool(report.left_at_filler))


def rows(net: CaffeNet, report: LoadReport) -> list[tuple[str, str, str]]:
    """Return a row for every blob of the net, then one for every layer of the file that the net does not take."""
    origin = {new: old for old, new in report.renamed}
    wrong = {mismatch.layer: mismatch.problem for mismatch in report.mismatched}
    found = []
    for slot in net.caffe.slots:
        if slot.owner is not None:
            told = f"shares {slot.owner}"
        elif slot.key in report.copied:
            told = "copied" + (f" from {origin[slot.layer]}" if slot.layer in origin else "")
            told += ", reshaped" if slot.key in report.reshaped else ""
        elif slot.layer in wrong:
            told = f"left at its filler: {wrong[slot.layer]}"
        else:
            told = "left at its filler: not in the file"
        found.append((slot.key, "x".join(map(str, slot.blob.shape)), told))
    return [*found, *((f"({layer})", "", "in the file, not in the net") for layer in report.ignored)]


def summary(net: CaffeNet, report: LoadReport) -> str:
    """Return the counts in one line."""

    def values(keys: Collection[str]) -> int:
        return sum(math.prod(slot.blob.shape) for slot in net.caffe.slots if slot.owner is None and slot.key in keys)

    total = net.caffe.parameter_count()
    copied = values(report.copied)
    share = 100 * copied / total if total else 100.0
    return (
        f"{len(report.copied)} blobs copied ({copied:,} of {total:,} values, {share:.1f} %), "
        f"{len(report.left_at_filler)} left at their fillers, {len(report.mismatched)} layers that do not fit, "
        f"{len(report.ignored)} layers of the file not used"
    )
