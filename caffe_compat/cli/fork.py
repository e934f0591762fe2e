"""``--fork``: which fork of Caffe the nets of a command are for."""

from __future__ import annotations

from argparse import ArgumentParser


def add_fork(part: ArgumentParser) -> None:
    """Add ``--fork``; the command prepares its nets with the forks it names."""
    part.add_argument(
        "--fork",
        action="append",
        default=[],
        metavar="NAME",
        help="the fork of Caffe a net is for, where its layers do not tell (docs/forks.md)",
    )
