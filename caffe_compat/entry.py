"""Where the commands begin: Ctrl-C ends them with 130 and without a traceback also while they are being imported."""

from __future__ import annotations

import importlib
import sys

INTERRUPTED = 130


def caffe_compat() -> int:
    """Run ``caffe-compat`` with the arguments of the process."""
    return _run("caffe-compat", "caffe_compat.cli")


def lq_emotion() -> int:
    """Run ``lq-emotion`` with the arguments of the process."""
    return _run("lq-emotion", "caffe_compat.models.robust_lq_emotion.cli")


def _run(program: str, module: str) -> int:
    try:
        code: int = importlib.import_module(module).main()
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: error: interrupted\n")
        return INTERRUPTED
    return code
