import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from lq_emotion.common.json_files import write_json
from lq_emotion.crops.h5 import H5Results, H5Settings, make_h5
from matlab_ports.generate_h5 import Options, generate_h5
from matlab_ports.matfile import loadmat, savemat
from matlab_ports.randstream import RandStream
from tests.lq_emotion.commands import failed, quiet, run, save_crops
from tests.matlab_ports.h5_recordings import assert_same, contents
from tests.refusals import refused

SMALL = {"chunk": 8}


@pytest.fixture
def root(tmp_path):
    tmp_path = tmp_path / "a folder with blanks"
    for number, name in enumerate(["train_1", "train_2", "train_10", "dev_1", "P16"]):
        random = np.random.RandomState(number)
        crops = tmp_path / "data" / "raw_data" / "HQ" / f"{name}.mat"
        save_crops(crops, random.rand(96, 96, 11), valence=random.rand(1, 11))
    return tmp_path


def test_the_test_files_random_numbers_follow_the_training_files_as_in_the_script(root, tmp_path):
    made = make_h5(root, H5Settings(**SMALL), say=quiet)
    crops = root / "data" / "raw_data" / "HQ"
    stream = RandStream()
    for phase, names in (("train", ("train_1", "train_2", "train_10")), ("test", ("dev_1",))):
        generate_h5([crops / f"{name}.mat" for name in names], 96, tmp_path / phase, 8, Options(), stream=stream)
        assert_same(contents(root / "h5_files" / "HQ" / f"{phase}.h5"), contents(tmp_path / f"{phase}.h5"))
    assert (made.train.samples, made.train.written, made.test.written) == (33, 32, 8)


def test_the_lists_name_the_files_relative_to_the_list(root):
    make_h5(root, H5Settings(**SMALL), say=quiet)
    folder = root / "h5_files" / "HQ"
    assert (folder / "train.txt").read_text() == "./train.h5\n"
    assert (folder / "test.txt").read_text() == "./test.h5\n"


def test_recordings_can_be_chosen_but_not_for_both_phases(root):
    made = make_h5(root, H5Settings(train=("P16", "train_2"), test=("train_1",), **SMALL), say=quiet)
    assert made.train.recordings == ("P16", "train_2")
    assert made.test.recordings == ("train_1",)
    with refused("conflict", field="test", value="P16"):
        make_h5(root, H5Settings(train=("P16",), test=("P16",), **SMALL), say=quiet)
    with refused("name-unknown", field="train", value="train_3"):
        make_h5(root, H5Settings(train=("train_3",), **SMALL), say=quiet)


def test_existing_files_are_rewritten_only_if_an_input_changed(root):
    lines = []
    made = make_h5(root, H5Settings(**SMALL), say=quiet)
    stamp = Path(made.train.files[0]).stat().st_mtime_ns
    assert make_h5(root, H5Settings(**SMALL), say=lines.append) == made
    assert H5Results.from_json(json.loads((root / "h5_files/HQ/h5.json").read_text())) == made
    assert lines == ["train: 32 samples are there already", "test: 8 samples are there already"]
    assert Path(made.train.files[0]).stat().st_mtime_ns == stamp
    save_crops(root / "data" / "raw_data" / "HQ" / "dev_1.mat", np.zeros((96, 96, 8)), valence=np.ones((1, 8)))
    make_h5(root, H5Settings(**SMALL), say=quiet)
    assert Path(made.train.files[0]).stat().st_mtime_ns == stamp
    assert contents(made.test.files[0])[1].tolist() == [[1.0]] * 8
    make_h5(root, H5Settings(**SMALL), fresh=True, say=quiet)
    assert Path(made.train.files[0]).stat().st_mtime_ns != stamp


def test_files_of_other_settings_are_replaced_with_a_warning(root):
    make_h5(root, H5Settings(name="mine", **SMALL), say=quiet)
    lines = []
    made = make_h5(root, H5Settings(name="mine", augment=True, **SMALL), say=lines.append)
    assert (
        lines[0]
        == f"{root / 'h5_files' / 'mine'} contains files of other settings, which are replaced; --name keeps both"
    )
    mirrored = contents(made.train.files[0])[0]
    plain = contents(make_h5(root, H5Settings(**SMALL), say=quiet).train.files[0])[0]
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_a_test_file_written_again_alone_has_the_same_random_numbers(root):
    made = make_h5(root, H5Settings(**SMALL), say=quiet)
    before = contents(made.test.files[0])
    Path(made.test.files[0]).unlink()
    again = make_h5(root, H5Settings(**SMALL), say=quiet)
    assert_same(contents(again.test.files[0]), before)


def test_the_test_file_can_be_normalized_with_the_training_files_statistics(root):
    own = make_h5(root, H5Settings(mean_sub=True, norm=True, **SMALL), say=quiet)
    shared = make_h5(
        root, H5Settings(mean_sub=True, norm=True, train_statistics=True, name="shared", **SMALL), say=quiet
    )
    assert own.test.mean != own.train.mean
    assert (shared.test.mean, shared.test.std) == (shared.train.mean, shared.train.std)
    assert shared.train.mean == own.train.mean


def test_folders_are_named_after_the_settings():
    assert [
        H5Settings().folder(),
        H5Settings(source="LR3").folder(),
        H5Settings(mix=(3, 4, 6)).folder(),
        H5Settings(augment=True, keep_unflipped=True, seed=3).folder(),
        H5Settings(triplets="repaired").folder(),
        H5Settings(name="mine").folder(),
    ] == ["HQ", "LR3", "mix_3_4_6", "HQ_both_sides_seed3", "HQ_repaired_triplets", "mine"]


def test_a_recording_that_prepare_failed_on_is_an_error(root):
    write_json(
        {"recordings": [{"name": name, "status": "failed"} for name in ("train_5", "train_1")]},
        root / "data" / "prepare.json",
    )
    with refused("not-prepared", file="prepare.json", hint="--train"):
        make_h5(root, H5Settings(**SMALL), say=quiet)
    made = make_h5(root, H5Settings(train=("train_1", "train_2"), **SMALL), say=quiet)
    assert made.train.recordings == ("train_1", "train_2")


def test_too_few_frames_and_missing_crops_are_errors_and_no_file_is_written(root):
    with refused("wrong-count", field="chunksz", value=128):
        make_h5(root, say=quiet)
    assert not list((root / "h5_files").rglob("*.h5"))
    with refused("not-prepared", file="LR3", hint="HQ"):
        make_h5(root, H5Settings(source="LR3"), say=quiet)


def test_the_command_makes_a_mixture_and_reports_it_as_json(root, capsys):
    assert run("data", "h5", "--out", root, "--mix", 3, 4, 6, "--chunk", 8, "--seed", 5, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["folder"] == str(root / "h5_files" / "mix_3_4_6_seed5")
    assert report["settings"]["mix"] == [3, 4, 6]
    assert contents(report["train"]["files"][0])[0].shape == (32, 1, 96, 96)


def test_rewritten_identical_files_do_not_restart_training(root, tmp_path, capsys):
    out = tmp_path / "run"
    training = ("--iterations=1", "--batch=2", "--test-iter=1")
    command = ("study", "train", "--h5", root / "h5_files/HQ", "--out", out, *training)

    def made():
        assert run("data", "h5", "--out", root, "--chunk", 8) == 0
        assert run(*command, "--device=cpu") == 0
        return {path.name: path.read_bytes() for path in (root / "h5_files/HQ").glob("t*")}

    before = made()
    shutil.rmtree(root / "h5_files")
    time.sleep(1.1)  # HDF5 notes times in seconds
    assert made() == before
    assert "iteration 1 exists already" in capsys.readouterr().out
    crops = root / "data/raw_data/HQ/train_1.mat"
    savemat(crops, {**loadmat(crops), "valence": np.zeros((1, 11))}, "-v6")
    assert run("data", "h5", "--out", root, "--chunk", 8) == 0
    assert "contains a training with other training data" in failed(capsys, *command, "--device=cpu")


def test_triplets_are_refused_before_training(root, capsys):
    assert run("data", "h5", "--out", root, "--triplets", "clean", "--chunk", 8) == 0
    (folder,) = (root / "h5_files").iterdir()
    command = ["study", "train", "--h5", folder, "--out", root / "run", "--iterations=1", "--batch=2"]
    message = failed(capsys, *command, "--test-iter=1", "--device=cpu")
    assert "train_1.h5: channels = 3" in message
    assert "caffe-compat train" in message
    assert not (root / "run").exists()
