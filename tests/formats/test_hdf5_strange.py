"""HDF5 files that hold less than they declare, or refer to other files, are refused: weights, states, training data."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from caffe_compat.cli import main
from caffe_compat.formats.files import read_net, read_solverstate, read_weights_h5
from tests.conftest import ROOT
from tests.refusals import refused
from tests.solver.case import write_case


def unwritten(folder, group, name):
    group.create_dataset(name, (2**20, 1024), "f4", chunks=(2**12, 1024))


def half_written(folder, group, name):
    group.create_dataset(name, (10, 3), "f4", chunks=(5, 3))[:5] = 1


def never_allocated(folder, group, name):
    group.create_dataset(name, (10, 3), "f4")


def virtual(folder, group, name):
    layout = h5py.VirtualLayout((10, 3), "f4")
    layout[:] = h5py.VirtualSource("gone.h5", "x", (10, 3))
    group.create_virtual_dataset(name, layout)


def external_storage(folder, group, name):
    (folder / "secret").write_bytes(bytes(120))
    group.create_dataset(name, (10, 3), "f4", external=[(str(folder / "secret"), 0, 120)])


def external_link(folder, group, name):
    outside = folder.parent / f"{folder.name}-outside.h5"
    with h5py.File(outside, "w") as file:
        file["x"] = np.ones((10, 3), np.float32)
    group[name] = h5py.ExternalLink(str(outside), "/x")


def link_to_a_pipe(folder, group, name):
    os.mkfifo(folder / "pipe")
    group[name] = h5py.ExternalLink("pipe", "/x")


def link_through_another_file(folder, group, name):
    external_link(folder, group.file, "beyond")
    group[name] = h5py.SoftLink("/beyond")


def loop(folder, group, name):
    group[name] = h5py.SoftLink(f"{group.name}/{name}")


KINDS = {
    unwritten: "damaged-file",
    half_written: "damaged-file",
    never_allocated: "damaged-file",
    virtual: "damaged-file",
    external_storage: "damaged-file",
    external_link: "unsafe",
    link_to_a_pipe: "unsafe",
    link_through_another_file: "unsafe",
    loop: "unsafe",
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_training_data_is_refused(kind, tmp_path, capfd):
    write_case(tmp_path)
    with h5py.File(tmp_path / "train.h5", "r+") as file:
        del file["data"]
        kind(tmp_path, file, "data")
    assert main(["train", f"--solver={tmp_path / 'solver.prototxt'}"]) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert "train.h5" in error
    assert not list(tmp_path.glob("*.caffemodel"))


def test_weights_are_refused(kind, tmp_path):
    with h5py.File(tmp_path / "w.caffemodel.h5", "w") as file:
        kind(tmp_path, file.create_group("data/ip"), "0")
    with refused(KINDS[kind], file="w.caffemodel.h5") as caught:
        read_weights_h5(tmp_path / "w.caffemodel.h5")
    assert caught.value.field.startswith("/")


def test_a_solvers_state_is_refused(tmp_path):
    with h5py.File(tmp_path / "s.solverstate.h5", "w") as file:
        file["iter"], file["current_step"] = np.int32([5]), np.int32([0])
        external_storage(tmp_path, file.create_group("history"), "0")
    with refused("damaged-file", file="s.solverstate.h5", field="/history/0"):
        read_solverstate(tmp_path / "s.solverstate.h5")


def test_a_link_to_a_file_beside_the_training_file_is_followed_once(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the snapshots go there
    write_case(tmp_path)
    (tmp_path / "train.h5").rename(tmp_path / "all.h5")
    with h5py.File(tmp_path / "train.h5", "w") as file:
        for name in ("data", "label"):
            file[name] = h5py.ExternalLink("all.h5", f"/{name}")
    assert main(["train", f"--solver={tmp_path / 'solver.prototxt'}"]) == 0
    with h5py.File(tmp_path / "all.h5", "r+") as file:
        file.move("data", "moved")
        file["data"] = h5py.ExternalLink("train.h5", "/data")
    assert main(["train", f"--solver={tmp_path / 'solver.prototxt'}"]) == 1
    assert "all.h5: /data: is a link into the file train.h5" in capfd.readouterr().err


READS = """
import sys
from caffe_compat.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", ["show", "upgrade_net_proto_text", "convert"])
def test_a_named_pipe_is_refused_at_once(command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    words = [command, str(tmp_path / "pipe"), *([str(tmp_path / "out.h5")] if command != "show" else [])]
    done = subprocess.run(
        [sys.executable, "-c", READS, *words],
        capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.rpartition(": ")[2] in (
        "is a named pipe, expected a file\n",
        "is a pipe or a device, expected a file\n",
    )
    assert done.stderr.count("\n") == 1


def test_a_device_is_refused():
    with refused("wrong-format", file="/dev/zero"):
        read_net("/dev/zero")
