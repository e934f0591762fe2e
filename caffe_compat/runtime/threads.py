"""Choose the number of torch's threads: one in a forked process, and one for small passes.

The threads of a loop wait for each other at its end. If another program has taken the core of one, the others wait for
milliseconds, more than the whole pass of a small net takes. (Waiting threads soon yield their core: see
``GOMP_SPINCOUNT`` in :mod:`caffe_compat`.)
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

SMALL = 1 << 26
"""Multiply-accumulates that one thread computes in about 2 ms."""

# OpenMP's threads do not survive a fork: the child's first parallel loop would wait for them forever.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Use one thread in this block if `work` (in multiply-accumulates) is small, else the number set before.

    Only loops of the calling thread are affected: ``torch.set_num_threads`` would also affect, for good, threads that
    use torch for the first time meanwhile.
    """
    limit = _limit() if work <= SMALL else None
    threads = torch.get_num_threads()  # asking makes torch initialise a new thread
    if limit is None or threads == 1:
        yield
        return
    restore = limit(1, 1)
    try:
        yield
    finally:
        limit(threads, restore)


@functools.cache
def _limit() -> Callable[[int, int], int] | None:
    """Return a function that sets the threads of OpenMP and MKL and returns MKL's previous number, or None."""
    library = next(Path(torch.__file__).with_name("lib").glob("libtorch_cpu.*"), None)
    try:
        torchs = ctypes.PyDLL(str(library))
        openmp = torchs.omp_set_num_threads
    except (OSError, AttributeError):
        return None
    openmp.argtypes, openmp.restype = [ctypes.c_int], None
    mkl = getattr(torchs, "MKL_Set_Num_Threads_Local", None)

    def limit(threads: int, mkls: int) -> int:
        openmp(threads)
        return int(mkl(mkls)) if mkl else mkls

    return limit
