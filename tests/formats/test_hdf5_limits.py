"""A command that cannot finish an HDF5 file writes one line, exits with 1, and leaves nothing, at any limit."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from caffe_compat.formats.files import BlobStore, read_net, write_binary
from caffe_compat_base.hdf5_writer import hdf5_writer
from tests.conftest import ROOT
from tests.solver.case import NET, SOLVER, write_case

PROGRAM = """
import importlib, json, os, resource, sys
import numpy as np
from caffe_compat.cli import main as caffe
from matlab_ports.__main__ import main as ports
from matlab_ports import savemat
from matlab_ports import PortError

def saved(name, version):
    try:
        savemat(name, {"x": np.arange(6000.0), "y": np.arange(3)}, version)
    except PortError as error:
        sys.stderr.write(f"{error}\\n")
        return 1
    return 0


def run(command, limit):
    # Return exit code, error and the sizes of new files.
    before = set(os.listdir())
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # goes through the interpreter's end, where HDF5 may crash as well
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        sys.exit(eval(command))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        stderr = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    new = {name: os.path.getsize(name) for name in sorted(set(os.listdir()) - before)}
    for name in new:
        os.unlink(name)
    return code, stderr, new

count = int(sys.argv[2])
for name, (modules, command) in json.loads(sys.argv[1]).items():
    for module in modules:  # once, and not in every child
        importlib.import_module(module)
    whole = run(command, None)
    print(json.dumps([name, None, *whole]), flush=True)
    size = max(whole[2].values(), default=0)
    for limit in sorted({size * i // count for i in range(count)} | {size - 1}):
        print(json.dumps([name, limit, *run(command, limit)]), flush=True)
"""
OUTPUT = """
layer { name: "feed" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "test.txt" batch_size: 40 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 300 } }
layer { name: "out" type: "HDF5Output" bottom: "ip" bottom: "label" hdf5_output_param { file_name: "out.h5" } }
"""
COMMANDS = {
    "convert": (["caffe_compat.cli.convert"], 'caffe(["convert", "w.caffemodel", "out.h5"])'),
    "snapshot": (["caffe_compat.cli.train"], 'caffe(["train", "--solver=solver.prototxt"])'),
    "extract_features": (
        ["caffe_compat.cli.extract_features"],
        'caffe(["extract_features", "w.caffemodel", "net.prototxt", "ip", "f.h5", "9", "hdf5"])',
    ),
    "HDF5Output": (
        ["caffe_compat.cli.score", "torch._dynamo"],
        'caffe(["test", "--model=out.prototxt", "--weights=w.caffemodel", "--iterations=3"])',
    ),
    "savemat": ([], 'saved("a.mat", "-v7.3")'),
    "generate_train": (
        ["matlab_ports.generate_train"],
        'ports(["generate_train", "--folder=pictures", "--savepath=a.h5", "--scale=4", "--chunksz=2"])',
    ),
}


@pytest.fixture
def folder(tmp_path):
    net = NET.replace("num_output: 1", "num_output: 300").replace(
        'type: "EuclideanLoss" bottom: "ip" bottom: "label"', 'type: "EuclideanLoss" bottom: "ip" bottom: "ip"'
    )
    solver = SOLVER.replace("max_iter: 12", "max_iter: 1 snapshot_format: HDF5")
    write_case(tmp_path, net=net, solver=solver)
    message, store = read_net(tmp_path / "net.prototxt"), BlobStore()
    for layer in message.layer:
        if layer.name == "ip":
            store.attach(layer.blobs.add(), np.ones((300, 3), np.float32))
            store.attach(layer.blobs.add(), np.ones(300, np.float32))
    write_binary(message, tmp_path / "w.caffemodel", store)
    (tmp_path / "out.prototxt").write_text(OUTPUT)
    (tmp_path / "pictures").mkdir()
    values = np.arange(40 * 60 * 3).reshape(40, 60, 3) % 251
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "pictures/t1.bmp")
    return tmp_path


def check(folder, names, count):
    commands = {name: COMMANDS[name] for name in names}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands), str(count)],
        cwd=folder, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    whole = {name: (code, stderr, new) for name, limit, code, stderr, new in lines if limit is None}
    assert whole.keys() == set(names)
    for name, (code, stderr, new) in whole.items():
        assert (code, bool(new)) == (0, True), (name, stderr)
    limited = [line for line in lines if line[1] is not None]
    assert len(limited) == len(names) * (count + 1)
    for name, limit, code, stderr, new in limited:
        assert code == 1, (name, limit, code, stderr)
        reason = stderr.rstrip("\n").rpartition("\n")[2]
        assert reason.endswith(("File too large", "File too large)")) or "no room for" in reason, (name, limit, stderr)
        assert "Traceback" not in stderr
        assert new.items() <= whole[name][2].items(), (name, limit, new)  # a whole one before the one that fails


def test_a_limit_on_file_sizes_is_one_error_and_leaves_no_incomplete_file(folder):
    check(folder, ["convert", "savemat"], 1)


@pytest.mark.slow
def test_every_limit_is_one_error_and_leaves_no_incomplete_file(folder):
    check(folder, COMMANDS, 40)


def test_a_failed_addition_leaves_the_file_unchanged(tmp_path):
    path = tmp_path / "a.h5"
    path.touch()
    with hdf5_writer(path, "w") as file:
        file.do(lambda hdf5: hdf5.create_dataset("x", data=np.arange(5000), maxshape=(None,)))
    before = path.read_bytes()

    def grow(hdf5):
        hdf5["x"].resize(9000, axis=0)
        hdf5["x"][2000:] = 7
        hdf5.flush()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), hdf5_writer(path, "r+") as file:
        file.do(grow)
    assert path.read_bytes() == before


def test_reserved_space_is_used_and_the_rest_released(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(bytes(1_000_000))
    with hdf5_writer(path, "w") as file:
        file.do(lambda hdf5: hdf5.create_dataset("x", data=np.arange(1000)))
        assert path.stat().st_size == 1_000_000
    assert path.stat().st_size < 20_000
    with h5py.File(path) as file:
        assert file["x"][...].tolist() == list(range(1000))
