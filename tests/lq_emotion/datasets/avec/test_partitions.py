"""RECOLA's participants through every command: users name who is trained with and who is scored."""

import json

import pytest

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.errors import CaffeCompatError
from lq_emotion import prototxt
from lq_emotion.cli import main
from lq_emotion.datasets.avec.partitions import Partitions, named_partitions
from lq_emotion.datasets.synthetic.package import Settings, make_recordings
from lq_emotion.evaluation.predict import DEPLOY

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
PARTICIPANTS = {"train_1": "P16", "train_2": "P17", "dev_1": "P19"}
NAMED = ("--train", "P16", "P17", "--dev", "P19")
FOLDERS = {
    "recordings_video": "RECOLA-Video-recordings",
    "recordings_video_frame_time": "RECOLA-Video-timings",
    "ratings_individual/valence": "RECOLA-Annotation/emotional_behaviour/valence",
    "synthetic_face_boxes": "bbox",
}


def command(*argv):
    return main(list(map(str, argv)))


def drawn(folder, frames):
    """Drawn recordings in RECOLA's layout; nothing but the user tells who is train or dev."""
    settings = Settings(train=2, dev=1, frames=frames, width=240, height=240, seed=2)
    make_recordings(folder / "drawn", settings, say=lambda _: None)
    for avec, name in FOLDERS.items():
        (folder / "RECOLA" / name).mkdir(parents=True)
        for path in (folder / "drawn" / avec).iterdir():
            path.rename(folder / "RECOLA" / name / f"{PARTICIPANTS[path.stem]}{path.suffix}")
    return folder / "RECOLA"


@pytest.fixture(scope="module")
def recola(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("recola"), 50)


@pytest.fixture(scope="module")
def root(recola, tmp_path_factory):
    out = tmp_path_factory.mktemp("recola") / "root"
    assert command("prepare", "--recordings", recola, "--out", out, "--no-pictures", *NAMED) == 0
    return out


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "HQ.caffemodel"
    save_weights(load_net(prototxt.path(DEPLOY), seed=3), path)
    return path


def test_what_prepare_is_told_holds_for_the_commands_after_it(root, weights, tmp_path):
    assert (root / "data/partitions.csv").read_text() == "name,partition\nP16,train\nP17,train\nP19,dev\n"
    assert command("h5", "--out", root, "--chunk", 8) == 0
    made = json.loads((root / "h5_files/HQ/h5.json").read_text())
    assert [made[phase]["recordings"] for phase in ("train", "test")] == [["P16", "P17"], ["P19"]]
    data = root / "data/raw_data/HQ"
    assert command("evaluate", "--weights", weights, "--data", data, "--out", tmp_path, "--device=cpu") == 0
    assert list(json.loads((tmp_path / "scores.json").read_text())["scores"]) == ["P19", "concatenated", "mean"]
    sweep = ("rd", "--weights", f"HQ={weights}", "--data", data, "--out", tmp_path / "rd", "--device=cpu")
    assert command(*sweep, "--scales", 3, "--codecs", "x264", "--qps", 24, "--frames", 3) == 0
    assert json.loads((tmp_path / "rd/rd.json").read_text())["recordings"] == ["P19"]


def test_verify_scores_on_the_named_recordings(root, weights, tmp_path):
    verify = ("verify", "--weights", weights, "--recordings", root, "--out", tmp_path / "verify.json", "--device=cpu")
    assert command(*verify) == 0
    kept = {one["name"]: one["kept"] for one in json.loads((root / "data/prepare.json").read_text())["recordings"]}
    (one,) = json.loads((tmp_path / "verify.json").read_text())["files"]
    assert one["scores"][0]["measured"]["frames"] == kept["P19"] > 0
    assert command(*verify[:-3], "--out", tmp_path / "two.json", "--device=cpu", "--dev", "P16", "P17") == 0
    (two,) = json.loads((tmp_path / "two.json").read_text())["files"]
    assert two["scores"][0]["measured"]["frames"] == kept["P16"] + kept["P17"] > 0


def test_table_plans_the_experiment_on_the_named_recordings(recola, tmp_path, capsys):
    table = ("table", "--recordings", recola, "--out", tmp_path, "--rows", "HR", "--dry-run")
    assert command(*table) == 1
    assert "--train takes from P16, P17, P19" in capsys.readouterr().err
    (tmp_path / "who.csv").write_text("name,partition\nP16,train\nP17,train\nP19,dev\n")
    assert command(*table, "--partitions", tmp_path / "who.csv") == 0
    assert "to do  score HR on HQ" in capsys.readouterr().out


@pytest.mark.slow
def test_table_runs_on_the_named_recordings(tmp_path):
    table = (
        "table",
        "--recordings",
        drawn(tmp_path, 190),
        "--out",
        tmp_path,
        "--rows",
        "HR",
        "--scales",
        3,
        "--preset",
        "demo",
    )
    assert command(*table, "--iterations", 1, *NAMED) == 0
    scores = json.loads((tmp_path / "scores/HR_on_HQ/scores.json").read_text())["scores"]
    assert list(scores) == ["P19", "concatenated", "mean"]


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (("--train", "P61", "--dev", "P19"), ("RECOLA", "train", "P61", "P19")),
        (("--train", "P16", "--dev", "P16"), ("--dev", "P16", "both")),
        (("--partitions", "who.csv"), ("who.csv:3", "partition", "developement")),
        (("--partitions", "none.csv"), ("none.csv",)),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(recola, tmp_path, capsys, monkeypatch, argv, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "who.csv").write_text("name,partition\nP16,train\nP19,developement\n")
    assert command("prepare", "--recordings", recola, "--out", tmp_path / "root", *argv) == 1
    told = capsys.readouterr().err
    assert all(part in told for part in parts), told
    assert not (tmp_path / "root").exists()


def test_names_on_the_command_line_stand_above_the_table_and_avecs_names_count_where_nothing_is_named(tmp_path):
    (tmp_path / "who.csv").write_text("partition;name\ntrain;P16\ndev;P19\ntest;P38\n")
    one = named_partitions(dev=["P21"], table=tmp_path / "who.csv")
    present = ["P16", "P19", "P21", "test_1", "dev_1"]
    assert {part: one.members(part, present) for part in ("train", "dev", "test")} == {
        "train": ["P16"], "dev": ["P21"], "test": ["test_1"]
    }  # fmt: skip
    two = named_partitions(dev=["train_2"])
    assert [two.of(name) for name in ("train_1", "train_2", "dev_1")] == ["train", "dev", None]
    assert named_partitions() is None
    assert Partitions().of("dev_1") == "dev"
    (tmp_path / "twice.csv").write_text("name,partition\nP16,train\nP16,dev\n")
    with pytest.raises(CaffeCompatError, match="twice.csv:3.*P16"):
        named_partitions(table=tmp_path / "twice.csv")
