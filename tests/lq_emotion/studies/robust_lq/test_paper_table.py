"""The paper's variant from recordings to table and report, and what a switch does to a finished experiment."""

import json

import h5py
import pytest

from caffe_compat.formats.files import read_net
from tests.lq_emotion.commands import TABLE, draw_recordings, drawn_files, run
from tests.lq_emotion.processes import kill

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return draw_recordings(tmp_path_factory.mktemp("as paper") / "recordings", frames=140, seed=2)


@pytest.fixture(scope="module")
def root(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("as paper") / "root"
    assert run(*arguments(recordings, out, "--as", "paper")) == 0
    return out


def arguments(recordings, out, *more):
    options = ("--preset", "small", "--iterations", "2", "--scales", "12")
    return [*TABLE, *drawn_files(recordings, out), *options, *more]


def begun(capsys):
    return [line.removesuffix(": begins") for line in capsys.readouterr().out.splitlines() if line.endswith(": begins")]


def test_every_row_is_trained_and_scored_as_the_paper_says(root):
    table = json.loads((root / "table/table.json").read_text())
    assert table["settings"]["switches"]["loss"] == "mse"
    assert table["settings"]["switches"]["max_factor"] == 16
    assert [cell["method"] for cell in table["cells"]] == ["HR", "LR", "Non-Joint", "Joint", "Joint-OA"]
    assert all(cell["measured"]["frames"] > 100 for cell in table["cells"])
    assert "; as the paper" in (root / "table/table.md").read_text().splitlines()[0]


def test_the_data_is_the_papers(root):
    with h5py.File(root / "h5_files/LR12_own/train.h5") as file:
        assert file["data"].shape[1:] == (1, 8, 8)
    for factor, side in ((3, 32), (4, 24), (6, 16)):
        with h5py.File(root / f"h5_files/mix_3_4_6_own/{factor}/train.h5") as file:
            assert file["data"].shape[1:] == (1, side, side)
    with h5py.File(root / "sr/16/train.h5") as file:
        assert file["label"].shape[1:] == (1, 32, 32)
    assert (root / "sr/images/train.made").is_file()


def test_the_nets_are_the_papers(root):
    lr, non_joint, sr = (
        read_net(root / f"runs/{name}/deploy.prototxt") for name in ("LR-12", "Non-Joint-12", "pretrain-16")
    )
    assert list(lr.input_dim[:4]) == [1, 1, 8, 8]
    assert [layer.name for layer in non_joint.layer if layer.type == "InnerProduct"] == ["fc4", "fc5"]
    assert [layer.bottom[0] for layer in non_joint.layer if layer.type == "MVN"] == ["conv4"]
    assert {layer.convolution_param.pad[0] for layer in sr.layer if layer.type == "Convolution"} == {2}
    joint_oa = read_net(root / "runs/Joint-OA/net.prototxt")
    regressors = [layer.name for layer in joint_oa.layer if layer.type == "InnerProduct"]
    assert regressors == ["fc4", "fc5", "fc4_4", "fc5_4", "fc4_6", "fc5_6"]
    assert list(read_net(root / "scores/Joint-OA_on_LR12_own/deploy.prototxt").input_dim[:4]) == [1, 1, 8, 8]
    assert (root / "runs/HR/plateau.json").is_file()
    assert not (root / "runs/pretrain-16/plateau.json").exists()


def test_the_report_names_every_switch(root, capsys):
    assert run("study", "report", "--out", root) == 0
    text = (root / "report/report.md").read_text()
    assert "this experiment was run as the paper" in text
    assert "| input of the nets |" in text
    assert "**A look at the test set.**" in text
    assert "quadrant_pooling: off → on" in text


def test_a_change_of_one_switch_does_again_just_what_it_concerns(recordings, root, capsys):
    capsys.readouterr()
    assert run(*arguments(recordings, root, "--as", "paper", "--rows", "LR")) == 0
    assert begun(capsys) == []
    assert run(*arguments(recordings, root, "--as", "paper", "--rows", "LR", "--switch", "loss=ccc")) == 0
    assert begun(capsys) == ["train LR-12", "score LR-12 on LR12_own"]
    assert (root / "runs_before/LR-12-1/train.json").is_file()
    assert "; as the paper but loss=ccc" in (root / "table/table.md").read_text()


def test_a_plateau_is_found_on_training_recordings_if_asked(tmp_path, capsys):
    recordings = draw_recordings(tmp_path / "recordings", frames=140, seed=2, train=3)
    options = ("--as", "paper", "--rows", "LR", "--switch", "validation=train")
    assert run(*arguments(recordings, tmp_path / "root", *options)) == 0
    h5 = json.loads((tmp_path / "root/h5_files/LR12_own/h5.json").read_text())
    assert (h5["train"]["recordings"], h5["test"]["recordings"]) == (["train_1", "train_3"], ["train_2"])
    assert (tmp_path / "root/runs/LR-12/plateau.json").is_file()
    table = json.loads((tmp_path / "root/table/table.json").read_text())
    assert table["settings"]["switches"]["validation"] == "train"
    assert "; as the paper but validation=train" in (tmp_path / "root/table/table.md").read_text()
    scores = json.loads((tmp_path / "root/scores/LR-12_on_LR12_own/scores.json").read_text())
    assert "dev_1" in scores["scores"]
    assert not any(name.startswith("train") for name in scores["scores"])
    assert run("study", "report", "--out", tmp_path / "root") == 0
    assert "A look at the test set" not in (tmp_path / "root/report/report.md").read_text()


def test_frames_are_normalised_in_scoring_as_they_were_in_training(recordings, root, capsys):
    assert run(*arguments(recordings, root, "--rows", "LR", "--switch", "normalisation=file")) == 0
    statistics = json.loads((root / "h5_files/LR12/h5.json").read_text())["train"]
    assert statistics["std"] > 0
    assert f"mean {statistics['mean']:.6g}" in (root / "logs/score_LR-12_on_LR12.log").read_text()


def numbers(out):
    table = json.loads((out / "table/table.json").read_text())
    return [(cell["run"], cell["test"], cell["measured"]) for cell in table["cells"]]


def test_killed_at_random_moments_it_ends_in_the_same_table(recordings, tmp_path):
    quick = ("--as=paper", "--switch=loss=ccc", "--rows", "LR", "Joint-OA", "--scales", "12", "16", "--threads=1")
    whole, killed = (arguments(recordings, tmp_path / name, *quick, "--iterations=60") for name in ("whole", "killed"))
    assert run(*whole) == 0
    assert kill(killed, 6, begun=(1, 2), seconds=4) > 1
    assert run(*killed) == 0
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
