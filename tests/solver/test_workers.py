"""Several processes train one net as Caffe's several GPUs do: N of batch B are one of batch N B."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.build.weights import read_weights
from caffe_compat.cli import main
from caffe_compat.solver.workers import Share, Workers
from tests.solver.case import NET, SOLVER, write_case

ROOT = Path(__file__).parents[2]


class Counting:
    """A source whose rows are their own numbers."""

    tops, shapes = ("data",), {"data": (3, 1)}

    def __init__(self):
        self.row = 0

    def next(self):
        self.row += 3
        return {"data": torch.arange(self.row - 3, self.row).view(3, 1)}

    def reset(self):
        self.row = 0


def test_row_i_goes_to_worker_i_modulo_their_number():
    shares = [Share(Counting(), Workers(rank, 2)) for rank in range(2)]
    taken = [[share.next()["data"].ravel().tolist() for _ in range(2)] for share in shares]
    assert taken == [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 11]]]
    shares[1].reset()
    assert shares[1].next()["data"].ravel().tolist() == [1, 3, 5]


@contextmanager
def launched(folder, *arguments, processes=2):
    """Start the processes of one training; none of them outlives the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "caffe_compat", "train", "--solver=solver.prototxt", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "RANK": str(rank), "LOCAL_RANK": str(rank), **together},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def weights(path):
    return {(layer, i): blob for layer, blobs in read_weights(path).items() for i, blob in enumerate(blobs)}


def test_two_processes_give_the_weights_of_one_with_twice_the_batch(tmp_path, monkeypatch):
    solver = SOLVER.replace("random_seed: 1", "").replace("max_iter: 12", "max_iter: 30")
    for name, batch in (("one", 8), ("two", 4)):
        (tmp_path / name).mkdir()
        write_case(tmp_path / name, net=NET.replace("batch_size: 4", f"batch_size: {batch}"), solver=solver)
    monkeypatch.chdir(tmp_path / "one")
    assert main(["train", "--solver=solver.prototxt", "--max_iter=5"]) == 0  # the common start
    start = str((tmp_path / "one" / "snap_iter_5.caffemodel").rename(tmp_path / "start.caffemodel"))
    assert main(["train", "--solver=solver.prototxt", f"--weights={start}"]) == 0
    with launched(tmp_path / "two", f"--weights={start}") as processes:
        logs = [process.communicate(timeout=120)[1] for process in processes]
    one, two = (weights(tmp_path / name / "snap_iter_30.caffemodel") for name in ("one", "two"))
    began = weights(start)
    assert one.keys() == two.keys()
    for key, expected in one.items():
        assert not np.array_equal(began[key], expected)
        assert np.abs(two[key] - expected).max() <= 1e-6 * np.abs(expected).max(), key
    assert "Optimization Done." in logs[0]
    assert logs[1] == ""  # the first one speaks for all


@pytest.mark.parametrize("asked", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_an_interrupt_of_any_worker_stops_all_with_one_snapshot(tmp_path, asked):
    write_case(tmp_path, solver=SOLVER.replace("max_iter: 12", "max_iter: 100000000").replace("snapshot: 5 ", ""))
    with launched(tmp_path, f"--log={tmp_path / 'log'}") as processes:
        deadline = time.monotonic() + 60
        while not ((tmp_path / "log").exists() and "Iteration 40" in (tmp_path / "log").read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        processes[asked].send_signal(signal.SIGINT)
        codes = [(process.communicate(timeout=60), process.returncode)[1] for process in processes]
        assert codes == [0, 0]
    assert "Optimization stopped early" in (tmp_path / "log").read_text()
    assert len(list(tmp_path.glob("snap_iter_*.solverstate"))) == 1


def test_more_gpus_than_there_are_are_refused(case, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert main(["train", "--solver=solver.prototxt", "--gpu=0,1"]) == 1
    error = capsys.readouterr().err
    assert "--gpu = '0,1'" in error
    assert "found 1 CUDA device" in error
