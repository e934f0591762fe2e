"""Where the commands begin and end.

Ctrl-C ends them with 130 and without a traceback also while they are being imported. At the end, once everything is
closed and written, the process leaves at once: the interpreter does not take its modules apart, as then h5py 3.16 may
wait for its own lock for good, or crash, when its property lists go away.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys

INTERRUPTED = 130

_code = 1  # that of an exception that nobody expected


def caffe_compat() -> int:
    """Run ``caffe-compat`` with the arguments of the process, which ends with the code returned."""
    return run("caffe-compat", "caffe_compat.cli")


def run(program: str, module: str) -> int:
    """Run ``main`` of a module with the arguments of the process, which ends with the code returned."""
    global _code  # noqa: PLW0603  (of the process)
    atexit.register(_leave)  # before all others, so that it comes after them
    try:
        _code = importlib.import_module(module).main()
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: error: interrupted\n")
        _code = INTERRUPTED
    return _code


def _leave() -> None:
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(_code)
