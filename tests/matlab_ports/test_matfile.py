"""MAT-files are read and written as MATLAB does, whole or frame by frame."""

import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from matlab_ports import PortError
from matlab_ports.matfile import FramesWriter, loadmat, open_frames, savemat, variable_names
from tests.matlab_ports.h5_recordings import names
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("-v6", "-v7", "-v7.3")
START = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
VIDEO = np.random.default_rng(0).random((5, 4, 9))


def take(path, name):
    with open_frames(path, name) as frames:
        return frames.take(range(len(frames)))


@pytest.mark.parametrize("version", VERSIONS)
def test_shapes_and_classes_are_those_of_matlab(version, tmp_path):
    variables = {
        "video": VIDEO,
        "valence": np.linspace(-1, 1, 9),
        "one": 3.0,
        "whole": np.arange(6.0).reshape(2, 3),
        "single": np.float32([[1.5, 2.5]]),
        "count": np.arange(3, dtype=np.uint16)[:, None],
        "seen": np.array([[True, False]]),
        "nothing": np.zeros((0, 4)),
        "name": "train_1",
        "turn": np.array([[1 + 2j, 3 - 4j]]),
    }
    savemat(tmp_path / "a.mat", variables, version)
    loaded = loadmat(tmp_path / "a.mat")
    assert list(loaded) == list(variables) if version != "-v7.3" else set(loaded) == set(variables)
    assert variable_names(tmp_path / "a.mat") == list(loaded)
    assert {name: (values.shape, values.dtype.name) for name, values in loaded.items()} == {
        "video": ((5, 4, 9), "float64"),
        "valence": ((1, 9), "float64"),
        "one": ((1, 1), "float64"),
        "whole": ((2, 3), "float64"),
        "single": ((1, 2), "float32"),
        "count": ((3, 1), "uint16"),
        "seen": ((1, 2), "bool"),
        "nothing": ((0, 4), "float64"),
        "name": ((1,), "str224"),
        "turn": ((1, 2), "complex128"),
    }
    for name, values in variables.items():
        np.testing.assert_array_equal(loaded[name].reshape(np.shape(values)), values)


def test_a_double_that_matlab_stored_as_bytes_is_a_double(tmp_path):
    """MATLAB stores whole numbers in narrower types: here type 2 (uint8) in a matrix of class 6."""
    values = np.arange(24, dtype=np.uint8)
    body = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<II3iI", 5, 12, 2, 3, 4, 0)
    body += struct.pack("<II", 1, 5) + b"video\0\0\0" + struct.pack("<II", 2, 24) + values.tobytes()
    matrix = struct.pack("<II", 14, len(body)) + body
    deflated = zlib.compress(matrix)
    for element in (matrix, struct.pack("<II", 15, len(deflated)) + deflated):
        (tmp_path / "a.mat").write_bytes(START + element)
        video = loadmat(tmp_path / "a.mat")["video"]
        assert video.dtype == np.float64
        assert video[1, 2, 3] == 1 + 2 * 2 + 3 * 6
        with open_frames(tmp_path / "a.mat") as frames:
            assert frames.dtype == np.float64
            np.testing.assert_array_equal(frames.take([3, 0]), video[:, :, [3, 0]])


def test_small_values_lie_in_their_tag(tmp_path):
    body = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, 1, 2) + struct.pack("<HH4s", 1, 1, b"v")
    body += struct.pack("<HH4B", 2, 2, 7, 9, 0, 0)
    (tmp_path / "a.mat").write_bytes(START + struct.pack("<II", 14, len(body)) + body)
    with open_frames(tmp_path / "a.mat", "v") as frames:
        assert frames.take([0]).tolist() == [[[7.0], [9.0]]]


def test_a_big_endian_file_is_read(tmp_path):
    head = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">II3iI", 5, 12, *VIDEO.shape, 0)
    head += struct.pack(">II", 1, 5) + b"video\0\0\0" + struct.pack(">II", 9, VIDEO.nbytes)
    body = head + VIDEO.astype(">f8").tobytes(order="F")
    start = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    (tmp_path / "a.mat").write_bytes(start + struct.pack(">II", 14, len(body)) + body)
    with open_frames(tmp_path / "a.mat") as frames:
        np.testing.assert_array_equal(frames.take([8, 0]), VIDEO[:, :, [8, 0]])
    np.testing.assert_array_equal(loadmat(tmp_path / "a.mat")["video"], VIDEO)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_frames_written_in_blocks_equal_the_variable_saved_at_once(version, dtype, tmp_path):
    video, valence = (255 * VIDEO).astype(dtype), np.arange(9.0)
    with FramesWriter(
        tmp_path / "a.mat", shape=video.shape, dtype=dtype, version=version, variables={"valence": valence}
    ) as out:
        out.append(video[:, :, :4])
        out.append(video[:, :, 4])
        out.append(video[:, :, 5:])
    loaded = loadmat(tmp_path / "a.mat")
    assert loaded["video"].dtype == dtype
    np.testing.assert_array_equal(loaded["video"], video)
    np.testing.assert_array_equal(loaded["valence"], valence[None])
    if version == "-v6":
        savemat(tmp_path / "b.mat", {"video": video, "valence": valence}, version)
        assert (tmp_path / "a.mat").read_bytes() == (tmp_path / "b.mat").read_bytes()
    with open_frames(tmp_path / "a.mat") as frames:
        assert (frames.shape, frames.dtype, len(frames)) == ((5, 4, 9), dtype, 9)
        for numbers in ([], [0], [8, 7, 7, 0, 1, 2, 5], range(9)):
            taken = frames.take(numbers)
            assert taken.shape == (5, 4, len(numbers))
            np.testing.assert_array_equal(taken, video[:, :, list(numbers)])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_chunked_73_file_is_read_frame_by_frame(compression, tmp_path):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file.create_dataset("video", data=VIDEO.T, chunks=(2, 3, 4), compression=compression)
    with open_frames(tmp_path / "a.mat", scratch=tmp_path) as frames:
        np.testing.assert_array_equal(frames.take([3, 8, 0]), VIDEO[:, :, [3, 8, 0]])
    assert names(tmp_path) == ["a.mat"]


def test_one_frame_is_a_matrix_in_matlab(tmp_path):
    with FramesWriter(tmp_path / "a.mat", shape=(5, 4, 1)) as out:
        out.append(VIDEO[:, :, :1])
    assert loadmat(tmp_path / "a.mat")["video"].shape == (5, 4)
    with open_frames(tmp_path / "a.mat") as frames:
        assert frames.shape == (5, 4, 1)


def test_scipy_reads_the_files_and_73_has_matlabs_block(tmp_path):
    savemat(tmp_path / "a.mat", {"video": VIDEO}, "-v6")
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "a.mat")["video"], VIDEO)
    savemat(tmp_path / "b.mat", {"video": VIDEO}, "-v7.3")
    block = (tmp_path / "b.mat").read_bytes()[:512]
    assert block.startswith(b"MATLAB 7.3 MAT-file")
    assert block[124:] == b"\x00\x02IM" + bytes(384)
    with h5py.File(tmp_path / "b.mat") as file:
        assert file["video"].shape == (9, 4, 5)
        assert file["video"].attrs["MATLAB_class"] == b"double"


def test_a_struct_is_left_out_and_refused_by_name(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"s": {"x": 1}, "n": 1.0, "c": np.array(["a", 1.0], object)})
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file.create_group("s").attrs["MATLAB_class"] = np.bytes_("struct")
        file["n"] = [[1.0]]
    for name in ("a.mat", "b.mat"):
        assert loadmat(tmp_path / name) == {"n": 1}
        with refused("wrong-type", file=name, field="s"):
            loadmat(tmp_path / name, ["s"])


def test_text_and_complex_numbers_equal_scipys(tmp_path):
    variables = {"t": np.array(["grün", "blau"]), "z": np.array([[1 + 2j, 3]])}
    scipy.io.savemat(tmp_path / "a.mat", variables, do_compression=True)
    loaded, expected = loadmat(tmp_path / "a.mat"), scipy.io.loadmat(tmp_path / "a.mat")
    for name in variables:
        np.testing.assert_array_equal(loaded[name], expected[name])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_variable_is_refused_with_the_available_names(version, tmp_path):
    savemat(tmp_path / "a.mat", {"bbox": [[1, 2]], "time": [1]}, version)
    for read in (lambda path: loadmat(path, ["time", "gsd"]), lambda path: open_frames(path, "gsd")):
        with refused("field-missing", file="a.mat", hint="bbox, time") as caught:
            read(tmp_path / "a.mat")
        assert "gsd" in caught.value.problem
    assert list(loadmat(tmp_path / "a.mat", ["time"])) == ["time"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_truncated_anywhere_is_refused(version, tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"video": VIDEO, "valence": np.arange(9.0)}, version)
    content = path.read_bytes()
    for size in (1, 100, 130, 200, 700, len(content) // 2, len(content) - 9):
        path.write_bytes(content[:size])
        for read in (loadmat, lambda path: take(path, "valence")):
            with pytest.raises(PortError) as caught:
                read(path)
            assert caught.value.file == str(path)
            assert caught.value.code in ("damaged-file", "wrong-format", "field-missing")
    assert names(tmp_path) == ["a.mat"]


@pytest.mark.parametrize("version", ["-v6", "-v7"])
def test_noise_in_a_file_raises_no_other_error(version, tmp_path):
    savemat(tmp_path / "a.mat", {"video": VIDEO, "valence": np.arange(9.0)}, version)
    content, rng, errors = (tmp_path / "a.mat").read_bytes(), np.random.default_rng(1), []
    for _ in range(100):
        noisy = bytearray(content)
        for place in rng.integers(128, len(noisy) if version == "-v7" else 260, 3):
            noisy[place] = rng.integers(256)
        (tmp_path / "a.mat").write_bytes(noisy)
        for read in (loadmat, lambda path: take(path, "video")):
            try:
                read(tmp_path / "a.mat")
            except PortError as error:
                errors.append(error)
    assert 20 < len(errors) < 200
    assert all(error.file == str(tmp_path / "a.mat") for error in errors)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "file-missing"),
        (b"", "empty"),
        (b"time;valence\n" * 40, "wrong-format"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "damaged-file"),
    ],
)
def test_a_file_that_is_not_a_matfile_is_refused(content, code, tmp_path):
    if content is not None:
        (tmp_path / "a.mat").write_bytes(content)
    for read in (loadmat, open_frames):
        with refused(code, file="a.mat"):
            read(tmp_path / "a.mat")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_variable_that_is_not_a_stack_of_frames_is_refused(version, tmp_path):
    savemat(tmp_path / "a.mat", {"flat": np.zeros((2, 2, 2, 2)), "word": "abc", "none": np.zeros((0, 0))}, version)
    empty = "wrong-type" if version == "-v7.3" else "shape-mismatch"
    for name, code in {"flat": "shape-mismatch", "word": "wrong-type", "none": empty}.items():
        with refused(code, file="a.mat", field=name):
            open_frames(tmp_path / "a.mat", name)
    savemat(tmp_path / "a.mat", {"video": VIDEO}, version)
    with open_frames(tmp_path / "a.mat") as frames, refused("out-of-range", field="video"):
        frames.take([9])


@pytest.mark.parametrize(
    ("variables", "version", "code", "fields"),
    [
        ({"a b": 1}, "-v7", "syntax", {"value": "a b"}),
        ({"_a": 1}, "-v7.3", "syntax", {"value": "_a"}),
        ({"a": 1}, "-v5", "name-unknown", {"field": "version", "value": "-v5"}),
        ({"a": np.float16([1])}, "-v6", "wrong-type", {"field": "a", "hint": "float64"}),
        ({"a": np.array([None])}, "-v7.3", "wrong-type", {"field": "a"}),
    ],
)
def test_variables_that_cannot_be_saved_are_refused_and_leave_nothing(variables, version, code, fields, tmp_path):
    with refused(code, **fields):
        savemat(tmp_path / "a.mat", variables, version)
    assert names(tmp_path) == []


def test_a_variable_of_two_gigabytes_needs_73(tmp_path):
    huge = np.broadcast_to(np.float64(0), (96, 96, 29128))
    for version in ("-v6", "-v7"):
        with refused("too-large", field="video", hint="-v7.3"):
            savemat(tmp_path / "a.mat", {"video": huge}, version)
        with refused("too-large", field="video", hint="-v7.3"):
            FramesWriter(tmp_path / "a.mat", shape=huge.shape, version=version)
    FramesWriter(tmp_path / "a.mat", shape=huge.shape, version="-v7.3")
    assert names(tmp_path) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_writer_leaves_the_existing_file(version, tmp_path):
    (tmp_path / "a.mat").write_bytes(b"before")

    def write(*blocks):
        with FramesWriter(tmp_path / "a.mat", shape=(5, 4, 9), version=version) as out:
            for block in blocks:
                out.append(block)

    with refused("wrong-count", file="a.mat"):
        write(VIDEO[:, :, :8])
    with refused("wrong-count", file="a.mat"):
        write(VIDEO, VIDEO)
    with refused("shape-mismatch", file="a.mat"):
        write(VIDEO.transpose(1, 0, 2))
    with (
        pytest.raises(FileNotFoundError, match="the video"),
        FramesWriter(tmp_path / "a.mat", shape=(5, 4, 9), version=version),
    ):
        raise FileNotFoundError("the video")
    assert names(tmp_path) == ["a.mat"]
    assert (tmp_path / "a.mat").read_bytes() == b"before"
    with refused("file-missing", file="a.mat"):
        FramesWriter(tmp_path / "b" / "a.mat", shape=(5, 4, 9))


FULL = """
import resource, sys
import numpy as np
from matlab_ports._support.errors import PortError
from matlab_ports.matfile import FramesWriter, savemat
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
noise = np.random.default_rng(0).random((96, 96, 3))
def write_frames(path, variables, version):
    with FramesWriter(path, shape=noise.shape, version=version) as out:
        out.append(noise)
for version in ("-v6", "-v7", "-v7.3"):
    for write in (savemat, write_frames):
        try:
            write(sys.argv[1], {"video": noise}, version)
        except PortError as error:
            print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "a.mat"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 6, done.stdout
    assert all("no room for" in line or "cannot be written: File too large" in line for line in lines)
    assert done.stderr == ""
    assert names(tmp_path) == []
