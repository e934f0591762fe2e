"""Training as the paper says: own sizes, 1 - CCC, a rate that falls when tests stall; going on after a kill."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from caffe_compat import load_net, read_weights
from caffe_compat.build.weights import save_weights
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import read_net, read_solver
from lq_emotion.crops.h5 import named_apart
from lq_emotion.evaluation.predictor import DEPLOY, find_definition, load_predictor
from lq_emotion.nets.sr_fcn import sr_fcn_deploy
from lq_emotion.nets.switches import AS_PAPER
from lq_emotion.training import plateau, training_run
from lq_emotion.training.losses import ccc_loss, read_curves
from lq_emotion.training.settings import Changes, TrainingSettings
from tests.lq_emotion.commands import quiet
from tests.lq_emotion.training.test_training_run import failed, train, write_h5
from tests.refusals import refused

OWN_CCC = replace(AS_PAPER, loss="ccc")
SMALL = Changes(batch=8, test_iter=1, test_interval=1, display=1, snapshot=4, random_seed=1, base_lr=0.3)


@pytest.fixture(scope="module")
def h5(tmp_path_factory):
    """Faces of 6 x 6: those of s = 16 at their own size."""
    return write_h5(tmp_path_factory.mktemp("h5 files") / "LR16_own", side=6)


def trained(h5, out, iterations, switches=OWN_CCC, base_lr=SMALL.base_lr, **options):
    changes = replace(SMALL, max_iter=iterations, base_lr=base_lr)
    settings = TrainingSettings(out=out, h5=h5, changes=changes, switches=switches, device="cpu", **options)
    return training_run.train(settings, quiet)


@pytest.fixture(scope="module")
def whole(h5, tmp_path_factory):
    out = tmp_path_factory.mktemp("paper") / "run"
    trained(h5, out, 10)
    return out


def weights(folder, iteration):
    return (folder / f"snapshots/emotion_iter_{iteration}.caffemodel").read_bytes()


def test_the_definitions_are_the_papers(whole):
    net, solver = read_net(whole / "net.prototxt"), read_solver(whole / "solver.prototxt")
    assert {layer.type for layer in net.layer} >= {"MVN", "HDF5Data"}
    assert not any("Loss" in layer.type for layer in net.layer)  # Caffe knows none of CCC
    assert (solver.lr_policy, list(solver.stepvalue)) == ("multistep", [])
    deploy = load_net(whole / "deploy.prototxt", seed=0)
    assert deploy.caffe.shapes["data"] == (1, 1, 6, 6)
    assert deploy.caffe.parameter_count() == 1_333_401


def test_every_switch_is_among_the_changes(whole):
    changes = json.loads((whole / "train.json").read_text())["changes"]
    assert changes[:7] == [
        *("input_size: enlarged -> own", "quadrant_pooling: off -> on", "convolutions: valid -> padded_no_bias"),
        *("normalisation: none -> face", "lr_on_plateau: off -> on", "bias_rate: 2 -> 1", "loss: euclidean -> ccc"),
    ]
    assert "lr_policy: fixed -> multistep" in changes


def test_the_loss_in_the_log_is_1_minus_ccc_of_the_batch(h5, whole):
    shown = read_curves(whole / "train.log", 10).train[10]  # of the finished net, dropout on
    assert 0 <= shown <= 2
    with h5py.File(h5 / "test.h5") as file:
        data, label = (torch.from_numpy(file[name][...]) for name in ("data", "label"))
    net = load_net(whole / "deploy.prototxt", whole / "snapshots/emotion_iter_10.caffemodel").eval()
    with torch.no_grad():
        # the test net's batch is the shipped one, 128: the file eight times over
        expected = ccc_loss(net(data.repeat(8, 1, 1, 1)), label.repeat(8, 1))
    assert read_curves(whole / "train.log", 10).test[10] == pytest.approx(float(expected), rel=1e-4)


def test_the_rate_fell_where_the_tests_stalled(whole):
    losses = {int(at): loss for at, loss in json.loads((whole / plateau.PLATEAU).read_text()).items()}
    steps = [step for step in plateau.divisions(losses) if step < 10]
    assert steps  # the rate was chosen so that they do
    log = (whole / "train.log").read_text()
    assert all(f"MultiStep Status: Iteration {step}, step = {number}" in log for number, step in enumerate(steps, 1))
    assert f"Iteration {steps[0]}, lr = 0.03" in log


def test_a_killed_training_ends_in_the_same_weights(h5, whole, tmp_path):
    trained(h5, tmp_path / "run", 7)
    for path in (tmp_path / "run/snapshots").glob("*_iter_7.*"):  # as if it had been killed there
        path.unlink()
    trained(h5, tmp_path / "run", 10)
    assert weights(tmp_path / "run", 10) == weights(whole, 10)


def test_the_definition_of_a_run_is_loaded_with_its_weights(whole, tmp_path):
    predictor, path = load_predictor(whole)
    assert predictor.forward(np.zeros((2, 1, 6, 6), np.float32))["fc5"].shape == (2, 1)
    assert find_definition(path) == whole / "deploy.prototxt"
    assert find_definition(tmp_path / "alone.caffemodel").as_posix().endswith(DEPLOY)


def test_faces_of_no_factors_size_are_refused_before_anything_is_written(tmp_path):
    with refused("shape-mismatch"):
        trained(write_h5(tmp_path / "h5", side=20), tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


def test_another_training_is_moved_aside_on_request(h5, tmp_path):
    out, aside = tmp_path / "runs" / "LR-16", tmp_path / "runs_before"
    trained(h5, out, 1)
    with pytest.raises(CaffeCompatError, match=r"contains a training with changes.*--fresh"):
        trained(h5, out, 1, AS_PAPER)
    trained(h5, out, 1, AS_PAPER, aside=aside)
    trained(h5, out, 1, OWN_CCC, aside=aside)
    assert sorted(path.name for path in aside.iterdir()) == ["LR-16-1", "LR-16-2"]
    assert "loss: euclidean -> ccc" in (aside / "LR-16-1" / "train.json").read_text()
    assert "loss: euclidean -> mse" in (aside / "LR-16-2" / "train.json").read_text()
    before = weights(out, 1)
    trained(h5, out, 1, OWN_CCC, aside=aside)  # this one's own: nothing moves
    assert weights(out, 1) == before
    assert len(list(aside.iterdir())) == 2


def test_a_training_at_another_rate_moves_the_old_one_aside(h5, tmp_path):
    out, aside = tmp_path / "runs" / "HR", tmp_path / "runs_before"
    trained(h5, out, 1, aside=aside)
    before = weights(out, 1)
    trained(h5, out, 1, aside=aside, base_lr=0.5)
    assert [path.name for path in aside.iterdir()] == ["HR-1"]
    assert weights(out, 1) != before


def test_the_command_takes_switches(h5, tmp_path, capsys):
    options = ("--batch=8", "--test-iter=1", "--seed=1", "--device=cpu", "--iterations=1")
    assert train("--h5", h5, "--out", tmp_path / "run", "--as", "paper", "--switch", "loss=mse", *options) == 0
    assert "  but lr_on_plateau: off -> on" in capsys.readouterr().out
    for words, parts in (
        (("--switch", "smallest_face=0"), ("smallest_face = '0'", "HQ", "prepare")),
        (("--net", "vlqr", "--switch", "separate_regressor=on"), ("separate_regressor", "vlqr")),
    ):
        stderr = failed(capsys, "--h5", h5, "--out", tmp_path / "no", *words)
        assert all(part in stderr for part in parts), stderr
    assert not (tmp_path / "no").exists()


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """Files of two sizes under one list."""
    folder = tmp_path_factory.mktemp("h5 files") / "mix"
    for side in (8, 6):
        write_h5(folder / str(96 // side), side=side, seed=side)
    for phase in ("train", "test"):
        named_apart(folder / f"16/{phase}.h5", folder / f"{phase}_16.h5", "_16")
        (folder / f"{phase}.txt").write_text(f"./12/{phase}.h5\n./{phase}_16.h5\n")
    return folder


def test_faces_of_several_sizes_train_one_net(sizes, tmp_path):
    trained(sizes, tmp_path / "whole", 3)
    changes = json.loads((tmp_path / "whole/train.json").read_text())["changes"]
    assert {"input_size: enlarged -> own", "batch_size: 128 -> 8"} < set(changes)
    net = read_net(tmp_path / "whole/net.prototxt")
    data = [layer.hdf5_data_param for layer in net.layer if layer.type == "HDF5Data"]
    assert [(param.source.rpartition("/")[2], param.batch_size) for param in data] == [
        *(("train_12.txt", 4), ("test_12.txt", 64), ("train_16.txt", 4), ("test_16.txt", 64))
    ]
    trained(sizes, tmp_path / "run", 2)
    trained(sizes, tmp_path / "run", 3)
    ours, theirs = (read_weights(tmp_path / name / "snapshots/emotion_iter_3.caffemodel") for name in ("run", "whole"))
    assert ours.keys() == theirs.keys()
    assert all((a == b).all() for name in ours for a, b in zip(ours[name], theirs[name], strict=True))
    predictor, _ = load_predictor(tmp_path / "run")
    assert predictor.forward(np.zeros((1, 1, 8, 8), np.float32))["fc5"].shape == (1, 1)


def test_super_resolution_weights_start_the_branches_once(sizes, tmp_path):
    save_weights(load_net(sr_fcn_deploy(switches=AS_PAPER), seed=0), tmp_path / "sr.caffemodel")
    lines = []
    changes = replace(SMALL, max_iter=1)
    options = {"net": "vlqr", "weights": tmp_path / "sr.caffemodel", "switches": AS_PAPER, "device": "cpu"}
    training_run.train(TrainingSettings(out=tmp_path / "run", h5=sizes, changes=changes, **options), lines.append)
    assert f"conv1, conv2, conv3 from {tmp_path / 'sr.caffemodel'}; fc4, fc5 from the fillers" in lines


def test_a_test_loss_is_weighted_as_the_training_loss_is(tmp_path):
    lines = ("loss = 0.5", "Testing net (#0)")
    test = "I1 x]     Test net output #0: loss = 2 (* 0.25 = 0.5 loss)\n"
    (tmp_path / "log").write_text("".join(f"I1 x] Iteration 0, {line}\n" for line in lines) + test)
    curves = read_curves(tmp_path / "log", 0)
    assert curves.train == curves.test == {0: 0.5}


def test_a_training_that_diverges_still_ends_in_its_files(h5, tmp_path):
    changes = replace(SMALL, max_iter=3, base_lr=1e30)
    training_run.train(
        TrainingSettings(out=tmp_path / "run", h5=h5, changes=changes, switches=AS_PAPER, device="cpu"), quiet
    )
    assert (tmp_path / "run/loss.png").is_file()
