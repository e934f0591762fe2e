"""Fine-tuning ResNet-50 at 224 x 224: seconds and memory of an iteration of both stages of the second paper.

    python benchmarks/bench_tuning.py [--iterations 5] [--threads 2] [--batch 8] [--iter-size 4]

VGGFace2's form with random weights and two dense layers, 512 and 8, on pool5/7x7_s1. Stage 1 trains these on features
computed before, which are made once; stage 2 trains everything. Each case runs in a process of its own: the median of
its iterations after the first, its processor time, and the most that was resident in it (VmHWM).
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from caffe_compat import load_net
from caffe_compat.formats.files import read_net, write_text
from caffe_compat.solver import Solver
from lq_emotion import prototxt
from lq_emotion.nets.blocks import hdf5_data
from lq_emotion.nets.head import HeadedNet, base_of, features_input, headed_training_net, sgd, with_head

BLOB = "pool5/7x7_s1"
CASES = ("idle", "features", "stage 1", "stage 2")


def headed(net: object) -> HeadedNet:
    """Return a net with the head that is measured."""
    return with_head(net, blob=BLOB, hidden=512, classes=8)


def solver(net: HeadedNet, blob: str, shape: tuple[int, ...], batch: int, iter_size: int, folder: Path) -> Solver:
    """Return a solver of a net on random data."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "data.h5", "w") as file:
        file[blob] = rng.standard_normal((2 * batch, *shape), np.float32)
        file["label"] = rng.integers(0, 8, 2 * batch).astype(np.float32)
    (folder / "list.txt").write_text(f"{folder / 'data.h5'}\n")
    data = [hdf5_data(str(folder / "list.txt"), batch, tops=(blob, "label"))]
    write_text(headed_training_net(net, data, frozen=False), folder / "net.prototxt")
    param = sgd(
        net=str(folder / "net.prototxt"), snapshot_prefix=str(folder / "snap"), base_lr=1e-5, max_iter=10**6,
        snapshot=0, display=0, random_seed=0, iter_size=iter_size,
    )  # fmt: skip
    return Solver(param)


def iteration(case: str, args: argparse.Namespace, folder: Path) -> Callable[[], object]:
    """Return what one iteration of a case does."""
    net = read_net(prototxt.path("known/vggface2-resnet50.prototxt"))
    if case == "features":
        base = load_net(base_of(net, BLOB), seed=0, input_shapes={"data": (args.batch, 3, 224, 224)})
        images = torch.rand(args.batch, 3, 224, 224)

        def forward() -> None:
            with torch.inference_mode():
                base(images)

        return forward
    if case == "stage 1":
        images = args.batch * args.iter_size
        learned = solver(headed(features_input(net, BLOB)), BLOB, (2048, 1, 1), images, 1, folder)
    else:
        learned = solver(headed(net), "data", (3, 224, 224), args.batch, args.iter_size, folder)
    return lambda: learned.step(1)


def measure(case: str, args: argparse.Namespace) -> None:
    """Print the figures of a case."""
    times = [0.0]
    processor = 0.0
    if case != "idle":
        with tempfile.TemporaryDirectory() as name:
            run = iteration(case, args, Path(name))
            run()
            times, processor = [], time.process_time()
            for _ in range(args.iterations):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            processor = (time.process_time() - processor) / args.iterations
    resident = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert resident
    print(f"{statistics.median(times):9.4f} s {processor:9.4f} s {int(resident[1]) / 1024:7.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="images of a batch of stage 2, and of features")
    parser.add_argument("--iter-size", type=int, default=4, help="batches of an iteration of stage 2")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.case:
        measure(args.case, args)
        return
    images = args.batch * args.iter_size
    print(f"torch {torch.__version__}, {args.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"features: {args.batch} images; stage 1: {images} of them; stage 2: {args.iter_size} x {args.batch} images")
    print("            iteration   processor  resident")
    for case in CASES:
        out = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--case", case], check=True, capture_output=True, text=True
        ).stdout
        print(f"{case:10s}{out.splitlines()[-1]}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
