"""``generate_h5``: shuffle and write against the disk's own rate, frames a second with mix, and the peak of memory.

    python benchmarks/bench_h5.py [--recordings 6] [--frames 7500] [--rounds 5] [--versions v6] [--folder DIR] [--json]
    python benchmarks/bench_h5.py --memory [--recordings 2 6] [--versions v6 v7]

Every round writes as many bytes as the HDF5 file has, in blocks of its chunks' size, to a new file and waits until they
are on the disk (the disk's own rate), and then makes the plain and the mixed file, each new, on the disk when it gets
its name. Ratios are taken within a round; what is printed is the median. Recordings were just written and so are read
from memory where that holds them; they take 553 MB each at 7,500 frames.

--memory runs every case in a process of its own and prints the most that was resident in it (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from matlab_ports.generate_h5 import Options, generate_h5  # noqa: E402
from matlab_ports.matfile import FramesWriter  # noqa: E402

CASES = {"plain": {}, "mix": {"mix": True}, "norm": {"mean_sub": True, "norm": True}}
LIMITS = {"plain of the disk's rate": 0.5, "mix frames/s": 2000, "MB resident": 1000}
CHILD = """
import re, sys
sys.path.insert(0, sys.argv[1])
from matlab_ports.generate_h5 import Options, generate_h5
generate_h5(sys.argv[4:], 96, sys.argv[2], 128, Options(**eval(sys.argv[3])), resume=False)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def make(folder: Path, count: int, frames: int, version: str) -> list[Path]:
    """Recordings like prepared ones: coarse patterns with fine noise, single values stored as double."""
    paths = [folder / f"train_{number + 1}.mat" for number in range(count)]
    for number, path in enumerate(paths):
        rng = np.random.default_rng(number)
        then = {"valence": np.sin(np.arange(frames) / 500 + number), "video_time": 0.04 * np.arange(frames)}
        with FramesWriter(path, shape=(96, 96, frames), version=f"-{version}", variables=then) as out:
            for start in range(0, frames, 500):
                n = min(500, frames - start)
                coarse = rng.integers(16, 232, (12, 12, n)).repeat(8, 0).repeat(8, 1)
                out.append((coarse + rng.integers(0, 4, (96, 96, n))).astype(np.float32) / 255)
    return paths


def raw(path: Path, nbytes: int) -> float:
    """Seconds to bring so many bytes to the disk."""
    block = np.random.default_rng(0).random(128 * 96 * 96).astype(np.float32).data
    begun = time.perf_counter()
    with path.open("xb", buffering=0) as file:
        for _ in range(nbytes // block.nbytes):
            file.write(block)
        os.fsync(file.fileno())
    took = time.perf_counter() - begun
    path.unlink()
    return took


def timed(paths: list[Path], savepath: Path, case: str) -> tuple[float, int]:
    begun = time.perf_counter()
    done = generate_h5(paths, 96, savepath, 128, Options(**CASES[case]), resume=False)
    took = time.perf_counter() - begun
    for path in (*done.savepaths, *savepath.parent.glob(".*.made")):
        path.unlink()
    return took, done.written


def speed(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    paths = make(folder, arguments.recordings[-1], arguments.frames, arguments.versions[0])
    nbytes = arguments.recordings[-1] * arguments.frames // 128 * 128 * 96 * 96 * 4
    rounds = []
    for _ in range(arguments.rounds):
        disk = raw(folder / "raw.bin", nbytes)
        took = {case: timed(paths, folder / "train", case) for case in ("plain", "mix")}
        rounds.append(
            {
                "disk MB/s": nbytes / disk / 1e6,
                "plain MB/s": nbytes / took["plain"][0] / 1e6,
                "plain of the disk's rate": disk / took["plain"][0],
                "plain frames/s": took["plain"][1] / took["plain"][0],
                "mix frames/s": took["mix"][1] / took["mix"][0],
            }
        )
        print("  ".join(f"{name} {value:.4g}" for name, value in rounds[-1].items()), file=sys.stderr)
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def memory(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    found = {}
    for version in arguments.versions:
        paths = make(folder, max(arguments.recordings), arguments.frames, version)
        for count in arguments.recordings:
            for case, options in CASES.items():
                words = [sys.executable, "-c", CHILD, ROOT, folder / "train", repr(options), *paths[:count]]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                found[f"{version} {count} recordings {case}, MB resident"] = (
                    int(re.findall(r"\d+", done.stdout)[0]) / 1e3
                )
        for path in paths:
            path.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, nargs="+", default=[6])
    parser.add_argument("--frames", type=int, default=7500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--versions", nargs="+", choices=("v6", "v7", "v7.3"), default=["v6"])
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default where temporary files go")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = (memory if arguments.memory else speed)(Path(folder), arguments)
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        limit = next((f"  (at least {v:g})" for key, v in LIMITS.items() if key == name), "")
        print(f"{name:50} {value:10.4g}{limit or ('  (at most 1000)' if 'resident' in name else '')}")


if __name__ == "__main__":
    main()
