"""MAT-files that declare more than they hold, or point to other files, are refused before anything is inflated."""

import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from matlab_ports.generate_h5 import generate_h5
from matlab_ports.matfile import loadmat, open_frames, savemat
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]
START = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
GIB = 1 << 30


def assert_refused(path, code, **fields):
    """Expect generate_h5 to refuse a recording and to write nothing."""
    with refused(code, file=path, **fields):
        generate_h5([path], 8, path.with_name("train"))
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".mat"] == []


def write_73(path, add_video, valence=True):
    """Write a -v7.3 file with the video that `add_video` adds."""
    with h5py.File(path, "w", userblock_size=512) as file:
        add_video(file)
        if valence:
            file["valence"] = np.zeros((4, 1))


def add_chunk_deflated_twice(file, size):
    """Add a video of one chunk of zeros, deflated twice: two kilobytes per gigabyte."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 8, size // 256))
    properties.set_deflate(9)
    properties.set_deflate(9)
    space = h5py.h5s.create_simple((4, 8, size // 256))
    video = h5py.h5d.create(file.id, b"video", h5py.h5t.NATIVE_DOUBLE, space, properties)
    deflate = zlib.compressobj(9)
    once = b"".join([deflate.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + deflate.flush()
    video.write_direct_chunk((0, 0, 0), zlib.compress(once, 9))


VIDEOS = {
    "four gigabytes of chunks that were never written": (
        lambda file: file.create_dataset("video", (GIB // 128, 8, 8), "f8", chunks=(1024, 8, 8), compression="gzip"),
        "damaged-file",
    ),
    "a dataset that was never written": (
        lambda file: file.create_dataset("video", (GIB // 128, 8, 8), "f8"),
        "damaged-file",
    ),
    "a chunk deflated twice": (lambda file: add_chunk_deflated_twice(file, 16 << 20), "unsupported"),
    "no dataspace": (lambda file: file.create_dataset("video", data=h5py.Empty("f8")), "empty"),
    "values of another file": (
        lambda file: file.create_dataset("video", (4, 8, 8), "f8", external=[("/etc/passwd", 0, 2048)]),
        "unsafe",
    ),
    "a virtual dataset": (
        lambda file: file.create_virtual_dataset("video", h5py.VirtualLayout((4, 8, 8), "f8")),
        "unsafe",
    ),
    "a link to another file": (
        lambda file: file.__setitem__("video", h5py.ExternalLink("other.mat", "/video")),
        "field-missing",
    ),
    "a number": (lambda file: file.create_dataset("video", data=1.0), "shape-mismatch"),
}


@pytest.mark.parametrize(("add_video", "code"), VIDEOS.values(), ids=list(VIDEOS))
def test_a_73_file_that_does_not_hold_its_video_is_refused(add_video, code, tmp_path):
    write_73(tmp_path / "a.mat", add_video)
    savemat(tmp_path / "other.mat", {"video": np.zeros((8, 8, 4))}, "-v7.3")
    assert_refused(tmp_path / "a.mat", code, field=None if code == "field-missing" else "video")


def deflated(content, declared, path):
    """Write a -v7 file with one variable, whose matrix declares `declared` bytes."""
    packed = zlib.compress(struct.pack("<II", 14, declared) + content, 9)
    path.write_bytes(START + struct.pack("<II", 15, len(packed)) + packed)


def head(name, shape):
    """Return flags, dimensions, name and the values' tag of a double."""
    body = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<II2i", 5, 8, *shape)
    return body + struct.pack("<II8s", 1, len(name), name) + struct.pack("<II", 9, 8 * shape[0] * shape[1])


@pytest.mark.parametrize(
    ("length", "content", "declared", "fields"),
    [
        (1 << 28, 2_000_000, 1 << 31, {}),
        (4, 2_000_032, 32, {"field": "valence"}),
        (1 << 17, 1 << 20, 0, {}),
    ],
    ids=["declares more than deflate can hold", "inflates to more than it declares", "values reach beyond the element"],
)
def test_a_deflated_variable_of_another_size_than_declared_is_refused(length, content, declared, fields, tmp_path):
    start = head(b"valence", (1, length))
    deflated(start + bytes(content), len(start) + declared, tmp_path / "a.mat")
    assert (tmp_path / "a.mat").stat().st_size < 2600
    assert_refused(tmp_path / "a.mat", "damaged-file", **fields)


def test_a_variable_marked_as_empty_with_a_size_is_refused(tmp_path):
    def add_labels(file):
        file["valence"] = np.array([1 << 20, 1 << 20], np.uint64)
        file["valence"].attrs["MATLAB_empty"] = np.uint8(1)

    write_73(tmp_path / "a.mat", add_labels, valence=False)
    assert_refused(tmp_path / "a.mat", "damaged-file", field="valence")


def test_a_video_that_does_not_fit_the_scratch_folder_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    savemat(tmp_path / "a.mat", {"video": np.zeros((8, 8, 4))}, "-v7")
    room = type("Usage", (), {"free": 2047})
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: room)
    with refused("file-unwritable", file="a.mat", hint="free disk space"):
        open_frames(tmp_path / "a.mat", scratch=tmp_path)


@pytest.mark.parametrize("version", ["-v7", "-v7.3"])
def test_zeros_deflated_as_far_as_deflate_goes_are_read(version, tmp_path):
    zeros = np.zeros((32, 64, 256))
    if version == "-v7":
        savemat(tmp_path / "a.mat", {"video": zeros}, version)
    else:
        settings = {"chunks": zeros.T.shape, "compression": "gzip", "compression_opts": 9}
        write_73(tmp_path / "a.mat", lambda file: file.create_dataset("video", data=zeros.T, **settings), valence=False)
    assert (tmp_path / "a.mat").stat().st_size < zeros.nbytes / 400
    np.testing.assert_array_equal(loadmat(tmp_path / "a.mat")["video"], zeros)
    with open_frames(tmp_path / "a.mat") as frames:
        assert frames.shape == zeros.shape


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="needs a limit on memory")
def test_a_crafted_file_takes_no_memory(tmp_path):
    write_73(
        tmp_path / "a.mat", lambda file: file.create_dataset("valence", (1 << 40, 1), "f8", chunks=(1 << 16, 1)), False
    )
    assert (tmp_path / "a.mat").stat().st_size < 4096
    command = [sys.executable, "-m", "matlab_ports", "generate_h5", "a.mat"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # noqa: E731
    settings = {"cwd": tmp_path, "env": {"PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True}
    done = subprocess.run(command, check=False, preexec_fn=limit, **settings)
    assert done.returncode == 1
    assert done.stderr.startswith("matlab_ports: error: a.mat: valence: has 0 of its 16777216 chunks in the file")
