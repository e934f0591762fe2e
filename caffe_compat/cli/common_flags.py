"""Flags that ``caffe`` takes with every command, whether the command heeds them or not, and those of its log (glog)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from caffe_compat.solver.log import Log

BREW = ("train", "test", "time", "device_query")
"""The commands of BVLC Caffe 9b89154's tools/caffe.cpp."""

_CAFFE = (
    *("gpu", "solver", "model", "phase", "level", "stage", "snapshot", "weights", "iterations"),
    *("sigint_effect", "sighup_effect"),
)
_GLOG = (
    *("alsologtostderr", "stderrthreshold", "colorlogtostderr", "v", "vmodule", "log_prefix", "nolog_prefix"),
    *("log_link", "logbuflevel", "logbufsecs", "logfile_mode", "max_log_size", "stop_logging_if_full_disk"),
    *("log_backtrace_at", "drop_log_memory", "symbolize_stacktrace", "nologtostderr", "noalsologtostderr"),
)
_PREFIX = "unused_"
_YES = frozenset({"", "1", "t", "T", "true", "True", "y", "yes"})


def accept_all(part: argparse.ArgumentParser) -> None:
    """Add, unseen in the help, the flags of Caffe's binary that a command does not have."""
    given = os.environ.get
    least = _number(given("GLOG_minloglevel", "0"))
    part.add_argument(
        "--minloglevel",
        type=int,
        default=least,
        metavar="N",
        help="log from 0 info, 1 warning or 2 error on (default 0)",
    )
    part.add_argument(
        "--log_dir",
        metavar="DIR",
        default=given("GLOG_log_dir"),
        help="append the log to DIR/caffe.INFO as well, as glog does",
    )
    part.add_argument(
        "--logtostderr", nargs="?", const="1", default=given("GLOG_logtostderr", "0"), help=argparse.SUPPRESS
    )
    known = {action.dest for action in part._actions}
    for name in (*_CAFFE, *_GLOG):
        if name not in known:
            part.add_argument(f"--{name}", dest=_PREFIX + name, nargs="?", const="true", help=argparse.SUPPRESS)


def _number(text: str) -> int:
    """Return what an environment variable says to glog: a number, or 0."""
    return int(text) if text.lstrip("-").isdecimal() else 0


@contextmanager
def opened_log(args: argparse.Namespace, *files: str | Path | None) -> Iterator[Log]:
    """Open the log that glog's flags and GLOG_ variables ask for: standard error, log_dir's file, and `files`.

    torchrun's first process speaks for all.
    """
    to_folder = args.log_dir and args.logtostderr not in _YES
    names = [name for name in (*files, Path(args.log_dir) / "caffe.INFO" if to_folder else None) if name]
    with ExitStack() as stack:
        streams = [sys.stderr, *(stack.enter_context(Path(name).open("a", encoding="utf-8")) for name in names)]
        yield Log(*(streams if os.environ.get("RANK", "0") == "0" else ()), least=args.minloglevel)


def note_unused(args: argparse.Namespace) -> None:
    """Say on stderr which flags of Caffe have no effect on the command; those of glog need no word."""
    for name in _CAFFE:
        if getattr(args, _PREFIX + name, None) is not None:
            sys.stderr.write(f"caffe-compat: note: --{name} has no effect on {args.command}, as in Caffe\n")
