"""Commands started many times under load: what was wrong with their ends."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from tests.solver.case import write_case

ROOT = Path(__file__).parents[1]
HUNG = 300.0  # seconds
_preparing = Lock()
TRAIN = ("train", "--solver=solver.prototxt")


def end(folder, *argv, module="caffe_compat"):
    """Run a command; return what was wrong with its end, "" if nothing was, and the seconds it took."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, argv)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=HUNG,
        )
    except subprocess.TimeoutExpired:
        return "did not end", HUNG
    clean = done.returncode == 0 and not any(
        word in done.stderr for word in ("Traceback", "Exception ignored", "Fatal")
    )
    return "" if clean else f"code {done.returncode}: {done.stderr[-300:]}", time.monotonic() - start


def ends(folder, argv, *, runs, at_once, prepare=write_case, module="caffe_compat"):
    """Run a command in folders of its own below `folder`, which `prepare` fills; return what `end` does for each."""

    def run(number):
        subfolder = folder / str(number)
        subfolder.mkdir()
        with _preparing:
            prepare(subfolder)
        return end(subfolder, *argv, module=module)

    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(run, range(runs)))
