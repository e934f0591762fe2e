"""caffe-compat train and test: Caffe's flags, exit codes, signals, and snapshots after a kill."""

import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from caffe_compat.cli import main
from tests.solver.case import NET, SOLVER

ROOT = Path(__file__).parents[2]


def failed(capsys, *argv, code=1):
    assert main(argv) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "--solver=solver.prototxt"],
        ["train", "-solver", "solver.prototxt", "-gpu="],
        ["-solver=solver.prototxt", "train"],
        ["train", "--solver", "solver.prototxt", "--sigint-effect=none", "-sighup_effect", "stop", "--level=0"],
    ],
)
def test_flags_are_spelled_as_caffes(case, capsys, argv):
    assert main(argv) == 0
    err = capsys.readouterr().err
    assert err.rstrip().endswith("caffe.cpp:250] Optimization Done.")
    assert (case / "snap_iter_12.caffemodel").is_file()


def test_flags_override_the_placeholders_of_the_files(case, capsys):
    (case / "net.prototxt").write_text(NET.replace('source: "', 'source: "PATH/TO/'))
    text = SOLVER.replace('"net.prototxt"', '"PATH/TO/net.prototxt"').replace('"snap"', '"PATH/TO/snap"')
    (case / "solver.prototxt").write_text(text)
    argv = ["train", "--solver=solver.prototxt"]
    assert "snapshot_prefix = 'PATH/TO/snap'" in failed(capsys, *argv)
    argv += ["--snapshot_prefix=mine"]
    assert "net = 'PATH/TO/net.prototxt'" in failed(capsys, *argv)
    argv += ["--net=net.prototxt"]
    assert "PATH/TO/train.txt" in failed(capsys, *argv)
    argv += ["--train_source=train.txt", "--test-source=test.txt", "--max_iter=3", "--set=display: 1 base_lr: 0.5"]
    assert main(argv) == 0
    assert "Iteration 2, lr = 0.5" in capsys.readouterr().err
    assert sorted(file.name for file in case.glob("mine*")) == [
        f"mine_iter_3.{kind}" for kind in ("caffemodel", "resume.npz", "solverstate")
    ]


def test_snapshot_prefix_defaults_to_the_solvers_name(case):
    text = SOLVER.replace('snapshot_prefix: "snap"', "")
    (case / "solver.prototxt").write_text(text)
    assert main(["train", "--solver=solver.prototxt"]) == 0
    assert (case / "solver_iter_12.caffemodel").is_file()


def test_training_resumes_and_finetunes(case, capsys):
    assert main(["train", "--solver=solver.prototxt"]) == 0
    whole = (case / "snap_iter_12.caffemodel").read_bytes()
    (case / "snap_iter_12.caffemodel").unlink()
    assert main(["train", "--solver=solver.prototxt", "--snapshot=snap_iter_5.solverstate"]) == 0
    assert "Resuming from snap_iter_5.solverstate" in capsys.readouterr().err
    assert (case / "snap_iter_12.caffemodel").read_bytes() == whole
    weights = "--weights=snap_iter_5.caffemodel,snap_iter_10.caffemodel"
    assert main(["train", "--solver=solver.prototxt", weights, "--snapshot_prefix=tuned"]) == 0
    assert "Finetuning from snap_iter_10.caffemodel" in capsys.readouterr().err


def test_the_log_can_be_written_to_a_file(case, capsys):
    assert main(["train", "--solver=solver.prototxt", "--log=train.log"]) == 0
    assert (case / "train.log").read_text() == capsys.readouterr().err


def test_test_scores_batches_and_means(case, capsys):
    assert main(["train", "--solver=solver.prototxt"]) == 0
    train = capsys.readouterr().err
    assert main(["test", "--model=net.prototxt", "--weights=snap_iter_12.caffemodel", "-iterations", "3"]) == 0
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == "Use CPU."
    lines = ["", *lines[lines.index("Running for 3 iterations.") :]]
    batches = [float(line.split("= ")[1]) for line in lines[2:5]]
    assert [line.split("=")[0] for line in lines[2:5]] == [f"Batch {n}, loss " for n in range(3)]
    mean = float(lines[5].removeprefix("Loss: "))
    assert mean == pytest.approx(sum(batches) / 3, rel=1e-5)
    shown = lines[5].removeprefix("Loss: ")
    assert lines[6] == f"loss = {shown} (* 1 = {shown} loss)"
    assert re.findall(r"Test net output #0: loss = (\S+)", train)[-1] == shown


def test_source_layers_missing_from_the_net_are_logged_and_unrelated_files_refused(case, capsys):
    assert main(["train", "--solver=solver.prototxt", "--max_iter=1"]) == 0
    head = (
        'layer { name: "more" type: "InnerProduct" bottom: "data" top: "more" inner_product_param { num_output: 1 } }'
    )
    (case / "wide.prototxt").write_text(NET + head)
    (case / "other.prototxt").write_text(NET.replace('"ip"', '"fc"'))
    argv = ["train", "--solver=solver.prototxt", "--max_iter=1", "--net=wide.prototxt", "--snapshot_prefix=wide"]
    assert main(argv) == 0
    capsys.readouterr()
    ignored = r"net.cpp:746\] Ignoring source layer (\S+)\n"
    assert main(["test", "--model=net.prototxt", "--weights=wide_iter_1.caffemodel", "--iterations=1"]) == 0
    layers = re.findall(ignored, capsys.readouterr().err)
    assert "more" in layers
    assert main(["train", "--solver=solver.prototxt", "--max_iter=1", "--weights=wide_iter_1.caffemodel"]) == 0
    assert re.findall(ignored, capsys.readouterr().err) == layers * 2  # by the training net and by the test net
    for command in (
        ["test", "--model=other.prototxt", "--iterations=1"],
        ["train", "--solver=solver.prototxt", "--net=other.prototxt", "--snapshot_prefix=none"],
        ["train", "--solver=solver.prototxt", "--net=other.prototxt", "--snapshot_prefix=none", "--report"],
    ):
        text = failed(capsys, *command, "--weights=snap_iter_1.caffemodel")
        assert "snap_iter_1.caffemodel: shares no layer with the net: the file has ip, the net has fc" in text
    assert not list(case.glob("none*"))


def test_every_flag_of_caffes_binary_is_accepted(case, capsys):
    argv = "train -solver solver.prototxt -phase TRAIN -iterations 5 -alsologtostderr -minloglevel=0 -log_dir=. --max_iter=1"
    assert main(argv.split()) == 0
    err = capsys.readouterr().err
    assert "note: --iterations has no effect on train, as in Caffe" in err
    assert "note: --phase has no effect on train, as in Caffe" in err
    assert "Optimization Done." in (case / "caffe.INFO").read_text()
    argv = "test -model=net.prototxt -weights=snap_iter_1.caffemodel -iterations=1 -phase=TEST -snapshot="
    assert main([*argv.split(), "-sigint_effect", "stop", "-solver=s"]) == 0
    assert "note: --phase has no effect on test" in capsys.readouterr().err


def test_weights_too_large_for_a_snapshot_are_refused_before_training(case, capsys, monkeypatch):
    from caffe_compat.cli import train

    monkeypatch.setattr(train, "SIZE_LIMIT", 4 * 4 - 1)
    text = failed(capsys, "train", "--solver=solver.prototxt")
    assert "snapshot_format = 'BINARYPROTO': a snapshot would have 16 bytes" in text
    assert not list(case.glob("snap*"))
    assert main(["train", "--solver=solver.prototxt", "--set=snapshot_format: HDF5"]) == 0
    monkeypatch.setattr(train, "SIZE_LIMIT", 4 * 4)
    assert main(["train", "--solver=solver.prototxt"]) == 0


def test_running_as_a_module_is_the_same_command(case):
    done = subprocess.run(
        [sys.executable, "-m", "caffe_compat", "train", "--solver=gone"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("caffe-compat: error: gone: ")


def started(case, *argv):
    return subprocess.Popen(
        [sys.executable, "-m", "caffe_compat", "train", "--solver=solver.prototxt", *argv],
        stderr=subprocess.PIPE,
        text=True,
        cwd=case,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def wait_for(case, pattern, process):
    end = time.monotonic() + 60
    while not list(case.glob(pattern)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def endless(case):
    text = SOLVER.replace("max_iter: 12", "max_iter: 100000000").replace("display: 4", "display: 0")
    (case / "solver.prototxt").write_text(text)
    return case


def test_sigint_snapshots_and_stops_and_sighup_snapshots(endless):
    process = started(endless, "--set=snapshot: 0 test_interval: 1000000000")
    for line in process.stderr:
        if "Starting Optimization" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGHUP)
    wait_for(endless, "*.solverstate", process)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Optimization stopped early." in err
    assert len(list(endless.glob("*.solverstate"))) == 2


def test_a_killed_run_leaves_complete_snapshots_and_can_be_resumed(endless, capsys):
    """Snapshots in every iteration, so that the kill most likely comes while one is written."""
    for delay in (0.0, 0.003, 0.011):
        process = started(endless, "--set=snapshot: 1")
        wait_for(endless, "*_1?.solverstate", process)
        time.sleep(delay)
        process.kill()
        process.communicate()
        states = list(endless.glob("*.solverstate"))
        last = max(states, key=lambda path: int(path.stem.rpartition("_")[2]))
        done = int(last.stem.rpartition("_")[2])
        argv = [
            "train",
            "--solver=solver.prototxt",
            f"--snapshot={last}",
            "--set=snapshot: 0",
            f"--max_iter={done + 2}",
        ]
        assert main(argv) == 0
        for path in endless.glob("snap*"):
            if path.suffix == ".caffemodel":
                assert main(["show", str(path)]) == 0
            path.unlink()


def test_lack_of_memory_is_one_error(monkeypatch, capsys):
    def lacking(_args):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr("caffe_compat.cli.parse", lambda _argv: Namespace(run=lacking, fork=[]))
    assert "DefaultCPUAllocator" in failed(capsys)

    def broken(_args):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("caffe_compat.cli.parse", lambda _argv: Namespace(run=broken, fork=[]))
    with pytest.raises(RuntimeError, match="a bug of ours"):
        main([])
