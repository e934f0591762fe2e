"""Commands end without a traceback when stdout is closed, full, limited to ASCII, or a pipe whose reader has gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.solver.case import write_case

ROOT = Path(__file__).resolve().parents[2]
ENGINE = [sys.executable, "-m", "caffe_compat"]
APPLICATION = [
    sys.executable,
    "-c",
    "import sys; from lq_emotion.cli import main; sys.exit(main())",
]
PORTS = [sys.executable, "-m", "matlab_ports"]
LISTING = [*ENGINE, "layers"]  # more than a buffer
COMMANDS = {
    "caffe-compat": [*ENGINE, "--help"],
    "lq-emotion": [*APPLICATION, "--help"],
    "matlab_ports": [*PORTS, "--help"],
}


def environment(**words):
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LANG", "PYTHONUTF8", "LC_CTYPE")
    }
    return inherited | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | words


def shell(text, command, *, cwd=None, **words):
    """Run a line of shell in which "$@" is the command."""
    command, settings = ["sh", "-c", text, "sh", *command], environment(**words)
    done = subprocess.run(command, capture_output=True, env=settings, cwd=cwd, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def test_a_closed_pipe_ends_the_command_silently():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(LISTING, stdout=write, stderr=subprocess.PIPE, env=environment(), timeout=120, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_closed_streams_are_the_null_device(command):
    assert shell('"$@" <&- >&-', command) == (0, b"", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_below_stdout_is_one_line():
    code, _, error = shell('"$@" >/dev/full', LISTING)
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith("caffe-compat: error: ")
    assert "No space left on device" in error


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / os.fsdecode("Größe ×2".encode())
    folder.mkdir()
    write_case(folder)
    (folder / "train.h5").rename(folder / os.fsdecode("trän.h5".encode()))
    (folder / "train.txt").write_text("trän.h5\n", encoding="utf-8")
    return folder


def test_files_of_any_name_can_be_used_in_an_ascii_locale(case):
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    code, _, error = shell('"$@"', [*ENGINE, "train", f"--solver={case}/solver.prototxt"], cwd=case, **settings)
    assert code == 0, error
    assert "Optimization Done." in error


def test_any_file_name_can_be_written_to_an_ascii_stream(case):
    """Non-ASCII characters become escapes, undecodable bytes are unchanged."""
    command = [*ENGINE, "draw", case / "net.prototxt", os.fsencode(case / "b") + b"\xfc.svg"]
    code, out, error = shell('"$@"', command, LC_ALL="C.UTF-8", PYTHONIOENCODING="ascii")
    assert (code, error) == (0, "")
    assert b"Gr\\xf6\\xdfe \\xd72/b\xfc.svg: " in out
