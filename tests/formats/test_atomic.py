"""A file under its final name is always complete."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caffe_compat.formats.files import (
    PARTIAL,
    atomic_path,
    read_binary,
    read_net,
    read_solverstate,
    read_weights_h5,
    write_text,
)
from caffe_compat.schema.caffe_pb2 import NetParameter
from caffe_compat_base.partial_file import partial_file, remove_abandoned
from tests.conftest import ROOT
from tests.refusals import refused


def test_the_final_name_appears_at_the_end(tmp_path):
    with atomic_path(tmp_path / "f") as partial:
        assert partial.parent == tmp_path
        assert partial.name.endswith(PARTIAL)
        partial.write_text("new")
        assert not (tmp_path / "f").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "f").write_text("old")
    with pytest.raises(error), atomic_path(tmp_path / "f") as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert (tmp_path / "f").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_refused_with_the_files_name(tmp_path):
    with refused("file-unwritable", file="f"), atomic_path(tmp_path / "f"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_of_the_old_file_or_the_users_default(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(NetParameter(), tmp_path / "f")
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
        (tmp_path / "f").chmod(0o600)
        write_text(NetParameter(), tmp_path / "f")
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600
    finally:
        os.umask(mask)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_text(NetParameter(name="new"), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read_net(tmp_path / "target").name == "new"


def test_a_device_is_written_directly():
    write_text(NetParameter(name="x"), os.devnull)
    assert not os.path.isfile(os.devnull)  # noqa: PTH113


def test_a_long_name_still_fits(tmp_path):
    write_text(NetParameter(), tmp_path / ("n" * 250))
    assert len(list(tmp_path.iterdir())) == 1


HOLDER = """
import sys
from pathlib import Path
from caffe_compat_base.partial_file import partial_file
with partial_file(Path(sys.argv[1])) as partial:
    partial.write_text("whole")
    print(partial, flush=True)
    sys.stdin.read()
"""


def hold(path):
    """Start a process that is writing a file; return it and its partial file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return process, Path(process.stdout.readline().strip())


def test_files_of_killed_runs_are_removed_and_files_being_written_are_not(tmp_path):
    living, whole = hold(tmp_path / "a")
    killed, half = hold(tmp_path / "b")
    killed.kill()
    killed.communicate()
    (tmp_path / ".c.12-abcdef").mkdir()
    (tmp_path / ".c.12-abcdef.partial").mkdir()
    (tmp_path / ".c.12-abcdef.partial" / "data.mdb").touch()
    (tmp_path / ".d.h5.0badcafe.partial").touch()  # of a journal, from which a run resumes
    assert half.exists()
    remove_abandoned.cache_clear()  # as in a new process
    with partial_file(tmp_path / "e"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, ".c.12-abcdef", ".d.h5.0badcafe.partial", "e"}
    with whole.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as HDF5 locks a file that just got its name
    living.communicate("")
    assert living.returncode == 0
    assert (tmp_path / "a").read_text() == "whole"


def test_a_command_removes_the_files_of_a_killed_command(tmp_path):
    (tmp_path / "out").mkdir()
    killed, half = hold(tmp_path / "out" / "old.pt")
    killed.kill()
    killed.communicate()
    assert half.exists()
    (tmp_path / "net.prototxt").write_text('name: "net"')
    command = [sys.executable, "-m", "caffe_compat", "upgrade_net_proto_text", "net.prototxt", "out/net.prototxt"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["net.prototxt"]


WRITER = """
import os, sys
import numpy as np
from caffe_compat.formats.files import BlobStore, SolverSnapshot, write_binary, write_solverstate, write_weights_h5
from caffe_compat.schema.caffe_pb2 import NetParameter

net, store = NetParameter(), BlobStore()
values = np.random.default_rng(0).standard_normal(500_000).astype(np.float32)
for i in range(8):
    store.attach(net.layer.add(name=str(i)).blobs.add(), values)
for _ in sys.stdin:  # for every line one process that writes until it is killed
    child = os.fork()
    while not child:
        write_binary(net, sys.argv[1] + "/w.caffemodel", store)
        write_weights_h5(sys.argv[1] + "/w.caffemodel.h5", {str(i): [values] for i in range(8)})
        write_solverstate(SolverSnapshot(1, "w", 0, [values] * 8), sys.argv[1] + "/s.solverstate.h5", "HDF5")
    print(child, flush=True)
    os.waitpid(child, 0)
"""


def test_kill_9_leaves_no_incomplete_file_under_a_final_name(tmp_path):
    stopped_inside = 0
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as writer:
        for attempt in range(12):
            writer.stdin.write("go\n")
            writer.stdin.flush()
            child = int(writer.stdout.readline())
            time.sleep(0.03 + 0.017 * attempt)
            os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
            stopped_inside += any(p.name.endswith(PARTIAL) for p in tmp_path.iterdir())
            for path in tmp_path.iterdir():
                check_whole(path)
    assert stopped_inside


def check_whole(path):
    if path.name == "w.caffemodel":
        net, store = read_binary(path, NetParameter)
        assert [store.data(layer.blobs[0]).size for layer in net.layer] == [500_000] * 8
    elif path.name == "w.caffemodel.h5":
        assert [b[0].size for b in read_weights_h5(path).values()] == [500_000] * 8
    elif path.name == "s.solverstate.h5":
        assert len(read_solverstate(path).history) == 8
    else:
        assert path.name.endswith(PARTIAL)
        path.unlink()
