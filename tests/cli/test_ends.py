"""Every command closes what it opens: no thread and no file of a C library is left for the interpreter's end."""

import gc
import shutil
import threading

import pytest
from tqdm import TMonitor

from caffe_compat.cli import main
from caffe_compat.runtime import closing
from tests.ends import TRAIN, ends


@pytest.fixture
def folder(case):
    assert main(["train", "--solver=solver.prototxt", "--max_iter=1"]) == 0
    return case


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
        before = opened()
        assert main(COMMANDS[command]) in (0, 1)
        assert opened() == before
    finally:
        gc.enable()


def opened():
    """Return the threads, without the one that tqdm has for all bars of a process, and the number of open sources."""
    return {thread for thread in threading.enumerate() if not isinstance(thread, TMonitor)}, len(closing._open)


def test_parallel_trainings_end(tmp_path):
    assert [problem for problem, _ in ends(tmp_path, TRAIN, runs=3, at_once=3)] == [""] * 3


SCRIPT = """
import caffe
solver = caffe.SGDSolver("solver.prototxt")
solver.step(3)
net = solver.net
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", [*COMMANDS, "convert", "draw", "script"])
def test_a_command_ends_every_time_in_40_runs(folder, tmp_path_factory, command):
    (folder / "script.py").write_text(SCRIPT)
    others = {
        "convert": ["convert", "snap_iter_1.caffemodel", "out.h5"],
        "draw": ["draw", "net.prototxt", "out.svg"],
        "script": ["script.py"],
    }
    module = "caffe_compat.pycaffe" if command == "script" else "caffe_compat"
    argv = COMMANDS.get(command) or others[command]

    def prepare(place):
        shutil.copytree(folder, place, dirs_exist_ok=True)

    results = ends(tmp_path_factory.mktemp("runs"), argv, runs=40, at_once=4, prepare=prepare, module=module)
    assert len(results) == 40
    assert [problem for problem, _ in results if problem] == []
