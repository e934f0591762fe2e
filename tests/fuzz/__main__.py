"""Run more cases: ``python -m tests.fuzz [COUNT [SEED [START]]]``; the files of findings stay in ./fuzz_out."""

import sys
import time
from pathlib import Path

from tests.fuzz.run import run

count, seed, start = (*map(int, sys.argv[1:]), *(20_000, 1, 0)[len(sys.argv) - 1 :])
folder = Path("fuzz_out").resolve()
folder.mkdir(exist_ok=True)
begun = time.perf_counter()
findings = run(seed, count, folder, start=start)
for number, problem in findings.problems.items():
    print(f"case {number}: {problem}")
print(
    f"{sum(findings.cases.values())} cases in {time.perf_counter() - begun:.0f} s: {dict(findings.cases)}, "
    f"taken {dict(findings.taken)}; slowest {findings.slowest:.0f} ms, largest {findings.largest >> 20} MiB; "
    f"{len(findings.problems)} problems"
)
sys.exit(bool(findings.problems))
