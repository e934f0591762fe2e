"""Passes of two Python threads: images a second together, and one thread after the other.

    python benchmarks/bench_threads.py [--rounds 41] [--seconds 0.3]

CNN+D at batch 1 and 16, one net for both threads and a net for each. In every round the threads run the same passes in
turn and together, in alternating order. The ratio is the speed together by the speed in turn: its median over the
rounds, with the interval that holds the median with 95 %. Below 1, a second thread would cost more than it brings.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch

from caffe_compat import CaffeNet, load_net
from lq_emotion.prototxt import path

CNN_D = path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt")


def passes(net: CaffeNet, data: torch.Tensor, count: int) -> Callable[[], None]:
    """Return what runs so many passes."""

    def run() -> None:
        with torch.inference_mode():
            for _ in range(count):
                net(data)

    return run


def seconds(start: Callable[[], object]) -> float:
    """Time a call."""
    begin = time.perf_counter()
    start()
    return time.perf_counter() - begin


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the order statistics between which the median lies with 95 %."""
    ordered, half = sorted(values), 0.98 * math.sqrt(len(values))
    first = max(math.floor(len(ordered) / 2 - half), 0)
    return ordered[first], ordered[len(ordered) - 1 - first]


def compare(nets: Sequence[CaffeNet], batch: int, rounds: int, target: float) -> str:
    """Time the passes of a thread for each net; return the line for the table."""
    data = torch.randn(batch, *nets[0].caffe.shapes[nets[0].caffe.inputs[0]][1:])
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        threads = first, second
        one = passes(nets[0], data, 10)
        first.submit(one).result()
        count = max(math.ceil(10 * target / seconds(lambda: first.submit(one).result())), 1)
        runs = [passes(net, data, count) for net in nets]

        def together() -> None:
            wait([thread.submit(run) for thread, run in zip(threads, runs, strict=True)])

        def in_turn() -> None:
            for thread, run in zip(threads, runs, strict=True):
                thread.submit(run).result()

        together(), in_turn()
        times: dict[Callable[[], None], list[float]] = {together: [], in_turn: []}
        for index in range(rounds):
            for way in (together, in_turn) if index % 2 else (in_turn, together):
                times[way].append(seconds(way))
    images = 2 * count * batch
    speeds = [images / statistics.median(times[way]) for way in (in_turn, together)]
    ratios = [turn / both for turn, both in zip(times[in_turn], times[together], strict=True)]
    low, high = interval(ratios)
    return f"{speeds[0]:10.0f}  {speeds[1]:10.0f}  {statistics.median(ratios):6.3f}  {low:.3f} to {high:.3f}"


def main() -> None:
    """Print a line for each batch size, for one net and for two."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--seconds", type=float, default=0.3, help="of a thread's passes in a round (default 0.3)")
    args = parser.parse_args()
    one, other = (load_net(CNN_D).eval() for _ in range(2))
    columns = f"{'in turn':>10}  {'together':>10}  {'ratio':>6}"
    print(f"{torch.get_num_threads()} threads of torch, images a second\n{'net':<9}{'batch':>5}  {columns}")
    for name, nets in {"one net": (one, one), "two nets": (one, other)}.items():
        for batch in (1, 16):
            print(f"{name:<9}{batch:>5}  {compare(nets, batch, args.rounds, args.seconds)}", flush=True)


if __name__ == "__main__":
    main()
