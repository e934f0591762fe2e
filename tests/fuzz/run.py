"""Cases in processes of their own: what crashes or hangs one of them is a finding, and the next case goes on."""

import json
import os
import select
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120.0
"""Seconds a case may take; it takes milliseconds on a quiet machine."""


@dataclass
class Findings:
    """What a run found.

    Attributes
    ----------
    cases, taken : by kind, how many there were, and how many files were taken in spite of their damage.
    problems : case number -> traceback, crash, hang, or memory beyond the rule.
    slowest, largest : milliseconds and bytes of the slowest and the largest case.
    """

    cases: Counter = field(default_factory=Counter)
    taken: Counter = field(default_factory=Counter)
    problems: dict[int, str] = field(default_factory=dict)
    slowest: float = 0.0
    largest: int = 0

    def end(self, line: dict) -> None:
        """Count a case that came to its end."""
        self.cases[line["kind"]] += 1
        self.taken[line["kind"]] += line["taken"]
        self.slowest, self.largest = max(self.slowest, line["ms"]), max(self.largest, line["grown"])
        if line["problem"]:
            self.problems[line["end"]] = line["problem"]


def run(
    seed: int, count: int, folder: Path, *, start: int = 0, limit: float = LIMIT, worker: str = "tests.fuzz.worker"
) -> Findings:
    """Run `count` cases of a seed from number `start`."""
    findings, at, stop = Findings(), start, start + count
    while at < stop:
        at = _some(findings, seed, at, stop, folder, limit, worker)
    return findings


def _some(findings: Findings, seed: int, start: int, stop: int, folder: Path, limit: float, worker: str) -> int:
    """Run cases until the process ends; return the number of the next."""
    command = [sys.executable, "-X", "faulthandler", "-m", worker, *map(str, (seed, start, stop)), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MALLOC_MMAP_THRESHOLD_": "1048576"}
    with (folder / "stderr").open("wb") as err:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, cwd=folder, env=environment)
        at, ended, problem = _follow(child, findings, start, limit)
        child.kill()
        child.communicate()
    if ended == stop - 1:
        return stop
    stderr = (folder / "stderr").read_text(errors="replace")[-3000:]
    if at is None:
        raise RuntimeError(f"the worker did not begin: {stderr}")
    findings.problems[at] = f"{problem or f'the process died ({child.returncode})'}\n{stderr}"
    return at + 1


def _follow(child: subprocess.Popen, findings: Findings, start: int, limit: float) -> tuple[int | None, int, str]:
    assert child.stdout is not None
    at, ended, held = None, start - 1, b""
    while True:
        if not select.select([child.stdout], [], [], limit)[0]:
            return at, ended, f"more than {limit:.0f} s"
        part = os.read(child.stdout.fileno(), 1 << 16)
        if not part:
            return at, ended, ""
        *lines, held = (held + part).split(b"\n")
        for line in map(json.loads, lines):
            if "begin" in line:
                at = line["begin"]
            else:
                ended = line["end"]
                findings.end(line)
