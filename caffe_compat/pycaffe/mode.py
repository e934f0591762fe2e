"""What pycaffe keeps for the whole process: device, random numbers, log; and a stopwatch."""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import torch

from caffe_compat.data import CRand
from caffe_compat.definition.forks import fork_names
from caffe_compat.solver.log import Log


class CaffeError(RuntimeError):
    """What genuine pycaffe reports as a RuntimeError, or ends the interpreter for."""


class Randomness(CRand):
    """What the data layers of the process draw from: one stream, whichever net they belong to."""

    def reseed(self, seed: int) -> None:
        """Start Caffe's own numbers anew; the C library's, which shuffle HDF5Data, go on as in Caffe."""
        self._random_seed, self._own = seed, None


class _State:
    """The settings scripts change through module functions."""

    device = torch.device("cpu")
    gpu = 0
    count = 1
    rank = 0
    multiprocess = False
    level = 0
    exact = False
    forks: tuple[str, ...] = ()
    randomness = Randomness()


def device() -> torch.device:
    """Return where nets compute now."""
    return _State.device


def set_mode_cpu() -> None:
    """Compute on the CPU."""
    _State.device = torch.device("cpu")


def set_mode_gpu() -> None:
    """Compute on the GPU chosen by :func:`set_device`.

    Raises
    ------
    CaffeError
        There is none here, or no such one.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if _State.gpu >= found:
        what = f"GPU {_State.gpu}" if found else "a GPU"
        raise CaffeError(f"torch finds {found} GPUs here, so {what} cannot be used (set_mode_cpu() works everywhere)")
    _State.device = torch.device("cuda", _State.gpu)


def set_device(device_id: int) -> None:
    """Choose the GPU for :func:`set_mode_gpu`; one that is in use already gives way at once."""
    if device_id < 0:
        raise CaffeError(f"device {device_id}: GPUs are numbered from 0")
    _State.gpu = int(device_id)
    if _State.device.type == "cuda":
        set_mode_gpu()


def exact() -> bool:
    """Tell whether convolutions of nets made from now on add up in genuine Caffe's order."""
    return _State.exact


def set_exact(exact: bool) -> None:  # noqa: FBT001  (as its siblings)
    """Let the convolutions of nets made from now on add up in genuine Caffe's order: its bits, slower.

    No function of Caffe's; see :mod:`caffe_compat.build.exact`.
    """
    _State.exact = bool(exact)


def forks() -> tuple[str, ...]:
    """Return the forks of Caffe that nets made from now on are for, where their layers do not tell."""
    return _State.forks


def set_forks(names: tuple[str, ...]) -> None:
    """Name the forks of Caffe that nets made from now on are for; no function of Caffe's."""
    _State.forks = fork_names(names)


def set_random_seed(seed: int) -> None:
    """Seed fillers, Dropout (whose draws are torch's, not Caffe's) and the data layers (whose draws are Caffe's)."""
    torch.manual_seed(int(seed))
    _State.randomness.reseed(int(seed))


def randomness() -> Randomness:
    """Return what the data layers of the process draw from."""
    return _State.randomness


def solver_count() -> int:
    """Return how many solvers train together."""
    return _State.count


def set_solver_count(count: int) -> None:
    """Tell how many solvers train together; nothing here depends on it but what scripts read."""
    _State.count = int(count)


def solver_rank() -> int:
    """Return which of the solvers this is."""
    return _State.rank


def set_solver_rank(rank: int) -> None:
    """Tell which of the solvers this is."""
    _State.rank = int(rank)


def set_multiprocess(multiprocess: bool) -> None:  # noqa: FBT001  (Caffe's signature)
    """Tell whether the solvers are processes."""
    _State.multiprocess = bool(multiprocess)


def has_nccl() -> bool:
    """Return False: many GPUs are used through torchrun and ``caffe-compat train``, not through NCCL objects."""
    return False


def init_log(level: int = 0, stderr: bool = True) -> None:  # noqa: FBT001, FBT002  (Caffe's signature)
    """Set the least severity of log lines: 0 everything, 1 and more nothing of what is written here."""
    del stderr  # they always go there
    _State.level = int(level)


def make_log() -> Log:
    """Return where log lines go: stderr, as Caffe's do, unless GLOG_minloglevel or init_log asks for less."""
    silent = max(_State.level, _minimum()) > 0
    return Log() if silent else Log(sys.stderr)


def _minimum() -> int:
    text = os.environ.get("GLOG_minloglevel", "0")  # noqa: SIM112  (glog's own name)
    return int(text) if text.isdigit() else 0


def log(message: str) -> None:
    """Write one line to the log."""
    make_log().line("_caffe.cpp:50", message)


class Timer:
    """A stopwatch; what the GPU still computes is waited for."""

    def __init__(self) -> None:
        self._begin = self._end = 0.0

    def start(self) -> None:
        """Start it."""
        self._begin = self._end = self._now()

    def stop(self) -> None:
        """Stop it."""
        self._end = self._now()

    @property
    def ms(self) -> float:
        """Milliseconds between start and stop."""
        return float(np.float32((self._end - self._begin) * 1e3))

    @staticmethod
    def _now() -> float:
        if _State.device.type == "cuda":
            torch.cuda.synchronize(_State.device)
        return time.perf_counter()


class NCCL:
    """Refused: see :func:`has_nccl`."""

    def __init__(self, *_: object) -> None:
        raise CaffeError("NCCL objects are not supported (torchrun with `caffe-compat train` trains on several GPUs)")

    @staticmethod
    def new_uid() -> bytes:
        """Refuse."""
        raise CaffeError("NCCL objects are not supported (has_nccl() is False)")
