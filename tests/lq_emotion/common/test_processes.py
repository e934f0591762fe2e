"""Processes for one piece of work: gone with it, with a process that is lost, and with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caffe_compat.errors import CaffeCompatError, DataError
from lq_emotion.common.processes import WorkerLostError, as_done, processes
from tests.lq_emotion.processes import ENVIRONMENT, PATIENCE, eventually
from tests.refusals import refused


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def begun(folder):
    return {path.name: int(path.read_text()) for path in folder.glob("task*") if path.read_text()}


def work(folder, number, seconds=0.0):
    (folder / f"task{number}").write_text(str(os.getpid()))
    time.sleep(seconds)
    return number


def fail(number):
    raise DataError("cannot be used", code="invalid", value=number)


def die(folder, number):
    work(folder, number)
    if number == 0 and eventually(lambda: len(begun(folder)) == 2):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(PATIENCE)


def interrupted(folder, number):
    try:
        work(folder, number, 2 * PATIENCE)
    except KeyboardInterrupt:
        (folder / f"cleaned{number}").write_text("")
        raise


def test_results_and_errors_of_tasks_are_returned(tmp_path):
    assert sorted(as_done(2, work, [(tmp_path, number) for number in range(5)])) == [0, 1, 2, 3, 4]
    pids = set(begun(tmp_path).values())
    assert os.getpid() not in pids
    assert not any(map(alive, pids))
    with refused("invalid", value=3):
        list(as_done(2, fail, [(3,)]))


def test_a_process_that_is_killed_is_an_error_and_the_others_end(tmp_path):
    start = time.monotonic()
    with pytest.raises(WorkerLostError, match="--jobs = 2: a process was lost"):
        list(as_done(2, die, [(tmp_path, number) for number in range(4)]))
    assert time.monotonic() - start < PATIENCE, "the others were waited for"
    assert issubclass(WorkerLostError, CaffeCompatError)
    assert len(begun(tmp_path)) == 2
    assert not any(map(alive, begun(tmp_path).values()))


def test_running_tasks_end_when_the_block_ends_early(tmp_path):
    def leave():
        with processes(1) as workers:
            workers.submit(interrupted, tmp_path, 0)
            workers.submit(interrupted, tmp_path, 1)
            assert eventually(lambda: begun(tmp_path))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert list(begun(tmp_path)) == ["task0"]
    assert not any(map(alive, begun(tmp_path).values()))


PARENT = """
import signal, sys
from pathlib import Path
from tests.lq_emotion.common.test_processes import interrupted
from lq_emotion.common.processes import as_done
if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup and scripts in the background have it ignored
    list(as_done(2, interrupted, [(Path(sys.argv[1]), number) for number in range(6)]))
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, number):
    """However it ends: they begin nothing new, and hold its output no longer."""
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert eventually(lambda: len(begun(tmp_path)) == 2 or parent.poll() is not None)
    assert parent.poll() is None
    parent.send_signal(number)
    out, _ = parent.communicate(timeout=PATIENCE)  # returns when nobody holds stdout
    assert (parent.returncode, out) == (-number, b"")
    assert eventually(lambda: not any(map(alive, begun(tmp_path).values())))
    assert len(begun(tmp_path)) == 2
