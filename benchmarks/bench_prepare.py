"""The speed and memory of preparing recordings, compared with decoding alone.

    python benchmarks/bench_prepare.py [--frames 1500] [--rounds 5] [--scales 3 6] [--memory]

A synthetic recording of 1080 x 720 (RECOLA's size, as far as is known), H.264. Decoding alone makes every frame an RGB
array and does nothing with it. Preparing makes the 96 x 96 crops of every frame (and of the scales) and writes the
MAT-file. Rounds are paired; ratios are medians of frames a second. ``--memory``: resident memory of preparing, and with
twice the frames.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.faces.boxfiles import read_boxes
from matlab_ports._support.frame_time import frame_time
from matlab_ports.prepare_dataset import prepare_recording
from matlab_ports.videoreader import VideoReader


def recording(folder: Path, frames: int) -> Path:
    make_recordings(SyntheticSettings(out=folder, train=1, dev=0, frames=frames, size=(1080, 720)))
    return folder


def decode(folder: Path) -> None:
    with VideoReader(folder / "recordings_video" / "train_1.mp4") as video:
        for _ in video:
            pass


def prepare(folder: Path, scales: list[int], version: str = "-v6") -> None:
    times = frame_time(folder / "recordings_video_frame_time" / "train_1.csv")
    boxes = read_boxes(folder / "synthetic_face_boxes" / "train_1.csv")
    prepare_recording(
        folder / "recordings_video" / "train_1.mp4",
        times,
        bbox=boxes.bbox,
        bbox_time=boxes.time,
        gsd=np.zeros(len(times)),
        gsd_time=times,
        save={scale: folder / f"{scale}.mat" for scale in scales},
        version=version,
    )


def rate(work: Callable[[], None], frames: int) -> float:
    start = time.perf_counter()
    work()
    return frames / (time.perf_counter() - start)


def compare(folder: Path, scales: list[int], rounds: int) -> None:
    frames = len(frame_time(folder / "recordings_video_frame_time" / "train_1.csv"))
    works: dict[str, Callable[[], None]] = {
        "decoding alone": lambda: decode(folder),
        "HQ": lambda: prepare(folder, [1]),
        f"HQ and {', '.join(f'LR{s}' for s in scales)}": lambda: prepare(folder, [1, *scales]),
        "HQ, -v7": lambda: prepare(folder, [1], "-v7"),
    }
    decode(folder)
    found = [{name: rate(work, frames) for name, work in works.items()} for _ in range(rounds)]
    print(f"{frames} frames of 1080 x 720, frames a second, medians of {rounds} rounds")
    for name in works:
        own = statistics.median(one[name] for one in found)
        ratio = statistics.median(one[name] / one["decoding alone"] for one in found)
        print(f"{name:<24} {own:8.0f} {ratio:6.2f} of decoding")


def memory(folder: Path, scales: list[int]) -> None:
    child = [sys.executable, __file__, "--child", str(folder), "--scales", *map(str, scales)]
    out = subprocess.run(child, capture_output=True, text=True, check=True).stdout
    frames = len(frame_time(folder / "recordings_video_frame_time" / "train_1.csv"))
    print(f"{frames} frames: {out.strip()} MB resident at most")


def main() -> None:
    parser = argparse.ArgumentParser(description="prepare against decoding alone")
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scales", type=int, nargs="+", default=[3, 6])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        prepare(given.child, [1, *given.scales])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        one = recording(Path(folder) / "one", given.frames)
        if not given.memory:
            compare(one, given.scales, given.rounds)
            return
        memory(one, given.scales)
        memory(recording(Path(folder) / "two", 2 * given.frames), given.scales)


if __name__ == "__main__":
    main()
