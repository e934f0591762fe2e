"""train --gpu=0,1 starts one process for each GPU, tells them what torchrun would, and ends with them."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from caffe_compat.cli import multi_gpu
from caffe_compat.cli.multi_gpu import command_without_gpu, environments, run_together


def test_each_process_gets_its_rank():
    processes = environments([1, 3], {"A": "b"})
    assert [(env["RANK"], env["LOCAL_RANK"], env["WORLD_SIZE"]) for env in processes] == [
        ("0", "0", "2"),
        ("1", "1", "2"),
    ]
    assert {env["CUDA_VISIBLE_DEVICES"] for env in processes} == {"1,3"}
    assert len({env["MASTER_PORT"] for env in processes}) == 1
    assert all(env["A"] == "b" for env in processes)
    assert environments([1], {"CUDA_VISIBLE_DEVICES": "5,7"})[0]["CUDA_VISIBLE_DEVICES"] == "7"


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "--gpu=0,1", "--solver=s"],
        ["train", "--gpu", "all", "--solver=s"],
        ["train", "--solver=s", "--gpu", "0,1"],
    ],
)
def test_the_processes_run_the_command_without_the_gpu_flag(argv):
    assert command_without_gpu(argv) == ["train", "--solver=s"]


def python(code):
    return [sys.executable, "-c", f"import os, sys, time, signal\n{code}"]


def test_the_exit_code_is_0_when_all_processes_succeed(tmp_path):
    code = f"open(os.path.join({str(tmp_path)!r}, os.environ['RANK']), 'w')"
    assert run_together(python(code), environments([0, 1, 2], os.environ)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_when_a_process_fails_the_others_are_terminated_and_its_exit_code_returned():
    code = "sys.exit(7) if os.environ['RANK'] == '1' else time.sleep(60)"
    start = time.monotonic()
    assert run_together(python(code), environments([0, 1], os.environ)) == 7
    assert time.monotonic() - start < 30
    assert run_together(python("os.kill(os.getpid(), signal.SIGKILL)"), environments([0], os.environ)) == 137


def test_signals_are_forwarded_to_all_processes(tmp_path):
    code = (
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(0))\n"
        f"open(os.path.join({str(tmp_path)!r}, os.environ['RANK']), 'w').close()\ntime.sleep(60)\nsys.exit(3)"
    )

    def interrupt():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run_together(python(code), environments([0, 1], os.environ)) == 0
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_training_on_two_gpus_starts_two_processes(monkeypatch, tmp_path):
    from caffe_compat.cli import main

    started = []
    monkeypatch.setattr(multi_gpu, "run_together", lambda command, each: started.append((command, each)) or 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "solver.prototxt").write_text('net: "x"')
    solver = str(tmp_path / "solver.prototxt")
    assert main(["train", "-solver", solver, "-gpu", "0,2"]) == 0
    assert main(["train", "-solver", solver, "-gpu=all"]) == 0
    (command, each), (_, all_of_them) = started
    assert command[1:] == ["-m", "caffe_compat", "train", "--solver", solver, "--device=cuda"]
    assert each[1]["CUDA_VISIBLE_DEVICES"] == "0,2"
    assert len(all_of_them) == 3


@pytest.mark.slow
def test_two_processes_with_half_the_batch_learn_the_same_as_one(folder):
    import numpy as np

    from caffe_compat.build.weights import read_weights
    from caffe_compat.cli import main
    from tests.solver.case import NET, SOLVER, write_case

    write_case(folder, solver=SOLVER.replace("display: 4", "display: 0"))
    assert main(["train", "--solver=solver.prototxt", "--set=snapshot_prefix: 'one'"]) == 0
    (folder / "net.prototxt").write_text(NET.replace("batch_size: 4", "batch_size: 2"))
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "caffe_compat", "train", "--solver=solver.prototxt", "--device=cpu"]
    base = {**os.environ, "PYTHONPATH": root}
    assert run_together([*command, "--set=snapshot_prefix: 'two'"], environments([0, 1], base)) == 0
    one, two = (read_weights(f"{name}_iter_12.caffemodel")["ip"] for name in ("one", "two"))
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(one, two, strict=True))
