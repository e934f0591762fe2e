"""The streams of a command: open, taking any name, quiet when their reader has gone; UTF-8 for the names of files."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable


def with_streams(program: str, command: Callable[[], int]) -> int:
    """Run a command and write out what it said; return its exit code.

    Streams that were closed by the caller (``>&-``) are the null device. A character that a stream's encoding does not
    have is written as an escape, a byte of a file's name as it is. 1 where nobody reads on, without a word, and where
    stdout cannot be written.
    """
    _open_closed()
    codecs.register_error("escapes", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="escapes")
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _let_go()
        return 1
    except OSError as error:
        _let_go()
        sys.stderr.write(f"{program}: error: stdout cannot be written: {error.strerror or error}\n")
        return 1


def leave_ascii() -> None:
    """Start the process again in Python's UTF-8 mode, where it has no more than ASCII for the names of files.

    Python chooses that mode in the C locale unless ``PYTHONUTF8=0`` forbids it; lists, tables and libraries hold UTF-8.
    """
    if sys.executable and codecs.lookup(sys.getfilesystemencoding()).name == "ascii":
        os.environ["PYTHONUTF8"] = "1"  # for the processes of this one
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606  (itself)


def _open_closed() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is the stream's own
            os.set_inheritable(descriptor, True)  # noqa: FBT003  (positional only)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _let_go() -> None:
    """Let what is still buffered go nowhere, also when the interpreter ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)
