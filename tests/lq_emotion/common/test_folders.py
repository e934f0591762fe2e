"""One process at a time works in a folder, and a killed one leaves it free."""

import os
import signal
import subprocess
import sys

from lq_emotion.common.folders import LOCK, locked
from tests.refusals import refused

HOLD = """
import sys, time
from pathlib import Path
from lq_emotion.common.folders import locked
with locked(Path(sys.argv[1]), "study"):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_who_works_there_until_the_first_is_killed(tmp_path):
    folder = tmp_path / "root"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout.readline() == "locked\n"
            with refused("conflict", file=folder) as refusal, locked(folder, "study"):
                raise AssertionError("two processes have the lock")
            assert f"process {first.pid} on " in str(refusal.value)
        finally:
            os.kill(first.pid, signal.SIGKILL)
    with locked(folder, "study"):
        assert f'"process": {os.getpid()}' in (folder / LOCK).read_text()


def test_the_lock_is_free_after_the_work(tmp_path):
    for _ in range(2):
        with locked(tmp_path, "rd"):
            pass


def test_a_link_is_refused_and_its_target_kept(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / LOCK).symlink_to(tmp_path / "mine")
    with refused("unsafe", file=LOCK), locked(tmp_path, "study"):
        raise AssertionError("the link is followed")
    assert (tmp_path / "mine").read_text() == "mine"
