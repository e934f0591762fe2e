"""Start and end the commands.

Ctrl-C exits with code 130 and without a traceback, even while the command is being imported. Once everything is closed
and written, the process exits without the interpreter's shutdown, in which h5py 3.16 may deadlock or crash while it
frees its property lists.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys

INTERRUPTED = 130

_code = 1  # after an unexpected exception


def caffe_compat() -> int:
    """Run ``caffe-compat`` with the arguments of the process; return its exit code."""
    return run("caffe-compat", "caffe_compat.cli")


def run(program: str, module: str) -> int:
    """Run the ``main`` of a module with the arguments of the process; return its exit code."""
    global _code  # noqa: PLW0603  (one per process)
    atexit.register(_exit)  # registered first, so that it runs last
    try:
        _code = importlib.import_module(module).main()
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: error: interrupted\n")
        _code = INTERRUPTED
    return _code


def _exit() -> None:
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(_code)
