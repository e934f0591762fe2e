"""``lq-emotion``, the command line of the application: one module per command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from caffe_compat.errors import CaffeCompatError, printable
from caffe_compat.formats.regular_file import inputs_kept
from caffe_compat_base.streams import leave_ascii, with_streams
from lq_emotion.cli import (
    adapt,
    calibrate,
    degrade,
    demo,
    evaluate,
    h5,
    link,
    make_ferplus,
    make_ravdess,
    make_recordings,
    models,
    predict,
    prepare,
    rd,
    report,
    sr_demo,
    study,
    submission,
    table,
    train,
    verify,
)

# each adds a parser with a default `run`, which takes the parsed arguments and returns the exit code
_COMMANDS = (
    adapt,
    calibrate,
    degrade,
    demo,
    evaluate,
    h5,
    link,
    make_ferplus,
    make_ravdess,
    make_recordings,
    models,
    predict,
    prepare,
    rd,
    report,
    sr_demo,
    study,
    submission,
    table,
    train,
    verify,
)

_OUTPUTS = ("out", "page", "markdown")  # options that name files to write; the files that others name are read


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : arguments without the program's name; those of the process by default.

    Returns
    -------
    0; 1 if the command failed (one line on stderr, no traceback); 2 for wrong usage; 130 after Ctrl-C.
    """
    if argv is None:
        leave_ascii()
    return with_streams("lq-emotion", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        with inputs_kept(vars(args), _OUTPUTS):
            code: int = args.run(args)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as interrupt:
        return _failed(str(interrupt) or "interrupted; run the command again to finish", 130)
    except (CaffeCompatError, OSError) as error:
        return _failed(str(error))
    return code


def _failed(problem: str, code: int = 1) -> int:
    sys.stderr.write(f"lq-emotion: error: {printable(problem)}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lq-emotion", description="Robust emotion recognition from low-quality video.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser
