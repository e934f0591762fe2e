"""Every command closes what it opens: no thread and no file of a C library is left for the interpreter's end."""

import gc
import threading

import pytest

from caffe_compat import closing
from caffe_compat.cli import main
from tests.solver.case import write_case

LINE = "layer { name: 'feed' type: 'HDF5Data'"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path)
    assert main(["train", "--solver=solver.prototxt", "--max_iter=1"]) == 0
    return tmp_path


COMMANDS = {
    "train": ["train", "--solver=solver.prototxt"],
    "test": ["test", "--model=net.prototxt", "--weights=snap_iter_1.caffemodel", "--iterations=3"],
    "time": ["time", "--model=net.prototxt", "--iterations=2"],
    "extract_features": ["extract_features", "snap_iter_1.caffemodel", "net.prototxt", "ip", "out.h5", "2", "hdf5"],
    "lint": ["lint", "net.prototxt"],
    "show": ["show", "net.prototxt", "--phase=TRAIN"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_leaves_nothing_open(folder, command):
    gc.collect()
    gc.disable()  # so that nothing is closed by chance
    try:
        before = set(threading.enumerate()), len(closing._open)
        assert main(COMMANDS[command]) in (0, 1)
        assert (set(threading.enumerate()), len(closing._open)) == before
    finally:
        gc.enable()
