"""The speed at which synthetic recordings are made on one core.

    python benchmarks/bench_make.py [--frames 250] [--rounds 5] [--size 480x480]

Drawing and H.264 apart, and a whole recording with all its files. Frames per second of processor time, medians of
rounds that take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lq_emotion.datasets.synthetic import package
from lq_emotion.datasets.synthetic.face import Pose, Scene
from lq_emotion.datasets.synthetic.folder import write_mp4
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.datasets.synthetic.signals import simulate_signals


def rate(work: Callable[[], object], frames: int) -> float:
    start = time.process_time()
    work()
    return frames / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", default="480x480")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    cv2.setNumThreads(1)
    rng, ticks = np.random.default_rng(0), np.arange(args.frames)
    signals = simulate_signals(rng, args.frames)
    poses = [Pose(*place) for place in signals.pose.tolist()]
    scene = Scene(make_person(rng), rng, (height, width))
    frames = list(package._frames(scene, signals, poses, ticks, None))
    with tempfile.TemporaryDirectory() as folder:
        video, tree = Path(folder) / "a.mp4", Path(folder) / "tree"
        settings = package.SyntheticSettings(
            out=tree, train=1, dev=0, frames=args.frames, size=(width, height), fresh=True
        )
        works: dict[str, Callable[[], object]] = {
            "drawing": lambda: list(package._frames(scene, signals, poses, ticks, None)),
            "H.264": lambda: write_mp4(video, iter(frames), ticks.tolist(), Fraction(package.RATE)),
            "recording": lambda: package.make_recordings(settings, str),
        }
        rates: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(args.rounds):
            for name, work in works.items():
                rates[name].append(rate(work, args.frames))
        print(f"{args.frames} frames of {width} x {height}, frames a second, medians of {args.rounds} rounds")
        for name, found in rates.items():
            print(f"{name:12}{statistics.median(found):6.0f}   (best {max(found):.0f})")
        seconds = args.frames / package.RATE
        print(f"{video.stat().st_size * 8 / seconds / 1e6:.2f} Mbit/s")


if __name__ == "__main__":
    main()
