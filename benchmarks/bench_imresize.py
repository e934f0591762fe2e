"""``imresize`` of a stack of 96 x 96 pictures, against other ports of MATLAB's, in paired runs.

    python benchmarks/bench_imresize.py [--count 512] [--rounds 5] [--fatheral FOLDER]

Compared with what can be imported, nothing is downloaded:

* fatheral/matlab_imresize (github.com/fatheral/matlab_imresize), the port that others copy; FOLDER is a checkout of it,
  or ``imresize.py`` is importable as ``matlab_imresize.imresize``. One picture after the other, as its interface takes
  them, and with pictures in the place of colour channels, in blocks of several sizes ("stacked by");
* ``bicubic_pytorch`` and ``resize_right`` (pip install bicubic-pytorch resize-right).

Every round runs ours and the other one after the other; the ratio is the median of the rounds' ratios. "same bits" is
the share of values equal to ours, in double. A port that is not exact is shown for its speed all the same. (Where
fatheral differs, at 1/3 and other scales that are no power of two, it is it that differs from MATLAB's recordings:
it cubes by two multiplications. At 1/12 it also sums the weights in another order.)
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from matlab_ports import imresize

SIZES = (48, 32, 24, 12, 8, 70, 192)  # of the pictures after resizing: 1/2, 1/3, 1/4, 1/8, 1/12, in between, and 2
BLOCKS = (4, 8, 16, 32)

Port = Callable[[np.ndarray, int], np.ndarray]


def fatheral(module: Any) -> dict[str, Port]:
    """Two ways of using it on a stack."""

    def one_by_one(stack: np.ndarray, size: int) -> np.ndarray:
        return np.array([module.imresize(picture, output_shape=(size, size)) for picture in stack])

    def stacked(block: int) -> Port:
        def port(stack: np.ndarray, size: int) -> np.ndarray:
            out = np.empty((len(stack), size, size))
            for start in range(0, len(stack), block):
                channels_last = np.ascontiguousarray(stack[start : start + block].transpose(1, 2, 0))
                resized = module.imresize(channels_last, output_shape=(size, size))
                out[start : start + block] = resized.transpose(2, 0, 1)
            return out

        return port

    return {"fatheral": one_by_one} | {f"fatheral stacked by {block}": stacked(block) for block in BLOCKS}


def bicubic_pytorch(module: Any) -> dict[str, Port]:
    torch = importlib.import_module("torch")
    return {
        "bicubic_pytorch": lambda stack, size: (
            module.imresize(torch.from_numpy(stack)[:, None], sizes=(size, size)).numpy().squeeze(1)
        )
    }


def resize_right(module: Any) -> dict[str, Port]:
    return {"resize_right": lambda stack, size: module.resize(stack, out_shape=(len(stack), size, size))}


def load(folder: Path | None) -> dict[str, Port]:
    """The ports that are there; says which are not."""
    if folder is not None:
        sys.path.insert(0, str(folder))
    names = {
        "imresize" if folder is not None else "matlab_imresize.imresize": fatheral,
        "bicubic_pytorch.core": bicubic_pytorch,
        "resize_right.resize_right": resize_right,
    }
    ports: dict[str, Port] = {}
    for name, adapt in names.items():
        try:
            ports |= adapt(importlib.import_module(name))
        except ImportError:
            print(f"not compared: {name} cannot be imported")
    return ports


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="imresize of a stack of 96 x 96 pictures")
    parser.add_argument("--count", type=int, default=512, help="pictures in the stack")
    parser.add_argument("--other-count", type=int, default=128, help="pictures of it that the other ports get")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fatheral", type=Path, help="a checkout of fatheral/matlab_imresize")
    given = parser.parse_args()
    ports = load(given.fatheral)
    stack = np.random.default_rng(0).random((given.count, 96, 96))
    part = stack[: given.other_count]
    print(f"{given.count} pictures of 96 x 96, double, bicubic; microseconds per picture, medians of {given.rounds}")
    print(f"{'to':>5} {'port':<24} {'theirs':>9} {'ours':>9} {'ratio':>7}  same bits")
    for size in SIZES:

        def ours(size: int = size) -> np.ndarray:
            return imresize(stack, (size, size), axes=(-2, -1))

        result = ours()[: len(part)]
        if not ports:
            own = statistics.median(seconds(ours) for _ in range(given.rounds)) / len(stack)
            print(f"{size:>5} {'':<24} {'':>9} {own * 1e6:>9.1f}")
        for name, port in ports.items():
            try:
                equal = np.mean(port(part, size) == result)
            except Exception as error:  # noqa: BLE001 (whatever another port cannot do)
                print(f"{size:>5} {name:<24} failed: {type(error).__name__}")
                continue
            pairs = [
                (seconds(ours) / len(stack), seconds(lambda port=port, size=size: port(part, size)) / len(part))
                for _ in range(given.rounds)
            ]
            own, other = (statistics.median(column) * 1e6 for column in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            print(f"{size:>5} {name:<24} {other:>9.1f} {own:>9.1f} {ratio:>6.1f}x  {equal:.4f}", flush=True)


if __name__ == "__main__":
    main()
