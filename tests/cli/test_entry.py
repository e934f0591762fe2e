"""Ctrl-C ends every command with 130 and one line, from the first import on."""

import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from caffe_compat import cli

ROOT = Path(__file__).parents[2]
COMMANDS = {"caffe-compat": ("caffe_compat.entry", "caffe_compat"), "lq-emotion": ("lq_emotion.entry", "main")}

# Sends itself Ctrl-C when the module of this name is looked for.
PROGRAM = """
import os, signal, sys
from importlib.abc import MetaPathFinder
class Interrupt(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["INTERRUPTED"]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from {entry} import {function}
sys.exit({function}())
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("caffe-compat", "caffe_compat.cli.parser"),
        ("caffe-compat", "google.protobuf.message"),
        ("caffe-compat", "torch"),
        ("lq-emotion", "lq_emotion.cli"),
    ],
)
def test_an_interrupted_import_is_one_line_and_exit_code_130(command, module):
    entry, function = COMMANDS[command]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(entry=entry, function=function), "train"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "INTERRUPTED": module},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, f"{command}: error: interrupted\n")


# Python imports this module by itself when it starts, before anything else.
CUSTOMISED = PROGRAM[: PROGRAM.index("from {entry}")]


@pytest.mark.parametrize("module", ["matlab_ports._support.errors", "h5py", "matlab_ports._commands"])
def test_an_interrupted_import_of_the_ports_is_one_line_and_exit_code_130(module, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CUSTOMISED)
    done = subprocess.run(
        [sys.executable, "-m", "matlab_ports", "run_eval", "--help"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "INTERRUPTED": module},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "matlab_ports: error: interrupted\n")


def test_an_interrupted_command_exits_with_130(monkeypatch, capsys):
    from lq_emotion import cli as application

    def interrupted(_args):
        raise KeyboardInterrupt

    args = Namespace(run=interrupted, fork=[])
    monkeypatch.setattr(cli, "parse", lambda _argv: args)
    monkeypatch.setattr(application, "parser", lambda _words: Namespace(parse_args=lambda _argv: args))
    assert cli.main([]) == 130
    assert application.main([]) == 130
    err = capsys.readouterr().err.splitlines()
    assert [line.partition(": error: interrupted")[0] for line in err] == ["caffe-compat", "lq-emotion"]


def test_signals_reach_the_processes_that_tests_start():
    """Also where the tests were started by a script in the background, which has them ignored."""
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


# Something that never goes away, as h5py's property lists sometimes do not when the interpreter takes modules apart.
STUCK = """
import sys, time
class Stuck:
    def __del__(self, sleep=time.sleep):
        sleep(1000)
sys.stuck = Stuck()
from caffe_compat.entry import caffe_compat
sys.exit(caffe_compat())
"""


@pytest.mark.parametrize(("argv", "code"), [(["layers"], 0), (["shwo"], 2)])
def test_a_command_ends_even_if_the_interpreters_shutdown_hangs(argv, code, tmp_path):
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", STUCK, *argv],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            check=False,
            timeout=120,
        )
    assert done.returncode == code
    lines = (tmp_path / "out").read_text().splitlines()
    assert ("Convolution" in " ".join(lines)) == (argv == ["layers"])
