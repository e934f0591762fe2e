"""``parse_log``: turn a training log into CSV tables and a plot, with the file names of Caffe's parse_log.py."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from caffe_compat.formats.files import atomic_path
from caffe_compat.tools.logs import read_log, rows, write_csv


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("log", help="log of a training run (its stderr)")
    part.add_argument(
        "folder", nargs="?", default=".", help="folder for LOG.train and LOG.test (default: the current folder)"
    )
    part.add_argument("--delimiter", default=",", metavar="C", help="column separator (default ,)")
    part.add_argument("--plot", metavar="FILE", help="plot losses and scores; the suffix selects PNG, SVG or PDF")


def run(args: Namespace) -> int:
    """Write the tables and, with ``--plot``, the plot."""
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
    """Plot every output over the iterations, training and testing side by side."""
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
