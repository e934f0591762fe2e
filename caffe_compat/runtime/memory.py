"""Keep the memory of freed blobs for new blobs.

glibc returns freed blocks over 32 MiB to the system, and requests new, zeroed pages for the next. A pass of CNN+D at
batch 128 does so with 0.8 GB, a training iteration with 2 GB, and both spend up to 40 % of their time on it (on virtual
machines). If the memory is kept, a training process takes up to 1.5 times its peak.
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
    """Make glibc keep freed memory for the rest of this process; return whether that succeeded.

    A solver on the CPU and the commands train and test call it. Call it in your own program before passes of large
    batches. On systems other than Linux with glibc it does nothing.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))


def physical_memory() -> int:
    """Return the machine's memory in bytes, or `sys.maxsize` if the system does not state it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
