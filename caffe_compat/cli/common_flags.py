"""The flags that the parser adds: ``--fork``, those of Caffe's binary, and those of its logger (glog)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.formats.atomic import require_not_input

if TYPE_CHECKING:
    from caffe_compat.solver.log import CaffeLog

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
_IGNORED = "ignored_"
_TRUE = frozenset({"", "1", "t", "T", "true", "True", "y", "yes"})


def add_fork(part: argparse.ArgumentParser) -> None:
    """Add ``--fork``; the command prepares its nets with the forks it names."""
    part.add_argument(
        "--fork",
        action="append",
        default=[],
        metavar="NAME",
        help="fork of Caffe the net was written for, if its layer types are ambiguous (docs/forks.md)",
    )


def accept_all(part: argparse.ArgumentParser) -> None:
    """Accept every flag of Caffe's binary; those that have no effect are hidden from the help."""
    from caffe_compat.solver.log import least_severity  # imports torch, which only these commands need

    glog = os.environ.get
    part.add_argument(
        "--minloglevel",
        type=int,
        default=least_severity(),
        metavar="N",
        help="lowest severity to log: 0 info, 1 warning, 2 error (default 0)",
    )
    part.add_argument(
        "--log_dir",
        metavar="DIR",
        default=glog("GLOG_log_dir"),
        help="also append the log to DIR/caffe.INFO, as glog does",
    )
    part.add_argument(
        "--logtostderr", nargs="?", const="1", default=glog("GLOG_logtostderr", "0"), help=argparse.SUPPRESS
    )
    own_flags = {action.dest for action in part._actions}
    for name in (*_CAFFE, *_GLOG):
        if name not in own_flags:
            part.add_argument(f"--{name}", dest=_IGNORED + name, nargs="?", const="true", help=argparse.SUPPRESS)


@contextmanager
def opened_log(args: argparse.Namespace, *files: str | Path | None) -> Iterator[CaffeLog]:
    """Open the log that glog's flags and GLOG_ variables select: stderr, the file in log_dir, and `files`.

    Under torchrun only the first process logs.
    """
    from caffe_compat.solver.log import CaffeLog

    to_folder = args.log_dir and args.logtostderr not in _TRUE
    paths = [path for path in (*files, Path(args.log_dir) / "caffe.INFO" if to_folder else None) if path]
    for path in paths:
        require_not_input(path)
    with ExitStack() as stack:
        streams = [sys.stderr, *(stack.enter_context(Path(path).open("a", encoding="utf-8")) for path in paths)]
        yield CaffeLog(*(streams if os.environ.get("RANK", "0") == "0" else ()), least=args.minloglevel)


def note_unused(args: argparse.Namespace) -> None:
    """Note on stderr which of Caffe's flags have no effect on the command; glog's flags are accepted silently."""
    for name in _CAFFE:
        if getattr(args, _IGNORED + name, None) is not None:
            sys.stderr.write(f"caffe-compat: note: --{name} has no effect on {args.command}, as in Caffe\n")
