"""The process-wide settings of pycaffe (device, seed, log), and its timer."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from caffe_compat.data import CRand
from caffe_compat.definition.forks import fork_names
from caffe_compat.errors import CaffeCompatError
from caffe_compat.solver.log import CaffeLog, least_severity


class CaffeError(CaffeCompatError, RuntimeError):
    """An error that genuine pycaffe raises as RuntimeError, or aborts the process for; `code` gives its kind."""


class _State:
    """The settings that scripts change through the functions below."""

    device = torch.device("cpu")
    gpu = 0
    count = 1
    rank = 0
    multiprocess = False
    level = 0
    exact = False
    forks: tuple[str, ...] = ()
    randomness = CRand()


def device() -> torch.device:
    """Return the device that nets run on."""
    return _State.device


def set_mode_cpu() -> None:
    """Run nets on the CPU."""
    _State.device = torch.device("cpu")


def set_mode_gpu() -> None:
    """Run nets on the GPU that :func:`set_device` selected; a GPU that does not exist is refused."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if _State.gpu >= count:
        hint = f"torch found {count} GPUs; call set_mode_cpu()"
        raise CaffeError("this GPU does not exist", code="out-of-range", field="device", value=_State.gpu, hint=hint)
    _State.device = torch.device("cuda", _State.gpu)


def set_device(device_id: int) -> None:
    """Select the GPU for :func:`set_mode_gpu`; in GPU mode it takes effect immediately."""
    if device_id < 0:
        raise CaffeError("GPUs are numbered from 0", code="out-of-range", field="device", value=device_id)
    _State.gpu = int(device_id)
    if _State.device.type == "cuda":
        set_mode_gpu()


def exact() -> bool:
    """Tell whether new nets sum convolutions in genuine Caffe's order."""
    return _State.exact


def set_exact(exact: bool) -> None:  # noqa: FBT001  (like pycaffe's functions)
    """Make new nets sum convolutions in genuine Caffe's order: identical bits, but slower.

    Not a function of pycaffe; see :mod:`caffe_compat.build.exact`.
    """
    _State.exact = bool(exact)


def forks() -> tuple[str, ...]:
    """Return the forks of Caffe that new nets were written for, used if their layer types are ambiguous."""
    return _State.forks


def set_forks(names: tuple[str, ...]) -> None:
    """Set the forks of Caffe that new nets were written for. Not a function of pycaffe."""
    _State.forks = fork_names(names)


def set_random_seed(seed: int) -> None:
    """Seed the fillers and Dropout (which draw from torch's generator) and the data layers (from Caffe's)."""
    torch.manual_seed(int(seed))
    _State.randomness.reseed(int(seed))


def randomness() -> CRand:
    """Return the random stream of the data layers."""
    return _State.randomness


def solver_count() -> int:
    """Return the number of solvers that train together."""
    return _State.count


def set_solver_count(count: int) -> None:
    """Set the number of solvers that train together; only scripts read it."""
    _State.count = int(count)


def solver_rank() -> int:
    """Return the rank of this solver."""
    return _State.rank


def set_solver_rank(rank: int) -> None:
    """Set the rank of this solver."""
    _State.rank = int(rank)


def set_multiprocess(multiprocess: bool) -> None:  # noqa: FBT001  (Caffe's signature)
    """Set whether the solvers are processes."""
    _State.multiprocess = bool(multiprocess)


def has_nccl() -> bool:
    """Return False: use torchrun with ``caffe-compat train`` to train on multiple GPUs."""
    return False


def init_log(level: int = 0, stderr: bool = True) -> None:  # noqa: FBT001, FBT002  (Caffe's signature)
    """Set the lowest severity to log: 0 logs everything, 1 or more silences all lines of this package."""
    del stderr  # lines always go to stderr
    _State.level = int(level)


def make_log() -> CaffeLog:
    """Return the log: on stderr like Caffe's, silent if GLOG_minloglevel or init_log demands it."""
    silent = max(_State.level, least_severity()) > 0
    return CaffeLog() if silent else CaffeLog(sys.stderr)


def log(message: str) -> None:
    """Write a line to the log."""
    make_log().line("_caffe.cpp:50", message)


class Timer:
    """A stopwatch that waits for the GPU to finish."""

    def __init__(self) -> None:
        self._begin = self._end = 0.0

    def start(self) -> None:
        """Start the timer."""
        self._begin = self._end = self._now()

    def stop(self) -> None:
        """Stop the timer."""
        self._end = self._now()

    @property
    def ms(self) -> float:
        """The milliseconds between start and stop."""
        return float(np.float32((self._end - self._begin) * 1e3))

    @staticmethod
    def _now() -> float:
        if _State.device.type == "cuda":
            torch.cuda.synchronize(_State.device)
        return time.perf_counter()


class NCCL:
    """Not supported, see :func:`has_nccl`."""

    def __init__(self, *_: object) -> None:
        NCCL.new_uid()

    @staticmethod
    def new_uid() -> bytes:
        """Raise CaffeError."""
        hint = "use torchrun with `caffe-compat train` for multiple GPUs"
        raise CaffeError("NCCL is not supported", code="unsupported", hint=hint)
