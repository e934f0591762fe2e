"""The walk of somebody who has AVEC 2016, the authors' MAT-files and their caffemodels: all where their scripts put them."""

import json
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from lq_emotion.common.text_table import Table
from lq_emotion.crops.recording import PreparationSettings, prepare_one
from lq_emotion.datasets.avec.gold import read_gold
from lq_emotion.datasets.avec.layout import find_recordings
from lq_emotion.datasets.avec.times import frame_times, snap_times
from matlab_ports.matfile import loadmat, savemat
from matlab_ports.prepare_dataset import prepare_dataset
from matlab_ports.prepare_h5_files import prepare_h5_files
from tests.lq_emotion.commands import TABLE, draw_recordings, draw_weights, failed, run

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")

NAMES = ("train_1", "dev_1")
FREE = "small_faces"  # at the factor 4; the authors' script leaves the name to its user


@pytest.fixture(scope="module")
def authors(tmp_path_factory):
    """AVEC's videos and times, without ratings; ROOT with gsd, bbox and crops of two qualities; two caffemodels."""
    folder = tmp_path_factory.mktemp("authors")
    avec, root, weights = folder / "AVEC_2016", folder / "CAFFE_EMOTION", folder / "matlabscripts/recon/weights"
    draw_recordings(avec, frames=135)
    for kind in ("gsd", "bbox", "raw_data/HQ", f"raw_data/{FREE}"):
        (root / "data" / kind).mkdir(parents=True)
    for recording in find_recordings(avec):
        times, gold = frame_times(recording.frame_time), read_gold(recording.gold)
        labels = {"gsd": gold.gsd.reshape(-1, 1), "time": snap_times(gold.time, times).reshape(-1, 1)}
        savemat(root / f"data/gsd/{recording.name}.mat", labels)
        table = Table.read(avec / f"synthetic_face_boxes/{recording.name}.csv")
        columns = [table.numbers(name) for name in ("left", "top", "width", "height")]
        boxes = {"bbox": np.stack(columns, axis=1), "time": times.reshape(-1, 1)}
        savemat(root / f"data/bbox/{recording.name}.mat", boxes)
    for ratings in ("ratings_gold_standard", "ratings_individual", "synthetic_face_boxes"):
        shutil.rmtree(avec / ratings)
    prepare_dataset(avec, root, file_name=NAMES)
    prepare_dataset(avec, root, file_name=NAMES, save_dir=root / "data/raw_data" / FREE, lr=4)
    for name, seed in (("HQ", 3), ("vlqr_4", 4)):
        path = weights / f"class/{name}.caffemodel"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_weights(path, seed)
    return SimpleNamespace(avec=avec, root=root, weights=weights)


@pytest.fixture
def root(authors, tmp_path):
    """A copy of ROOT, to be changed."""
    return shutil.copytree(authors.root, tmp_path / "CAFFE_EMOTION")


def study(authors, root, *more):
    files = ["--recordings", authors.avec, "--out", root]
    nets = ["--rows", "HR", "LR", "--scales", "4", "--preset", "small", "--iterations", "2"]
    return [*TABLE, *files, *nets, *more]


def crops_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_crops_of_the_authors_script_are_found_and_scored(authors, verify):
    code, result, output = verify(authors.weights, "--recordings", authors.root)
    assert code == 0, output
    assert result["crops"] == ["HQ", FREE]
    scores = {
        file["file"]: [(s["method"], s["factor"], s["crops"]) for s in file["scores"]] for file in result["files"]
    }
    assert scores == {"class/HQ.caffemodel": [("HR", 1, "HQ")], "class/vlqr_4.caffemodel": [("Joint", 4, FREE)]}
    assert f"{FREE}: crops at the factor 4, by their contents" in output
    assert "\n2 files passed lq-emotion verify on " in output


def test_crops_of_the_authors_script_become_the_files_of_their_next_script(authors, root, tmp_path):
    assert run("data", "h5", "--out", root, "--from", FREE) == 0
    prepare_h5_files(authors.root / "data/raw_data" / FREE, tmp_path / "train", tmp_path / "test", file_name=NAMES)
    for phase in ("train", "test"):
        with h5py.File(root / f"h5_files/{FREE}/{phase}.h5") as ours, h5py.File(tmp_path / f"{phase}.h5") as theirs:
            for name in ("data", "label"):
                assert ours[name].shape[0] == 128
                assert ours[name][:].tobytes() == theirs[name][:].tobytes()


def test_prepare_does_not_replace_crops_of_the_authors_script(authors, root, capsys):
    theirs = crops_of(root / "data/raw_data/HQ")
    prepare = ("data", "prepare", "--recordings", authors.avec, "--out", root, "--no-figures", "--scales", "4")
    assert "2 of 2 failed: train_1, dev_1" in failed(capsys, *prepare)
    assert crops_of(root / "data/raw_data/HQ") == theirs
    assert not (root / "data/raw_data/LR4").exists()
    outcomes = json.loads((root / "data/prepare.json").read_text())["recordings"]
    assert all("HQ" in outcome["error"] for outcome in outcomes)
    (root / "data/raw_data/HQ").rename(root / "data/raw_data/sharp_faces")
    assert run(*prepare) == 0
    for ours, authors_name in (("HQ", "sharp_faces"), ("LR4", FREE)):
        for name in NAMES:
            made, given = (loadmat(root / "data/raw_data" / kind / f"{name}.mat") for kind in (ours, authors_name))
            assert made.keys() == given.keys()
            assert all(np.array_equal(made[key], given[key]) for key in made)
    assert run(*prepare) == 0


def test_a_preparation_that_was_killed_continues_with_its_own_crops(authors, root, monkeypatch):
    (root / "data/raw_data/HQ").rename(root / "data/raw_data/sharp_faces")
    recording = find_recordings(authors.avec)[0]

    def killed(*_args, **_kwargs):
        (root / "data/raw_data/HQ/train_1.mat").write_bytes(b"complete, but not yet in the journal")
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("lq_emotion.crops.recording.prepare_recording", killed)
        assert prepare_one(recording, root, PreparationSettings(figures=False)).error == "killed"
    assert prepare_one(recording, root, PreparationSettings(figures=False)).status == "done"


def test_a_study_takes_labels_in_data_gsd(authors, root, capsys):
    shutil.rmtree(root / "data/raw_data")
    assert run(*study(authors, root, "--dry-run")) == 0
    assert "to do  train HR" in capsys.readouterr().out
    shutil.rmtree(root / "data/gsd")
    message = failed(capsys, *study(authors, root))
    assert "no labelled train recording found" in message
    assert f"NAME.mat to {root / 'data/gsd'}" in message
    message = failed(capsys, "data", "prepare", "--recordings", authors.avec, "--out", root)
    assert f"NAME.mat to {root / 'data/gsd'}" in message


def test_the_whole_walk_from_labels_to_the_last_line_of_verify(authors, root, verify, capsys):
    (root / "data/raw_data/HQ").rename(root / "data/raw_data/sharp_faces")
    labels = crops_of(root / "data/gsd")
    assert run(*study(authors, root)) == 0
    assert crops_of(root / "data/gsd") == labels
    capsys.readouterr()
    assert run(*study(authors, root)) == 0
    assert "begins" not in capsys.readouterr().out
    weights = root / "runs"
    code, result, output = verify(weights, "--recordings", root, "--crops", f"{FREE}=4", "--crops", "sharp_faces=HQ")
    assert code == 0, output
    assert result["crops"] == ["sharp_faces", FREE]
    table = {cell["run"]: cell["seeds"] for cell in json.loads((root / "table/table.json").read_text())["cells"]}
    measured = {file["file"].split("/")[0]: file["scores"][0]["measured"] for file in result["files"] if file["scores"]}
    assert measured.keys() == table.keys() == {"HR", "LR-4"}
    assert f"\n{len(result['files'])} files passed lq-emotion verify on " in output
    gsd = root / "data/gsd/dev_1.mat"
    changed = loadmat(gsd)
    savemat(gsd, {**changed, "gsd": changed["gsd"] / 2})
    assert run(*study(authors, root, "--dry-run")) == 0
    assert "to do  prepare" in capsys.readouterr().out
