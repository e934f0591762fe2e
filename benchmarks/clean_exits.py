"""Start a short training many times, several at once, and count the ends that are not clean.

python benchmarks/clean_exits.py [--runs 400] [--at-once 3]

A training of 12 iterations with HDF5Data, tests and snapshots. Exit code 1 where an end was not clean, or took more
than 60 s.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.ends import TRAIN, ends

SLOW = 60.0  # seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--at-once", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = ends(Path(folder), TRAIN, runs=args.runs, at_once=args.at_once)
    problems = [problem for problem, _ in results if problem]
    slowest = max(seconds for _, seconds in results)
    clean = f"{args.runs - len(problems)} of {args.runs} ends were clean"
    print(f"{clean}, {args.at_once} at a time; the slowest took {slowest:.1f} s")
    for problem in problems:
        print(f"  {problem}")
    return int(bool(problems) or slowest > SLOW)


if __name__ == "__main__":
    sys.exit(main())
