"""How many threads torch computes with: one in a forked process, one for passes too small to be worth sharing out.

The threads of a loop wait for each other at its end. One that other programs have taken the core from is waited for,
in milliseconds; a whole pass of a small net takes less. (They also give their core away soon
while they wait: see ``GOMP_SPINCOUNT`` in :mod:`caffe_compat`.)
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
"""Work, in multiply-accumulates, that one thread does in some 2 ms."""

# OpenMP's threads do not live on in a child, and the first loop that is shared out among them waits for them for good.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Compute with one thread in this block if `work` is small; with as many as there were, otherwise.

    Only the calling thread's loops are meant: ``torch.set_num_threads`` would also count for threads that torch meets
    for the first time meanwhile, for good.
    """
    limit = _limit() if work <= SMALL else None
    before = torch.get_num_threads()  # torch sets a new thread's number when it is first asked
    if limit is None or before == 1:
        yield
        return
    restore = limit(1, 1)
    try:
        yield
    finally:
        limit(before, restore)


@functools.cache
def _limit() -> Callable[[int, int], int] | None:
    """Return what sets the numbers of OpenMP's and of MKL's threads, and returns MKL's last; None on other systems."""
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
