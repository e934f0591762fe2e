"""``generate_train`` and ``generate_test`` write the authors' files."""

import hashlib
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from matlab_ports import RandStream, generate_test, generate_train, im2double, imread, imresize, modcrop, rgb2ycbcr
from matlab_ports.__main__ import main
from tests.matlab_ports.h5_recordings import assert_same, contents
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]

# Of the float32 values as h5py reads them; also in the recorded summary.json
SHA256 = {
    "train": (
        "fc3f511764475f0e127dd2f99d64b23a095e2c3da2040c2bcd226f957ee1fa68",
        "d199d8bde0ba41ddc3be02d773afcefdfd07ce6db544422f7eb34b22bf9b1cad",
    ),
    "test": (
        "3c955579d2d658a099c1867c52c5c259bca783f13b4b82c80cc5ede488972343",
        "a56c06d1ea0e2493b07d7478a859a40bffd9eb4abfc1aee9e8a56e0d923aa28b",
    ),
}


@pytest.fixture(scope="module")
def written(reference, tmp_path_factory):
    """The authors' two files, each of a fresh MATLAB."""
    folder = tmp_path_factory.mktemp("authors")
    train = generate_train(reference / "images" / "Train", folder / "train.h5")
    test = generate_test(reference / "images" / "Set5", folder / "test.h5")
    return {"train": train, "test": test}


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_authors_images_give_the_recorded_values(name, written, reference):
    recorded = json.loads((reference / "matlab" / "pretrain_reference" / "summary.json").read_text())[name]
    patches = np.load(reference / "matlab" / "pretrain_reference" / "patches.npz")
    done = written[name]
    counts = (done.images, done.patches, done.written)
    assert counts == (recorded["images"], recorded["samples_before_floor"], recorded["samples_written"])
    arrays = contents(done.savepath)
    for dataset, values in zip(("data", "label"), arrays, strict=True):
        np.testing.assert_array_equal(values[:4], patches[f"{name}_{dataset}_first4"])
        np.testing.assert_array_equal(values[-2:], patches[f"{name}_{dataset}_last2"])
    hashes = tuple(hashlib.sha256(values.tobytes()).hexdigest() for values in arrays)
    assert hashes == SHA256[name] == (recorded["sha256_data"], recorded["sha256_label"])


@pytest.mark.parametrize(("name", "count", "chunk"), [("train", 21248, 128), ("test", 1218, 2)])
def test_the_authors_files_have_matlabs_layout(name, count, chunk, written):
    with h5py.File(written[name].savepath) as file:
        assert list(file) == ["data", "label"]
        for dataset, side in ((file["data"], 32), (file["label"], 16)):
            assert dataset.shape == (count, 1, side, side)
            assert dataset.maxshape == (None, 1, side, side)
            assert dataset.chunks == (chunk, 1, side, side)
            assert (dataset.dtype.str, dataset.fillvalue, dataset.compression) == ("<f4", 0, None)
            assert not dataset.attrs


def test_the_second_script_of_a_session_continues_the_stream(written, reference, tmp_path):
    assert written["train"].position == 21332
    images = reference / "images" / "Set5"
    stream = RandStream()
    stream.randperm(21332)  # what generate_train draws
    generate_test(images, tmp_path / "session.h5", stream=stream)
    command = ["generate_test", "--folder", images, "--savepath", tmp_path / "cli.h5", "--stream-position", "21332"]
    assert main([str(word) for word in command]) == 0
    order = RandStream(position=21332).randperm(1218) - 1
    session, from_command, fresh = (
        contents(path)[0] for path in (tmp_path / "session.h5", tmp_path / "cli.h5", written["test"].savepath)
    )
    np.testing.assert_array_equal(session, from_command)
    unshuffled = np.empty_like(session)
    unshuffled[order] = session
    np.testing.assert_array_equal(fresh, unshuffled[RandStream().randperm(1218) - 1])


@pytest.fixture
def images(tmp_path):
    """A folder of three small images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, (height, width) in enumerate([(50, 61), (40, 45), (48, 36)]):
        i, j, k = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
        Image.fromarray(((7 * i + 5 * j + 3 * i * j + 40 * k + number) % 256).astype(np.uint8)).save(
            folder / f"t{number}.bmp"
        )
    return folder


SMALL = {"size_input": 12, "size_label": 6, "scale": 4, "stride": 5, "chunksz": 8}


def test_patches_equal_the_scripts(images, tmp_path):
    """Plain loops: row by row, x down and y across, shuffled by one randperm, the remainder dropped."""
    data, label = [], []
    for path in sorted(images.glob("*.bmp")):
        truth = modcrop(im2double(rgb2ycbcr(imread(path))[:, :, 0]), 4)
        blurred = imresize(imresize(truth, 0.25), truth.shape)
        for x in range(0, truth.shape[0] - 12 + 1, 5):
            for y in range(0, truth.shape[1] - 12 + 1, 5):
                data.append(blurred[x : x + 12, y : y + 12].T)
                label.append(truth[x + 3 : x + 9, y + 3 : y + 9].T)
    order = RandStream(3).randperm(len(data)) - 1
    full = len(data) // 8 * 8
    done = generate_train(images, tmp_path / "a.h5", stream=RandStream(3), **SMALL)
    assert (done.images, done.patches, done.written, done.position) == (3, len(data), full, len(data))
    assert full < len(data)
    assert_same(contents(tmp_path / "a.h5"), [np.float32(values)[order][:full, None] for values in (data, label)])


def test_a_gray_image_is_refused_as_in_matlab_or_its_plane_repeated(images, tmp_path):
    gray = (np.arange(40 * 40).reshape(40, 40) % 251).astype(np.uint8)
    for name in ("t0", "t1", "t2"):
        Image.fromarray(gray).save(images / f"{name}.bmp")
    with refused("wrong-format", file="t0.bmp", hint="gray=repeat"):
        generate_train(images, tmp_path / "a.h5", **SMALL)
    generate_train(images, tmp_path / "gray.h5", gray="repeat", **SMALL)
    for name in ("t0", "t1", "t2"):
        Image.fromarray(np.repeat(gray[:, :, None], 3, 2)).save(images / f"{name}.bmp")
    generate_train(images, tmp_path / "rgb.h5", **SMALL)
    assert_same(contents(tmp_path / "gray.h5"), contents(tmp_path / "rgb.h5"))


def options(folder, output, /, **changed):
    settings = {"folder": folder, "savepath": output, **SMALL, **changed}
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def test_options_of_the_commands_are_the_scripts_variables(images, tmp_path, capsys):
    assert main(["generate_train", *options(images, tmp_path / "a.h5"), "--seed", "3"]) == 0
    out = capsys.readouterr()
    assert "stream position" in out.out
    assert out.err == ""
    generate_train(images, tmp_path / "b.h5", stream=RandStream(3), **SMALL)
    assert_same(contents(tmp_path / "a.h5"), contents(tmp_path / "b.h5"))


@pytest.mark.parametrize("script", ["generate_train", "generate_test"])
def test_defaults_are_the_scripts_settings(script, capsys):
    with pytest.raises(SystemExit) as done:
        main([script, "--help"])
    assert done.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    expected = {
        "generate_train": ("Train", "train_h5/train_lr12.h5", 32, 16, 12, 14, 128),
        "generate_test": ("Test/Set5", "test_h5/test_lr12.h5", 32, 16, 12, 20, 2),
    }[script]
    for value in expected:
        assert f"(default: {value})" in text


WRONG = {
    "no folder": ({"folder": "nowhere"}, "nowhere: "),
    "no images": ({"pattern": "*.png"}, "images: pattern: "),
    "no output folder": ({"savepath": "nowhere/a.h5"}, "nowhere/a.h5: "),
    "a folder as output": ({"savepath": "images"}, "images: is a folder"),
    "stride 0": ({"stride": 0}, "stride = 0: "),
    "odd padding": ({"size_label": 7}, "size_label = 7: "),
    "label too large": ({"size_label": 14}, "size_label = 14: "),
    "too few patches": ({"chunksz": 1000}, "images: chunksz = 1000: "),
    "scale too large": ({"scale": 49}, "t1.bmp: scale = 49: "),
    "not an image": ({}, "t1.bmp: "),
}


@pytest.mark.parametrize("kind", list(WRONG))
def test_an_error_is_one_line_and_nothing_is_written(kind, images, folder, capsys):
    if kind == "not an image":
        (images / "t1.bmp").write_bytes((images / "t1.bmp").read_bytes()[:500])
    if kind == "scale too large":
        Image.new("RGB", (60, 50)).save(images / "t0.bmp")
    changed, message = WRONG[kind]
    assert main(["generate_train", *options("images", "a.h5", **changed)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("matlab_ports: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["images"]


@pytest.mark.parametrize(
    "words", [[], ["generate"], ["generate_train", "--scael", "3"], ["generate_train", "--scale", "x"]]
)
def test_a_wrong_option_is_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def run(*words, **settings):
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, **settings)


def test_a_full_disk_is_one_line_and_leaves_nothing(images, tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # noqa: E731
    done = run("-m", "matlab_ports", "generate_train", *options(images, tmp_path / "a.h5"), preexec_fn=limit)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no room for" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


KILLED = """
import os, signal, sys
from pathlib import Path
from matlab_ports import generate_train
module = sys.modules["matlab_ports.generate_train"]
store, calls = module.store2hdf5, []
def killed(*arguments):
    calls.append(store(*arguments))
    if len(calls) == 3:
        arguments[0].do(lambda file: file.flush())
        os.kill(os.getpid(), signal.SIGKILL)
    return calls[-1]
module.store2hdf5 = killed
generate_train(sys.argv[1], sys.argv[2], size_input=12, size_label=6, scale=4, stride=5, chunksz=8)
"""


def test_a_run_killed_while_writing_leaves_no_incomplete_file_and_the_next_succeeds(images, tmp_path):
    done = run("-c", KILLED, images, tmp_path / "a.h5")
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.h5").exists()
    generate_train(images, tmp_path / "a.h5", **SMALL)
    complete = (tmp_path / "a.h5").read_bytes()
    assert run("-c", KILLED, images, tmp_path / "a.h5").returncode == -signal.SIGKILL
    assert (tmp_path / "a.h5").read_bytes() == complete


def test_generating_the_authors_train_file_takes_less_than_400_mb(reference, tmp_path):
    program = (
        "import re, sys; from matlab_ports import generate_train; generate_train(*sys.argv[1:]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    done = run("-c", program, reference / "images" / "Train", tmp_path / "a.h5")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400_000  # kB; about 120,000
