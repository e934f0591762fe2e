"""Files of another format are refused, with the format that was recognised."""

import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from caffe_compat.formats.files import (
    SolverSnapshot,
    read_binary,
    read_net,
    read_solver,
    read_solverstate,
    read_text,
    read_weights_h5,
    write_binary,
    write_solverstate,
    write_text,
    write_weights_h5,
)
from caffe_compat.schema.caffe_pb2 import NetParameter, SolverState
from tests.conftest import ROOT
from tests.refusals import refused


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", "x")
    return buffer.getvalue()


WRONG = {
    "zip": (zipped(), "a zip archive, perhaps a PyTorch or NumPy file"),
    "pickle": (pickle.dumps({"a": 1}), "a Python pickle, perhaps a PyTorch file"),
    "html": (b"\n <!DOCTYPE HTML><html><body>404</body></html>", "a web page, perhaps an error page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer"),
    "gzip": (b"\x1f\x8b\x08\0\0\0", "a gzip archive"),
    "tar": (b"a" * 257 + b"ustar\0" + b"0" * 249, "a tar archive"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"a":' + b" " * 60, "a safetensors file"),
    "mat": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file"),
    "utf-16": ("\ufeffname: 'a'".encode("utf-16-le"), "text in UTF-16; save it as UTF-8"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_format_is_recognised_in_place_of_text_and_weights(kind, tmp_path):
    content, name = WRONG[kind]
    (tmp_path / "f").write_bytes(content)
    for read in (lambda path: read_binary(path, NetParameter), read_net):
        with refused("wrong-format", file="f") as caught:
            read(tmp_path / "f")
        assert name in caught.value.problem


def test_weights_in_place_of_text_are_recognised(golden):
    with refused("wrong-format") as caught:
        read_net(golden / "files/sgd_fixed_snap_iter_10.caffemodel")
    assert "perhaps a caffemodel" in caught.value.problem


def test_text_in_place_of_weights_is_recognised(tmp_path):
    (tmp_path / "f").write_text('name: "a"\nlayer { name: "größe" }\n', encoding="utf-8")
    with refused("damaged-file", file="f", hint="perhaps a prototxt"):
        read_binary(tmp_path / "f", NetParameter)


def test_a_solverstate_in_place_of_weights_is_recognised_and_vice_versa(golden):
    with refused("damaged-file", hint="looks like a solverstate"):
        read_binary(golden / "files/sgd_fixed_snap_iter_10.solverstate", NetParameter)
    with refused("wrong-format", hint="looks like weights"):
        read_solverstate(golden / "files/sgd_fixed_snap_iter_10.caffemodel")


def test_a_solver_in_place_of_a_net_is_recognised_and_vice_versa(tmp_path):
    (tmp_path / "f").write_text('net: "n" base_lr: 1 debug_info: true')
    with refused("wrong-format", file="f"):
        read_net(tmp_path / "f")
    (tmp_path / "f").write_text('name: "n" layer { } layer { }')
    with refused("wrong-format", file="f"):
        read_solver(tmp_path / "f")


def test_an_empty_file_is_an_empty_text_but_not_weights(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    with refused("empty", file="f"):
        read_binary(tmp_path / "f", NetParameter)
    with refused("empty", file="f"):
        read_solverstate(tmp_path / "f")
    assert read_net(tmp_path / "f") == NetParameter()


@pytest.mark.parametrize(
    "read", [read_net, read_solver, read_solverstate, read_weights_h5, lambda p: read_binary(p, SolverState)]
)
def test_missing_files_and_folders_cannot_be_read(read, tmp_path):
    with refused("file-missing", file="nowhere"):
        read(tmp_path / "nowhere")
    with refused("wrong-format", file=tmp_path):
        read(tmp_path)


@pytest.mark.parametrize(
    "write",
    [
        lambda p: write_text(NetParameter(), p),
        lambda p: write_binary(NetParameter(), p),
        lambda p: write_weights_h5(p, {"a": [np.ones(2)]}),
        lambda p: write_solverstate(SolverSnapshot(), p, "HDF5"),
        lambda p: write_solverstate(SolverSnapshot(), p),
    ],
)
def test_files_without_a_folder_and_folders_cannot_be_written(write, tmp_path):
    with refused("file-unwritable", file="such"):
        write(tmp_path / "no/such")
    with refused("wrong-format", file=tmp_path):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_encoding_is_accepted_in_comments_only(tmp_path):
    (tmp_path / "f").write_bytes('# größe\nname: "a"'.encode("latin-1"))
    assert read_text(tmp_path / "f", NetParameter).name == "a"
    (tmp_path / "f").write_bytes('name: "größe"'.encode("latin-1"))
    with refused("syntax", file="f", line=1, column=7, field="name"):
        read_text(tmp_path / "f", NetParameter)


def test_a_pipe_is_read_like_a_file(golden):
    content = (golden / "files/sgd_fixed_snap_iter_10.caffemodel").read_bytes()
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    try:
        net, store = read_binary(f"/dev/fd/{reading}", NetParameter)
    finally:
        os.close(reading)
    expected = NetParameter.FromString(content)
    blobs = [b for layer in net.layer for b in layer.blobs]
    assert [store.data(b).ravel().tolist() for b in blobs] == [list(b.data) for v in expected.layer for b in v.blobs]


LIMITED = """
import resource, sys
import numpy as np
from caffe_compat.errors import FileError
from caffe_compat.formats.files import BlobStore, SolverSnapshot, write_binary, write_solverstate, write_weights_h5, write_text
from caffe_compat.schema.caffe_pb2 import NetParameter

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
array = np.zeros(100_000, np.float32)
for write in (
    lambda p: write_weights_h5(p, {"a": [array]}),
    lambda p: write_solverstate(SolverSnapshot(history=[array]), p, "HDF5"),
    lambda p: write_solverstate(SolverSnapshot(history=[array]), p),
    lambda p: write_text(NetParameter(name="n" * 50_000), p),
):
    try:
        write(sys.argv[1])
    except FileError as error:
        print(error)
"""


def test_a_file_that_exceeds_a_limit_is_one_error_and_leaves_nothing(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "f")],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"{tmp_path / 'f'}: cannot be written: ") for line in lines)
    assert list(tmp_path.iterdir()) == []
