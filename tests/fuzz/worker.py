"""The process that damaged files are used in: ``python -m tests.fuzz.worker SEED START STOP FOLDER``.

A line of JSON before each case and one after it; the parent knows from them which case a crash or a hang was.
"""

import json
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path

from tests.fuzz.cases import Cases

BASE, PER_BYTE = 64 << 20, 64
"""A case may make the process larger by BASE bytes and PER_BYTE for each byte of its file.

BASE is for the net that a small file describes and computes with. Text is what costs for each byte: its tokens are held
with their places, 114 bytes for one of a single character and 35 to 80 for each byte of the extreme texts measured here;
BASE covers what is beyond PER_BYTE in files of these sizes, up to 800 kB. More than that grows faster than the file.
"""


def memory(name: str) -> int:
    """Return a figure of /proc/self/status in bytes; 0 elsewhere than on Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)


def forget_peak() -> None:
    """Let the peak begin anew from what is held now."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def report(**words: object) -> None:
    """Write a line at once."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main(seed: int, start: int, stop: int, folder: Path, kind: type = Cases) -> None:
    """Run the cases from `start` up to `stop`; keep the files of those that fail."""
    warnings.simplefilter("ignore")
    cases = kind(seed, folder)
    for number in range(start, stop):
        report(begin=number)
        forget_peak()
        held, begun, problem, kind, taken, file = memory("VmRSS"), time.perf_counter(), "", "", False, None
        try:
            kind, file, taken = cases.run(number)
        except Exception:  # noqa: BLE001  (any is a finding)
            problem = traceback.format_exc()
        grown = memory("VmHWM") - held
        size = file.stat().st_size if file is not None and file.exists() else 0
        if not problem and grown > BASE + PER_BYTE * size:
            problem = f"{grown >> 20} MiB for a file of {size} bytes"
        if problem:
            keep(folder, number)
            if file is not None and file.parent != folder:
                shutil.copy(file, folder / f"kept-{number}-{file.name}")
        report(
            end=number, kind=kind, taken=taken, problem=problem, ms=1000 * (time.perf_counter() - begun), grown=grown
        )


def keep(folder: Path, number: int) -> None:
    """Keep the files of a case."""
    for file in folder.glob("case.*"):
        shutil.copy(file, folder / f"kept-{number}-{file.name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
