"""Training on several GPUs as ``caffe train -gpu 0,1`` does: one process for each, started and watched from here.

What the processes do together is :mod:`caffe_compat.solver.workers`' business; torchrun starts the same ones.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

_FORWARDED = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGTERM") if hasattr(signal, name)]
_PATIENCE = 10.0  # seconds that the others get to end in
_PAUSE = 0.05


def command_without_gpu(argv: Sequence[str]) -> list[str]:
    """Return the words of a command line without ``--gpu`` and its value."""
    found = []
    words = iter(argv)
    for word in words:
        if word == "--gpu":
            next(words, None)
        elif not word.startswith("--gpu="):
            found.append(word)
    return found


def environments(gpus: Sequence[int], base: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the environment of each process: torchrun's variables, and the GPUs that it sees."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    visible = base.get("CUDA_VISIBLE_DEVICES", "").split(",")
    seen = [visible[gpu] if gpu < len(visible) and visible[gpu] else str(gpu) for gpu in gpus]
    shared = {
        "WORLD_SIZE": str(len(gpus)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": ",".join(seen),
    }
    return [{**base, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(len(gpus))]


def run_together(command: Sequence[str], each: Sequence[Mapping[str, str]]) -> int:
    """Run a command once in every environment, until all have ended; SIGINT and SIGHUP go to all of them.

    Returns
    -------
    0, or the code of the first that failed; the others are then ended.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        processes += [subprocess.Popen(command, env=env, start_new_session=True) for env in each]  # noqa: S603  (our own)
        return _watched(processes)
    finally:
        _end(processes)
        for number, handler in before.items():
            signal.signal(number, handler)


def _watched(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    while True:
        codes = [process.poll() for process in processes]
        failed = [code for code in codes if code]
        if failed:
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        if all(code == 0 for code in codes):
            return 0
        time.sleep(_PAUSE)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for stop in (subprocess.Popen.terminate, subprocess.Popen.kill):
        _stop_all(processes, stop)


def _stop_all(processes: Sequence[subprocess.Popen[bytes]], stop: Callable[[subprocess.Popen[bytes]], None]) -> None:
    running = [process for process in processes if process.poll() is None]
    for process in running:
        stop(process)
    until = time.monotonic() + _PATIENCE
    for process in running:
        try:
            process.wait(max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            continue


def train_on(gpus: Sequence[int], argv: Sequence[str]) -> int:
    """Train with one process for every GPU.

    Parameters
    ----------
    argv : words behind ``caffe-compat``, flags with two dashes.
    """
    command = [sys.executable, "-m", "caffe_compat", *command_without_gpu(argv), "--device=cuda"]
    return run_together(command, environments(gpus, os.environ))
