"""Keep the memory of freed blobs for the next ones.

glibc gives blocks over 32 MiB back to the system when they are freed and asks for new, zeroed pages for the next. A
pass of CNN+D at batch 128 does that with 0.8 GB, a training iteration with 2 GB, and both spend up to 40 % of their
time there (on virtual machines). Kept, a training process holds its peak and up to half of it more.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc
_NEVER = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc, for the rest of this process, to keep what is freed; return whether it took the advice.

    A solver that trains on the CPU and the command line's train and test do this. Call it yourself before passes of
    large batches in your own program; elsewhere than on Linux with glibc it does nothing.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))


def physical_memory() -> int:
    """Return the machine's memory in bytes; more than any machine has where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
