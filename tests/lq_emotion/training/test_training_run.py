"""lq-emotion study train on tiny files: what is changed, going on, refusing another training's folder, one-line errors."""

import json
import shutil

import numpy as np
import pytest

from caffe_compat import read_weights
from caffe_compat.formats.files import read_net, read_solver, same
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion import prototxt
from lq_emotion.nets.definitions import builder
from lq_emotion.nets.names import Net
from lq_emotion.training import run as training
from lq_emotion.training.losses import read_curves
from lq_emotion.training.run import find_weights
from matlab_ports import store2hdf5
from tests.lq_emotion import commands
from tests.lq_emotion.commands import draw_weights, interrupt_at

SMALL = ("--batch=4", "--test-iter=1", "--test-interval=2", "--display=1", "--snapshot=2", "--seed=1", "--device=cpu")


def write_h5(folder, side=96, label=1, rows=16, seed=0):
    """Write train.h5 and test.h5 as generate_h5 does, and their lists."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for phase in ("train", "test"):
        shape = (label, rows) if label == 1 else (label, label, 1, rows)
        store2hdf5(folder / f"{phase}.h5", rng.random((side, side, 1, rows)), rng.random(shape) - 0.5, chunksz=8)
        (folder / f"{phase}.txt").write_text(f"./{phase}.h5\n")
    return folder


def train(*argv):
    return commands.run("study", "train", *argv)


@pytest.fixture(scope="module")
def h5(tmp_path_factory):
    return write_h5(tmp_path_factory.mktemp("h5 files") / "HQ")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, h5):
    """CNN+D after three iterations."""
    out = tmp_path_factory.mktemp("some runs") / "HQ"
    assert train("--h5", h5, "--out", out, "--iterations=3", *SMALL) == 0
    return out


@pytest.fixture
def copy(finished, tmp_path):
    """The same folder as another run would leave it: snapshots may have been moved."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture(scope="module")
def sr_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("sr") / "Pretrain_iter_5.caffemodel"
    return draw_weights(path, seed=0, definition="matlabscripts/recon/deploy/SRCNN_net.prototxt")


def failed(capsys, *argv, code=1):
    return commands.failed(capsys, "study", "train", *argv, code=code)


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_all_files_are_written_and_no_partial_ones(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert names == {
        *("net.prototxt", "solver.prototxt", "settings.json", "train.json", "train.log", "loss.png"),
        *(f"snapshots/emotion_iter_{n}.{kind}" for n in (2, 3) for kind in ("caffemodel", "solverstate", "resume.npz")),
    }


def test_only_paths_and_changed_settings_differ_from_the_shipped_definitions(finished, h5):
    net = read_net(finished / "net.prototxt")
    for layer, phase in zip(net.layer[:2], ("train", "test"), strict=True):
        assert layer.hdf5_data_param.source == str(h5 / f"{phase}.txt")
        layer.hdf5_data_param.source = f"PATH/TO/{phase}.txt"
    assert net.layer[0].hdf5_data_param.batch_size == 4
    net.layer[0].hdf5_data_param.batch_size = 128
    assert same(net, read_net(prototxt.path(builder(Net.SCRATCH).shipped[0])))
    solver = read_solver(finished / "solver.prototxt")
    assert solver.snapshot_prefix == str(finished / "snapshots" / "emotion")
    assert (solver.max_iter, solver.random_seed, list(solver.test_iter)) == (3, 1, [1])
    assert solver.solver_mode == pb.SolverParameter.CPU
    assert solver.base_lr == pytest.approx(0.01)
    assert [solver.momentum, solver.weight_decay] == pytest.approx([0.9, 0.0005])
    assert solver.lr_policy == "fixed"


def test_every_change_is_printed(copy, h5, capsys):
    assert train("--h5", h5, "--out", copy, "--iterations=3", "--base-lr=0.005", "--fresh", *SMALL) == 0
    out = lines(capsys)
    assert out[0] == "training model_1F_CNN+D.prototxt by solver_1F_CNN+D.prototxt, as the authors wrote them"
    assert [line for line in out if line.startswith("  but ")] == [
        "  but batch_size: 128 -> 4",
        *("  but test_iter: 100 -> 1", "  but test_interval: 1000 -> 2", "  but base_lr: 0.01 -> 0.005"),
        *("  but display: 100 -> 1", "  but max_iter: 30000 -> 3", "  but snapshot: 1000 -> 2"),
        *("  but solver_mode: GPU -> CPU", "  but random_seed: -1 -> 1"),
    ]
    assert any("128 samples" in line and "--test-iter 1" in line for line in out)
    assert out[-1] == f"  {copy}/snapshots/emotion_iter_3.caffemodel"


def test_results_contain_the_losses_of_the_log(finished):
    results = json.loads((finished / "train.json").read_text())
    curves = read_curves(finished / "train.log", 3)
    assert results["test_loss"] == {str(iteration): loss for iteration, loss in curves.test.items()}
    assert list(curves.test) == [0, 2]
    assert list(results["train_loss"]) == ["0", "1", "2", "3"]
    assert results["files"][-1] == str(finished / "snapshots/emotion_iter_3.caffemodel")


def test_the_same_command_again_trains_nothing(copy, h5, capsys):
    before = (copy / "snapshots/emotion_iter_3.caffemodel").stat().st_mtime_ns
    assert train("--h5", h5, "--out", copy, "--iterations=3", *SMALL) == 0
    assert any("iteration 3 exists already" in line for line in lines(capsys))
    assert (copy / "snapshots/emotion_iter_3.caffemodel").stat().st_mtime_ns == before


def test_more_iterations_continue_a_training(copy, h5, capsys):
    assert train("--h5", h5, "--out", copy, "--iterations=5", *SMALL) == 0
    assert "continuing from emotion_iter_3.solverstate" in lines(capsys)
    assert sorted(read_curves(copy / "train.log", 5).train) == [0, 1, 2, 3, 4, 5]
    assert find_weights(copy) == copy / "snapshots/emotion_iter_5.caffemodel"


def test_an_interrupted_training_leaves_a_snapshot_and_continues(copy, h5, capsys, monkeypatch):
    monkeypatch.setattr(training, "_EVERY", 1)
    command = ("--h5", h5, "--out", copy, "--iterations=7", *SMALL[:-3], "--snapshot=100", "--seed=1", "--device=cpu")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "iteration 5 of 7")
        assert train(*command) == 130
    err = capsys.readouterr().err
    assert err == "lq-emotion: error: interrupted after iteration 5; the same command continues from there\n"
    assert not list(copy.rglob("*.partial"))
    assert train(*command) == 0
    assert "continuing from emotion_iter_5.solverstate" in lines(capsys)


def test_a_seed_gives_the_same_weights_again(finished, h5, tmp_path):
    assert train("--h5", h5, "--out", tmp_path / "again", "--iterations=3", *SMALL) == 0
    first, second = (
        read_weights(out / "snapshots/emotion_iter_3.caffemodel") for out in (finished, tmp_path / "again")
    )
    assert all(np.array_equal(a, b) for layer in first for a, b in zip(first[layer], second[layer], strict=True))


def test_frozen_layers_keep_the_super_resolution_weights(h5, sr_weights, tmp_path, capsys):
    out = tmp_path / "out"
    command = ("--net=vlqr_non_joint", "--h5", h5, "--out", out, "--iterations=1", *SMALL)
    assert train(*command, "--weights", sr_weights.parent) == 0
    assert lines(capsys)[0] == f"conv1, conv2, conv3 from {sr_weights}; fc4, fc5 from the fillers"
    start, end = read_weights(sr_weights), read_weights(out / "snapshots/emotion_iter_1.caffemodel")
    assert all(np.array_equal(start[layer][0], end[layer][0]) for layer in ("conv1", "conv2", "conv3"))
    assert "with other weights to start from" in failed(capsys, *command, "--weights=none")


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("--net=vlqr", ("vlqr", "--weights none")),  # starts from super-resolution weights
        ("--net=vlqr_non_joint", ("vlqr_non_joint", "--weights none")),
        ("--device=tpu9", ("--device = 'tpu9'",)),
    ],
)
def test_missing_weights_and_an_unknown_device_are_refused_before_anything_is_written(
    word, parts, h5, tmp_path, capsys
):
    err = failed(capsys, "--h5", h5, "--out", tmp_path / "out", "--iterations=1", *SMALL, word)
    assert all(part in err for part in parts), err
    assert not (tmp_path / "out").exists()


def test_weights_of_another_net_are_refused_before_anything_is_written(h5, finished, tmp_path, capsys):
    out = tmp_path / "out"
    base = ("--net=vlqr_non_joint", "--h5", h5, "--out", out, "--iterations=1", *SMALL)
    empty = tmp_path / "empty.caffemodel"
    other = pb.NetParameter(name="other", layer=[pb.LayerParameter(name="ip", type="InnerProduct")])
    other.layer[0].blobs.add(data=[1.0]).shape.dim.append(1)
    empty.write_bytes(other.SerializeToString())
    assert "conv1, conv2, conv3 (it has ip)" in failed(capsys, *base, "--weights", empty)
    assert "missing.caffemodel" in failed(capsys, *base, "--weights", tmp_path / "missing.caffemodel")
    assert "no snapshot found" in failed(capsys, *base, "--weights", tmp_path)
    assert not out.exists()


def test_the_super_resolution_net_trains_from_its_own_patches(tmp_path, capsys):
    h5 = write_h5(tmp_path / "sr", side=32, label=16)
    out = tmp_path / "out"
    assert train("--net=pretrain", "--h5", h5, "--out", out, "--iterations=1", *SMALL) == 0
    assert (out / "snapshots/Pretrain_iter_1.caffemodel").is_file()
    assert "  but test_iter: 556 -> 1" in lines(capsys)


def test_the_folder_of_another_training_is_not_changed_unless_fresh(copy, tmp_path, capsys):
    other = write_h5(tmp_path / "h5", seed=1)
    before = (copy / "settings.json").read_text()
    err = failed(capsys, "--h5", other, "--out", copy, "--iterations=3", *SMALL)
    assert "other training data" in err
    assert (copy / "settings.json").read_text() == before
    assert train("--h5", other, "--out", copy, "--iterations=1", "--fresh", *SMALL) == 0
    assert not (copy / "snapshots/emotion_iter_3.caffemodel").exists()


def test_a_folder_of_foreign_files_is_not_changed(h5, tmp_path, capsys):
    (tmp_path / "train.log").write_text("mine")
    assert "contains train.log, which no training wrote" in failed(capsys, "--h5", h5, "--out", tmp_path, *SMALL)
    assert (tmp_path / "train.log").read_text() == "mine"
    assert "a folder is expected" in failed(capsys, "--h5", h5, "--out", tmp_path / "train.log", *SMALL)


def test_unusable_data_is_one_line_and_makes_no_folder(h5, tmp_path, capsys):
    out, bad = tmp_path / "out", tmp_path / "bad"
    bad.mkdir()
    command = ("--h5", bad, "--out", out, "--iterations=1", *SMALL)
    assert "no train.txt" in failed(capsys, *command)
    (bad / "train.txt").write_text("train.h5\n")
    (bad / "test.txt").write_text("")
    assert "train.h5" in failed(capsys, *command)
    (bad / "train.h5").write_bytes(b"not HDF5")
    assert "damaged HDF5 file" in failed(capsys, *command)
    shutil.copy(h5 / "train.h5", bad / "train.h5")
    assert "test.txt: names no HDF5 file" in failed(capsys, *command)
    assert not out.exists()


def test_faces_of_another_size_are_refused(tmp_path, capsys):
    h5 = write_h5(tmp_path / "small", side=16)
    err = failed(capsys, "--h5", h5, "--out", tmp_path / "out", "--iterations=1", *SMALL)
    assert "layer 'conv3'" in err
