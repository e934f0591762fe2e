"""``finetune_report``: show which blobs of a net a file of weights would fill, before training starts."""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from caffe_compat.build.net import CaffeNet, build_net, fill_net
from caffe_compat.build.weights import LoadReport, copy_weights
from caffe_compat.cli.convert import FORMATS, format_of, write_weights
from caffe_compat.cli.flags import add_adapting, add_inputs, add_json, add_state, prepared, reshaping
from caffe_compat.cli.table import write_table
from caffe_compat.tools.feeds import feed


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("--model", required=True, metavar="FILE", help="net to be trained (prototxt)")
    part.add_argument("--weights", required=True, metavar="FILE", help="caffemodel or HDF5 weights to start from")
    part.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="phase of the net (default TRAIN)")
    add_adapting(part)
    part.add_argument("--output", metavar="FILE", help=f"write the net's weights to this file: {',  '.join(FORMATS)}")
    part.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the fillers, for --output (default 1)")
    part.add_argument("--strict", action="store_true", help="exit code 1 unless every blob of the net was copied")
    add_json(part)
    add_state(part)
    add_inputs(part)


def run(args: Namespace) -> int:
    """Copy the weights into a net and list what happened to each blob."""
    if args.output:
        format_of(Path(args.output), FORMATS)
    with feed(prepared(args.model, args), input_shapes=dict(args.input)) as data:
        net = build_net(data.graph, empty=True)
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
        write_table([("net", "shape", "outcome"), *rows(net, report)])
        sys.stdout.write(summary(net, report) + "\n")
    return int(args.strict and bool(report.left_at_filler))


def rows(net: CaffeNet, report: LoadReport) -> list[tuple[str, str, str]]:
    """Return a row per blob of the net, then a row per layer of the file that the net does not have."""
    origin = {new: old for old, new in report.renamed}
    mismatches = {mismatch.layer: mismatch.problem for mismatch in report.mismatched}
    table = []
    for slot in net.caffe.slots:
        if slot.owner is not None:
            outcome = f"shares {slot.owner}"
        elif slot.key in report.copied:
            outcome = "copied" + (f" from {origin[slot.layer]}" if slot.layer in origin else "")
            outcome += ", reshaped" if slot.key in report.reshaped else ""
        elif slot.layer in mismatches:
            outcome = f"left at its filler: {mismatches[slot.layer]}"
        else:
            outcome = "left at its filler: not in the file"
        table.append((slot.key, "x".join(map(str, slot.blob.shape)), outcome))
    return [*table, *((f"({layer})", "", "in the file, not in the net") for layer in report.ignored)]


def summary(net: CaffeNet, report: LoadReport) -> str:
    """Return one line that counts the blobs and layers by outcome."""

    def values(keys: Collection[str]) -> int:
        return sum(math.prod(slot.blob.shape) for slot in net.caffe.slots if slot.owner is None and slot.key in keys)

    total = net.caffe.parameter_count()
    copied = values(report.copied)
    share = 100 * copied / total if total else 100.0
    return (
        f"{len(report.copied)} blobs copied ({copied:,} of {total:,} values, {share:.1f} %), "
        f"{len(report.left_at_filler)} left at their fillers, {len(report.mismatched)} layers mismatched, "
        f"{len(report.ignored)} layers of the file unused"
    )
