"""Flags that ``caffe`` takes with every command, whether the command heeds them or not, and those of its log (glog)."""

from __future__ import annotations

import argparse
import sys

BREW = ("train", "test", "time", "device_query")
"""The commands of BVLC Caffe 9b89154's tools/caffe.cpp."""

_CAFFE = (
    *("gpu", "solver", "model", "phase", "level", "stage", "snapshot", "weights", "iterations"),
    *("sigint_effect", "sighup_effect"),
)
_GLOG = ("logtostderr", "alsologtostderr", "stderrthreshold", "minloglevel", "v", "vmodule", "colorlogtostderr")
_PREFIX = "unused_"


def accept_all(part: argparse.ArgumentParser) -> None:
    """Add, unseen in the help, the flags of Caffe's binary that a command does not have."""
    known = {action.dest for action in part._actions}
    for name in (*_CAFFE, *_GLOG):
        if name not in known:
            part.add_argument(f"--{name}", dest=_PREFIX + name, nargs="?", const="true", help=argparse.SUPPRESS)


def note_unused(args: argparse.Namespace) -> None:
    """Say on stderr which flags of Caffe have no effect on the command; those of glog need no word."""
    for name in _CAFFE:
        if getattr(args, _PREFIX + name, None) is not None:
            sys.stderr.write(f"caffe-compat: note: --{name} has no effect on {args.command}, as in Caffe\n")
