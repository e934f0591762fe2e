"""Compare more nets: ``python -m tests.fuzz.nets FIRST STOP``, two seeds."""

import sys
import time

from caffe_compat.kernels.fast.library import vector_lengths
from tests.fuzz.nets.judge import Verdict, judge

first, stop = map(int, sys.argv[1:])
verdict, begun = Verdict(), time.perf_counter()
for seed in range(first, stop):
    judge(seed, verdict)
print(verdict.report())
print(f"floats in a vector: {vector_lengths()}")
for name, number in sorted(verdict.counts.items()):
    print(f"{name}: {number}")
for name, (error, seed) in sorted(verdict.worst.items()):
    print(f"largest error, {name}: {error:.2g} (seed {seed})")
print(f"{len(verdict.problems)} nets with problems; {time.perf_counter() - begun:.0f} s")
sys.exit(bool(verdict.problems))
