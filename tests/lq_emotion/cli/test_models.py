"""``lq-emotion models``."""

import json

import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import save_weights
from lq_emotion import prototxt
from tests.lq_emotion import commands


def run(*args):
    return commands.run("models", *args)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty folder of installed models."""
    monkeypatch.setenv("LQ_EMOTION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_list_prints_a_table(capsys):
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "task", "labels", "or", "dimensions", "licence", "installed"]
    assert lines[1].split()[0] == "mini-xception"
    assert lines[1].endswith("get")


def test_list_as_json(home, capsys):
    (home / "models" / "mine").mkdir(parents=True)
    assert run("list", "--json") == 0
    listing = json.loads(capsys.readouterr().out)
    assert listing["added"] == ["mine"]
    assert [model["installed"] for model in listing["known"] if model["name"] == "mtcnn"] == [False]


def test_show_prints_limits_and_preprocessing(capsys):
    assert run("show", "mini-xception", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["outputs"]["names"][6] == "neutral"
    assert facts["preprocessing"]["channels"] == "GRAY"
    assert "FER-2013" in facts["limits"]
    assert facts["installed"] is None


def test_an_unknown_name_is_one_line(capsys):
    error = commands.failed(capsys, "models", "show", "mini-xeption")
    assert error.count("\n") == 1
    assert "did you mean 'mini-xception'?" in error


def test_every_name_is_checked_before_anything_is_fetched(home, capsys):
    assert "nothing" in commands.failed(capsys, "models", "get", "mini-xception", "nothing")
    assert not home.exists()


def test_added_weights_are_listed_and_shown(tmp_path, capsys):
    save_weights(load_net(prototxt.path("known/mini-xception.prototxt")), tmp_path / "mine.caffemodel")
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\nf\ng\n")
    assert run("add", tmp_path / "mine.caffemodel", "--name", "mine", "--labels", tmp_path / "labels.txt") == 0
    assert run("list") == 0
    listing = capsys.readouterr().out
    assert any(line.split()[0] == "mine" and line.endswith("added") for line in listing.splitlines()[1:-2])
    assert run("show", "mine", "--json") == 0
    assert json.loads(capsys.readouterr().out)["outputs"]["names"] == list("abcdefg")


def test_show_says_what_a_file_is(tmp_path, capsys):
    save_weights(load_net(prototxt.path("known/mini-xception.prototxt")), tmp_path / "x.caffemodel")
    assert run("show", tmp_path / "x.caffemodel", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["recognised"], facts["layers"], facts["values"]) == (["mini-xception"], 51, 58437)


@pytest.mark.slow
def test_get_fetches_models_that_load(home, capsys):
    from lq_emotion.nets.known import load_model, load_parts

    if run("get", "mini-xception", "mtcnn"):
        pytest.skip(capsys.readouterr().err)
    assert load_model("mini-xception", home=home).net.returns == ("global_average_pooling2d_1",)
    assert len(load_parts("mtcnn", home=home)) == 3
    assert run("get", "mtcnn") == 0
    assert "installed already" in capsys.readouterr().out
