"""``--fork``: select the fork of Caffe that a command's nets were written for."""

from __future__ import annotations

from argparse import ArgumentParser


def add_fork(part: ArgumentParser) -> None:
    """Add ``--fork``; the command prepares its nets with the forks it names."""
    part.add_argument(
        "--fork",
        action="append",
        default=[],
        metavar="NAME",
        help="fork of Caffe the net was written for, if its layer types are ambiguous (docs/forks.md)",
    )
