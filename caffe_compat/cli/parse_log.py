"""``parse_log``: a training log as tables (CSV) and as a picture, under the file names of Caffe's parse_log.py."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from caffe_compat.tools.logs import read_log, rows, write_csv


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=run)
    part.add_argument("log", help="what a training run wrote to stderr")
    part.add_argument("folder", nargs="?", default=".", help="where LOG.train and LOG.test go (default here)")
    part.add_argument("--delimiter", default=",", metavar="C", help="between columns (default ,)")
    part.add_argument("--plot", metavar="FILE", help="draw losses and scores: PNG, SVG or PDF by its name")


def run(args: Namespace) -> int:
    """Write the tables, and the picture where one is asked for."""
    entries = read_log(args.log)
    tables = {kind: rows(entries, kind) for kind in ("train", "test")}
    for kind, table in tables.items():
        if table:
            target = Path(args.folder) / f"{Path(args.log).name}.{kind}"
            write_csv(table, target, args.delimiter)
            sys.stdout.write(f"{target}: {len(table)} rows\n")
    if args.plot:
        plot(tables, Path(args.plot))
        sys.stdout.write(f"{args.plot}\n")
    return 0


def plot(tables: dict[str, list[dict[str, float]]], target: Path) -> None:
    """Draw every output against the iteration, training and testing beside one another."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (kind, table) in zip(axes, tables.items(), strict=True):
        names = dict.fromkeys(name for row in table for name in row)
        for name in [n for n in names if n not in ("NumIters", "Seconds", "LearningRate")]:
            points = [(row["NumIters"], row[name]) for row in table if name in row]
            axis.plot(*zip(*points, strict=True), label=name)
        axis.set(title=kind, xlabel="iteration")
        axis.grid(visible=True, alpha=0.3)
        if names:
            axis.legend()
    try:
        with atomic_path(target) as partial:
            figure.savefig(partial, format=target.suffix.lstrip(".") or "png")
    finally:
        plt.close(figure)
