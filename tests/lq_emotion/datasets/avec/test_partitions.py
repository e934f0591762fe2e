"""Partitions of RECOLA's participants, chosen by the user, in every command."""

import json

import pytest

from lq_emotion.datasets.avec.partitions import Partitions, chosen_partitions
from tests.lq_emotion.commands import TABLE, draw_recordings, draw_weights, failed, run
from tests.lq_emotion.datasets.avec import trees
from tests.refusals import refused

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
PARTICIPANTS = {"train_1": "P16", "train_2": "P17", "dev_1": "P19"}
CHOICE = ("--train", "P16", "P17", "--dev", "P19")


@pytest.fixture(scope="module")
def recola(tmp_path_factory):
    """Synthetic recordings in RECOLA's layout, without partitions."""
    folder = tmp_path_factory.mktemp("recola")
    drawn = draw_recordings(folder / "drawn", train=2, frames=50, seed=2)
    return trees.as_recola(drawn, folder / "RECOLA", PARTICIPANTS)


@pytest.fixture(scope="module")
def root(recola, tmp_path_factory):
    out = tmp_path_factory.mktemp("recola") / "root"
    assert run("data", "prepare", "--recordings", recola, "--out", out, "--no-figures", *CHOICE) == 0
    return out


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return draw_weights(tmp_path_factory.mktemp("weights") / "HQ.caffemodel")


def test_the_choice_made_in_prepare_applies_to_later_commands(root, weights, tmp_path):
    assert (root / "data/partitions.csv").read_text() == "name,partition\nP16,train\nP17,train\nP19,dev\n"
    assert run("data", "h5", "--out", root, "--chunk", 8) == 0
    record = json.loads((root / "h5_files/HQ/h5.json").read_text())
    assert [record[phase]["recordings"] for phase in ("train", "test")] == [["P16", "P17"], ["P19"]]
    data = root / "data/raw_data/HQ"
    assert run("study", "evaluate", "--weights", weights, "--data", data, "--out", tmp_path, "--device=cpu") == 0
    assert list(json.loads((tmp_path / "scores.json").read_text())["scores"]) == ["P19", "concatenated", "mean"]
    sweep = ("study", "rd", "--weights", f"HQ={weights}", "--data", data, "--out", tmp_path / "rd", "--device=cpu")
    assert run(*sweep, "--scales", 3, "--codecs", "x264", "--qps", 24, "--frames", 3) == 0
    assert json.loads((tmp_path / "rd/rd.json").read_text())["recordings"] == ["P19"]


def test_verify_scores_the_chosen_recordings(root, weights, tmp_path):
    verify = ("verify", "--weights", weights, "--recordings", root, "--out", tmp_path / "verify.json", "--device=cpu")
    assert run(*verify) == 0
    outcomes = json.loads((root / "data/prepare.json").read_text())["recordings"]
    frames = {outcome["name"]: outcome["kept"] for outcome in outcomes}
    (result,) = json.loads((tmp_path / "verify.json").read_text())["files"]
    assert result["scores"][0]["measured"]["frames"] == frames["P19"] > 0
    assert run(*verify[:-3], "--out", tmp_path / "two.json", "--device=cpu", "--dev", "P16", "P17") == 0
    (result,) = json.loads((tmp_path / "two.json").read_text())["files"]
    assert result["scores"][0]["measured"]["frames"] == frames["P16"] + frames["P17"] > 0


@pytest.mark.slow
def test_table_plans_the_experiment_on_the_chosen_recordings(recola, tmp_path, capsys):
    table = (*TABLE, "--recordings", recola, "--out", tmp_path, "--rows", "HR", "--iterations", 1, "--dry-run")
    assert "P16, P17, P19" in failed(capsys, *table)
    (tmp_path / "who.csv").write_text("name,partition\nP16,train\nP17,train\nP19,dev\n")
    assert run(*table, "--partitions", tmp_path / "who.csv") == 0
    assert "to do  score HR on HQ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (("--train", "P61", "--dev", "P19"), ("RECOLA", "train", "P61", "P19")),
        (("--train", "P16", "--dev", "P16"), ("--dev", "P16", "--train")),
        (("--partitions", "who.csv"), ("who.csv:3", "partition", "developement")),
    ],
)
def test_invalid_choices_are_refused_before_anything_is_written(recola, tmp_path, capsys, monkeypatch, argv, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "who.csv").write_text("name,partition\nP16,train\nP19,developement\n")
    stderr = failed(capsys, "data", "prepare", "--recordings", recola, "--out", tmp_path / "root", *argv)
    assert all(part in stderr for part in parts), stderr
    assert not (tmp_path / "root").exists()


def test_names_take_precedence_over_the_table_and_the_table_over_avecs_names(tmp_path):
    (tmp_path / "who.csv").write_text("partition;name\ntrain;P16\ndev;P19\ntest;P38\n")
    partitions = chosen_partitions(dev=["P21"], table=tmp_path / "who.csv")
    present = ["P16", "P19", "P21", "test_1", "dev_1"]
    assert {part: partitions.members(part, present) for part in ("train", "dev", "test")} == {
        "train": ["P16"], "dev": ["P21"], "test": ["test_1"]
    }  # fmt: skip
    partitions = chosen_partitions(dev=["train_2"])
    assert [partitions.of(name) for name in ("train_1", "train_2", "dev_1")] == ["train", "dev", None]
    assert chosen_partitions() is None
    assert Partitions().of("dev_1") == "dev"
    (tmp_path / "twice.csv").write_text("name,partition\nP16,train\nP16,dev\n")
    with refused("duplicate", file="twice.csv", line=3, field="name", value="P16"):
        chosen_partitions(table=tmp_path / "twice.csv")
