"""Packages import without POSIX-only modules and functions, as on Windows. Nothing here runs there."""

import subprocess
import sys

WITHOUT_POSIX = """
import importlib.util, os, pkgutil, signal, sys

# the standard library's own modules know where they are
import asyncio, concurrent.futures, ctypes, multiprocessing.pool, shutil, subprocess, tempfile, webbrowser

def take_away_posix():
    sys.platform = "win32"
    for name in ("fcntl", "grp", "pwd", "resource", "termios"):
        sys.modules[name] = None  # an import of it fails
    for name in ("fork", "getuid", "killpg", "posix_fallocate", "preadv", "register_at_fork",
                 "sched_getaffinity", "setsid", "sysconf"):
        delattr(os, name)
    for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "pthread_sigmask"):
        delattr(signal, name)

def import_all(name):
    module = importlib.import_module(name)
    inside = pkgutil.iter_modules(getattr(module, "__path__", []))
    return 1 + sum(import_all(f"{name}.{one.name}") for one in inside if one.name not in RUN)

RUN = ["__main__", "subprocess_shim"]  # what is run, or put in the place of another `caffe`
if importlib.util.find_spec("numba") is None:
    RUN.append("compiled")
"""


def run(code):
    command = [sys.executable, "-c", WITHOUT_POSIX + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_imresize_and_every_other_port_are_there():
    code = """
for name in ("cv2", "h5py", "numba", "PIL.Image", "scipy.io"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert name == "numba"
take_away_posix()
import matlab_ports, numpy
print(matlab_ports.imresize(numpy.eye(4), 0.5).shape, import_all("matlab_ports"))
"""
    shape, _, count = run(code).strip().rpartition(" ")
    assert (shape, int(count) > 20) == ("(2, 2)", True)


def test_every_module_of_the_engine_and_the_application_is_there():
    code = """
import cv2, h5py, matplotlib.figure, torch, tqdm
take_away_posix()
print(import_all("caffe_compat"))
"""
    assert int(run(code)) > 200


def test_a_solver_heeds_ctrl_c_where_there_is_no_sighup():
    code = """
import torch
take_away_posix()
from caffe_compat.solver.signals import Action, SignalActions
with SignalActions() as take:
    signal.raise_signal(signal.SIGINT)
    print(take() is Action.STOP, take() is Action.NONE)
"""
    assert run(code) == "True True\n"


def test_a_file_that_needs_locks_is_refused_before_anything_is_written(tmp_path):
    code = f"""
import cv2, h5py, numpy, PIL.Image, scipy.io
take_away_posix()
from pathlib import Path
from matlab_ports._recordings.chunk_file import Journal
from matlab_ports import PortError
try:
    Journal.create(Path({str(tmp_path)!r}, "train.h5"), "fingerprint")
except PortError as error:
    print(error)
"""
    said = run(code)
    assert "train.h5" in said
    assert "fcntl" in said
    assert list(tmp_path.iterdir()) == []
