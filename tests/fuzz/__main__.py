"""Run more cases: ``python -m tests.fuzz [COUNT [SEED [START]]]``; the files of findings stay in ./fuzz_out."""

import sys
import time
from pathlib import Path

from tests.fuzz.run import run

count, seed, start = (*map(int, sys.argv[1:]), *(20_000, 1, 0)[len(sys.argv) - 1 :])
folder = Path("fuzz_out").resolve()
folder.mkdir(exist_ok=True)
begun = time.perf_counter()
found = run(seed, count, folder, start=start)
for number, problem in found.problems.items():
    print(f"case {number}: {problem}")
print(
    f"{sum(found.cases.values())} cases in {time.perf_counter() - begun:.0f} s: {dict(found.cases)}, "
    f"taken {dict(found.taken)}; slowest {found.slowest:.0f} ms, largest {found.largest >> 20} MiB; "
    f"{len(found.problems)} problems"
)
sys.exit(bool(found.problems))
