"""Train on multiple GPUs like ``caffe train -gpu 0,1``: start one process per GPU and wait for all of them.

The processes run :mod:`caffe_compat.solver.workers`; torchrun can start them as well.
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
_GRACE_PERIOD = 10.0  # seconds
_POLL_INTERVAL = 0.05  # seconds


def command_without_gpu(argv: Sequence[str]) -> list[str]:
    """Remove ``--gpu`` and its value from a command line."""
    rest = []
    words = iter(argv)
    for word in words:
        if word == "--gpu":
            next(words, None)
        elif not word.startswith("--gpu="):
            rest.append(word)
    return rest


def environments(gpus: Sequence[int], base: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the environment of each process: torchrun's variables, and CUDA_VISIBLE_DEVICES."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    visible = base.get("CUDA_VISIBLE_DEVICES", "").split(",")
    devices = [visible[gpu] if gpu < len(visible) and visible[gpu] else str(gpu) for gpu in gpus]
    shared = {
        "WORLD_SIZE": str(len(gpus)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": ",".join(devices),
    }
    return [{**base, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(len(gpus))]


def run_together(command: Sequence[str], each: Sequence[Mapping[str, str]]) -> int:
    """Run a command in each environment and forward signals; return 0, or the exit code of the first that failed."""
    processes: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        processes += [subprocess.Popen(command, env=env, start_new_session=True) for env in each]  # noqa: S603  (our own)
        return _wait(processes)
    finally:
        for stop in (subprocess.Popen.terminate, subprocess.Popen.kill):
            _stop_all(processes, stop)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    while True:
        codes = [process.poll() for process in processes]
        failed = [code for code in codes if code]
        if failed:
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        if all(code == 0 for code in codes):
            return 0
        time.sleep(_POLL_INTERVAL)


def _stop_all(processes: Sequence[subprocess.Popen[bytes]], stop: Callable[[subprocess.Popen[bytes]], None]) -> None:
    running = [process for process in processes if process.poll() is None]
    for process in running:
        stop(process)
    deadline = time.monotonic() + _GRACE_PERIOD
    for process in running:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            continue


def train_on(gpus: Sequence[int], argv: Sequence[str]) -> int:
    """Train with one process per GPU; `argv` are the arguments of ``caffe-compat``, flags with two dashes."""
    command = [sys.executable, "-m", "caffe_compat", *command_without_gpu(argv), "--device=cuda"]
    return run_together(command, environments(gpus, os.environ))
