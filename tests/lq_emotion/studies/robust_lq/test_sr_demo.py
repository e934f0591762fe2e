"""lq-emotion study sr on tiny images: its files, continuing, starting over, and one-line errors."""

import json
import os
import shutil
import signal
import socket
import sys

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from caffe_compat import load_net, read_weights
from lq_emotion import prototxt
from lq_emotion.common.folders import LOCK
from lq_emotion.studies.robust_lq import image_sources
from lq_emotion.studies.robust_lq.upscaling import DEPLOY
from lq_emotion.training import run as training
from lq_emotion.training.losses import read_curves
from tests.lq_emotion import commands


def draw(folder, count=4, size=(144, 128), seed=0):
    """Write smooth random images; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 18, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"p{number}.png")
    return folder


def demo(out, images, *more, iterations=3):
    return commands.run("study", "sr", "--out", out, "--images", images, "--iterations", iterations, *more)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("images") / "mine")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, images):
    """A demo of three iterations."""
    out = tmp_path_factory.mktemp("a finished demo") / "out"
    assert demo(out, images) == 0
    return out


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def times(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return {path: path.stat().st_mtime_ns for path in files}


def test_all_files_are_written_and_no_partial_ones(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert names == {
        *("images/train/00_p0.png", "images/train/01_p1.png", "images/train/02_p2.png"),
        *("images/test/03_p3.png", "train.h5", "train.txt", "test.h5", "test.txt"),
        *("net.prototxt", "solver.prototxt", "settings.json", "results.json", "train.log", "ledger.json"),
        *("snapshots/sr_fcn_iter_3.caffemodel", "snapshots/sr_fcn_iter_3.solverstate"),
        *("snapshots/sr_fcn_iter_3.resume.npz", "sr_fcn.pt"),
        *("super_resolution.png", "loss.png", ".lq-emotion.lock"),
        *(f"logs/{stage}.log" for stage in ("images", "patches", "training", "comparison")),
    }


def test_figures_have_a_sensible_size(finished):
    for name in ("super_resolution.png", "loss.png"):
        with Image.open(finished / name) as figure:
            figure.load()
            assert min(figure.size) > 400


def test_the_torch_file_has_the_caffemodels_blobs_bit_for_bit(finished):
    state = torch.load(finished / "sr_fcn.pt", weights_only=True)
    weights = finished / "snapshots/sr_fcn_iter_3.caffemodel"
    assert list(state) == list(load_net(prototxt.path(DEPLOY), weights).state_dict())
    blobs = read_weights(weights)
    for layer in ("conv1", "conv2", "conv3", "conv4"):
        for name, blob in zip(("weight", "bias"), blobs[layer], strict=True):
            assert np.array_equal(state[f"{layer}.{name}"].numpy(), blob)


def test_results_are_those_of_the_images(finished):
    results = json.loads((finished / "results.json").read_text())
    assert list(results["psnr"]) == ["03_p3"]
    scores = results["psnr"]["03_p3"]
    assert scores["bicubic"] > scores["nearest"] > 15
    assert results["gain_over_bicubic"] == pytest.approx(scores["sr_fcn"] - scores["bicubic"], abs=1e-3)
    with h5py.File(finished / "train.h5") as file:
        assert file["data"].shape == (results["patches"]["train"], 1, 32, 32)


def test_a_finished_demo_is_not_repeated(finished, images, capsys):
    before = times(finished)
    assert demo(finished, images) == 0
    out = lines(capsys)
    assert not any("begins" in line for line in out)
    assert any(line.startswith("03_p3") for line in out)
    assert times(finished) == before


def test_two_runs_give_the_same_weights_and_scores(finished, images, tmp_path):
    assert demo(tmp_path / "again", images) == 0
    folders = (finished, tmp_path / "again")
    first, second = (read_weights(folder / "snapshots/sr_fcn_iter_3.caffemodel") for folder in folders)
    assert all(np.array_equal(a, b) for layer in first for a, b in zip(first[layer], second[layer], strict=True))
    first, second = (json.loads((folder / "results.json").read_text()) for folder in folders)
    assert first == second


def test_more_iterations_continue_from_the_last_state_in_a_moved_folder(copy, images, capsys):
    before = times(copy)
    assert demo(copy, images, iterations=5) == 0
    out = lines(capsys)
    assert "continuing from sr_fcn_iter_3.solverstate" in (copy / "logs/training.log").read_text()
    assert {"images: done before", "patches: done before"} <= set(out)
    assert before[copy / "train.h5"] == (copy / "train.h5").stat().st_mtime_ns
    assert sorted(read_curves(copy / "train.log", 5).train) == [0, 1, 2, 3, 4, 5]
    assert json.loads((copy / "results.json").read_text())["iterations"] == 5


def test_an_interrupted_training_leaves_a_snapshot_and_continues(copy, images, capsys, monkeypatch):
    real = training._Progress.show

    def interrupted(progress):
        if progress._solver.iter == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return real(progress)

    with monkeypatch.context() as patch:
        patch.setattr(training._Progress, "show", interrupted)
        assert demo(copy, images, iterations=6) == 130
    err = capsys.readouterr().err
    assert err == "lq-emotion: error: interrupted after iteration 4; the same command continues from there\n"
    assert not list(copy.rglob("*.partial"))
    assert demo(copy, images, iterations=6) == 0
    assert "continuing from sr_fcn_iter_4.solverstate" in (copy / "logs/training.log").read_text()


def test_the_log_has_the_differences_from_the_authors(finished):
    changes = {"scale: 12 -> 3", "batch_size: 128 -> 8", "max_iter: 500000 -> 3", "type: SGD -> Adam"}
    assert changes <= set((finished / "logs/training.log").read_text().splitlines())


def test_other_images_start_over_and_foreign_files_stay(copy, tmp_path):
    (copy / "notes.txt").write_text("mine")
    Image.new("RGB", (90, 90)).save(copy / "images/test/mine.png")
    assert demo(copy, draw(tmp_path / "others", 3, (160, 144), seed=1), iterations=1) == 0
    assert not any("continuing" in line for line in (copy / "logs/training.log").read_text().splitlines())
    assert not (copy / "snapshots/sr_fcn_iter_3.caffemodel").exists()
    assert sorted(path.name for path in copy.glob("images/*/*")) == ["00_p0.png", "01_p1.png", "02_p2.png", "mine.png"]
    assert list(json.loads((copy / "results.json").read_text())["psnr"]) == ["02_p2"]
    assert (copy / "notes.txt").read_text() == "mine"


def test_an_image_that_the_user_put_in_place_of_one_stays(copy, tmp_path, capsys):
    mine = copy / "images/train/00_p0.png"
    Image.new("RGB", (90, 90)).save(mine)
    before = times(copy)
    others = draw(tmp_path / "others", 3, (160, 144), seed=1)
    assert "00_p0.png" in failed(capsys, "--images", others, "--out", copy)
    assert times(copy) == before


def failed(capsys, *argv, code=1):
    return commands.failed(capsys, "study", "sr", *argv, code=code)


def refused(capsys, images, out):
    err = failed(capsys, "--images", images, "--out", out)
    assert err.startswith("lq-emotion: error: ")
    assert err.count("\n") == 1
    assert not out.exists()
    return err


def test_each_unusable_image_is_reported_in_one_line(tmp_path, capsys):
    out = tmp_path / "out"
    assert "missing" in refused(capsys, tmp_path / "missing", out)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no picture")
    assert "no images found" in refused(capsys, empty, out)
    assert "only one image" in refused(capsys, draw(tmp_path / "one", 1), out)
    assert "p0.png: 63 x 200" in refused(capsys, draw(tmp_path / "small", 3, (63, 200)), out)
    broken = draw(tmp_path / "broken", 2)
    (broken / "p1.png").write_bytes((broken / "p1.png").read_bytes()[:2000])
    assert "p1.png" in refused(capsys, broken, out)


def test_too_few_patches_are_one_line(tmp_path, capsys):
    err = failed(capsys, "--images", draw(tmp_path / "few", 2, (80, 80)), "--out", tmp_path / "out")
    assert "16 patches do not fill one chunk of 128" in err
    assert err.count("\n") == 1


def test_the_folder_the_demo_writes_to_is_refused_as_its_source(copy, capsys):
    assert "another folder" in failed(capsys, "--images", copy / "images/train", "--out", copy)


def test_without_scikit_image_the_error_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert "pip install 'caffe-compat[demo]'" in failed(capsys, "--out", tmp_path / "out")


def test_the_shipped_images_need_no_network_and_a_face_is_held_out(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connects"))
    sources = image_sources.built_in()
    assert [source.name for source in sources if source.held_out] == ["astronaut", "coffee"]
    for source in sources:
        pixels = source.load()
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        assert 300 <= max(pixels.shape) <= 512


def test_the_last_fifth_is_held_out_and_large_images_are_shrunk(tmp_path):
    folder = draw(tmp_path / "many", 30, (64, 64))
    (folder / ".p.png").write_bytes(b"")
    sources = image_sources.of_folder(folder)
    assert [source.held_out for source in sources] == [False] * 20 + [True] * 4
    Image.new("L", (1000, 500)).save(folder / "p00.jpg")
    assert image_sources.of_folder(folder)[0].load().shape == (64, 64, 3)
    (large,) = (s for s in image_sources.of_folder(folder) if "p00" in s.name)
    assert large.load().shape == (256, 512, 3)
