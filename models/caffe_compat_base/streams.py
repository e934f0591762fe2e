"""Set up the standard streams of a command: open, able to print any file name, and silent on a closed pipe."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable


def with_streams(program: str, command: Callable[[], int]) -> int:
    """Run a command, flush its output, and return its exit code.

    Streams closed by the caller (``>&-``) are replaced by the null device. Characters that a stream's encoding lacks
    are written as escapes, undecodable bytes of a file name unchanged. The code is 1 if the reader of a pipe has gone
    (silently) or stdout cannot be written.
    """
    _open_closed_streams()
    codecs.register_error("escapes", _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="escapes")
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        sys.stderr.write(f"{program}: error: cannot write to stdout: {error.strerror or error}\n")
        return 1


def leave_ascii() -> None:
    """Restart the process in Python's UTF-8 mode if file names are limited to ASCII.

    Python chooses that mode itself in the C locale unless ``PYTHONUTF8=0`` forbids it. Lists, tables and libraries have
    UTF-8.
    """
    if sys.executable and codecs.lookup(sys.getfilesystemencoding()).name == "ascii":
        os.environ["PYTHONUTF8"] = "1"  # for child processes
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606  (restarts itself)


def _open_closed_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is the stream's
            os.set_inheritable(descriptor, True)  # noqa: FBT003  (positional only)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _discard_output() -> None:
    """Discard buffered output, also that flushed when the interpreter exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)
