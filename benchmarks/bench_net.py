"""Speed of the authors' CNN+D against what the machine's own matrix product allows, and against hand-written torch.

    python benchmarks/bench_net.py [--rounds 7] [--threads 2] [--device cpu] [--no-keep-memory]

Every figure is the median of ratios measured in pairs: the matrix product (sgemm, 2048 x 2048) is timed right before
and right after each pass, so that what else the machine does weighs on both. Forward at batch 128 counts 157 GFLOP,
one SGD iteration 471 GFLOP. The hand-written nets have torch's default layout and the same weights.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat import load_net
from caffe_compat.formats.files import read_net, read_solver
from caffe_compat.runtime.memory import keep_freed_memory
from caffe_compat.solver import Solver
from lq_emotion.prototxt import path

DEPLOY = path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt")
TRAIN = path("experiments/network/model_1F_CNN+D.prototxt")
SOLVER = path("experiments/solver/solver_1F_CNN+D.prototxt")
FORWARD_FLOP, ITERATION_FLOP = 157.06e9, 471.2e9
SIDE = 2048


class Hand(nn.Module):
    """CNN+D as one would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 64, 5), nn.Conv2d(64, 128, 5), nn.Conv2d(128, 256, 5)
        self.fc4, self.fc5 = nn.Linear(6400, 300), nn.Linear(300, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu(self.conv3(x)), 4, ceil_mode=True)
        return self.fc5(F.dropout(F.relu(self.fc4(x.flatten(1))), 0.5, self.training))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def rate(device: torch.device) -> Callable[[], float]:
    a, b = torch.randn(SIDE, SIDE, device=device), torch.randn(SIDE, SIDE, device=device)
    repeat = 3 if device.type == "cpu" else 50
    return lambda: repeat * 2 * SIDE**3 / seconds(lambda: [a @ b for _ in range(repeat)], device)


def against_sgemm(
    run: Callable[[], object], flop: float, rounds: int, device: torch.device
) -> tuple[float, float, float]:
    """Return the median ratio to the time `flop` takes at the sgemm rate, the median seconds, and the median rate."""
    sgemm, ratios, times, rates = rate(device), [], [], []
    run()
    for _ in range(rounds):
        before = sgemm()
        took = seconds(run, device)
        here = (before + sgemm()) / 2
        ratios.append(took * here / flop)
        times.append(took)
        rates.append(here)
    return statistics.median(ratios), statistics.median(times), statistics.median(rates)


def paired(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, device: torch.device
) -> tuple[float, float]:
    """Return the median of ours/theirs in alternating order, and our median seconds."""
    ratios, times = [], []
    for i in range(rounds + 2):
        pair = {}
        for name in ("ours", "theirs") if i % 2 else ("theirs", "ours"):
            pair[name] = seconds(ours if name == "ours" else theirs, device)
        if i >= 2:
            ratios.append(pair["ours"] / pair["theirs"])
            times.append(pair["ours"])
    return statistics.median(ratios), statistics.median(times)


def solver(folder: Path, batch: int, device: str) -> Solver:
    """The shipped solver on random pictures."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "train.h5", "w") as file:
        file["data"] = rng.random((2 * batch, 1, 96, 96), np.float32)
        file["label"] = rng.random((2 * batch, 1), np.float32)
    (folder / "train.txt").write_text(f"{folder / 'train.h5'}\n")
    param = read_solver(SOLVER)
    net = read_net(TRAIN)
    for layer in net.layer:
        if layer.type == "HDF5Data":
            layer.hdf5_data_param.source = str(folder / "train.txt")
            layer.hdf5_data_param.batch_size = batch
    param.ClearField("net")
    param.net_param.CopyFrom(net)
    for name in ("test_iter", "test_interval", "snapshot", "display"):
        param.ClearField(name)
    param.snapshot_after_train = False
    return Solver(param, device=device)


def hand_step(hand: Hand, batch: int, device: torch.device) -> Callable[[], None]:
    x, y = torch.rand(batch, 1, 96, 96, device=device), torch.rand(batch, 1, device=device)
    sgd = torch.optim.SGD(hand.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        sgd.zero_grad(set_to_none=True)
        loss = F.mse_loss(hand(x), y) / 2
        loss.backward()
        sgd.step()
        loss.item()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-keep-memory", dest="keep_memory", action="store_false", help="leave malloc as it is")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kept = args.keep_memory and keep_freed_memory()
    device = torch.device(args.device)
    net = load_net(DEPLOY, seed=0).to(device)
    exact = load_net(DEPLOY, seed=0, exact=True).to(device)
    hand = Hand().to(device).eval()
    hand.load_state_dict(net.state_dict())
    x128, x1 = torch.rand(128, 1, 96, 96, device=device), torch.rand(1, 1, 96, 96, device=device)
    print(
        f"torch {torch.__version__}, {args.threads} threads, {device}; "
        f"freed memory {'kept' if kept else 'returned'}; medians of {args.rounds}"
    )
    with torch.inference_mode():
        for name, module in (
            ("CNN+D forward, batch 128", net),
            ("  hand-written torch", hand),
            ("  exact=True", exact),
        ):
            ratio, took, here = against_sgemm(lambda m=module: m(x128), FORWARD_FLOP, args.rounds, device)
            print(f"{name:36s} {took * 1e3:8.1f} ms   {ratio:5.2f} x sgemm time ({here / 1e9:.0f} GFLOP/s)")
        ratio, took = paired(lambda: net(x1), lambda: hand(x1), 30 * args.rounds, device)
        print(f"{'CNN+D forward, batch 1':36s} {took * 1e3:8.2f} ms   {ratio:5.2f} x hand-written torch")
    with tempfile.TemporaryDirectory() as folder:
        train = solver(Path(folder), 128, args.device)
        hand.train()
        by_hand = hand_step(hand, 128, device)
        for name, run in (("CNN+D SGD iteration, batch 128", lambda: train.step(1)), ("  hand-written torch", by_hand)):
            ratio, took, here = against_sgemm(run, ITERATION_FLOP, args.rounds, device)
            print(f"{name:36s} {took * 1e3:8.1f} ms   {ratio:5.2f} x sgemm time ({here / 1e9:.0f} GFLOP/s)")
    with tempfile.TemporaryDirectory() as folder:
        single = solver(Path(folder), 1, args.device)
        ratio, took = paired(lambda: single.step(1), hand_step(hand, 1, device), 10 * args.rounds, device)
        print(f"{'CNN+D SGD iteration, batch 1':36s} {took * 1e3:8.2f} ms   {ratio:5.2f} x hand-written torch")


if __name__ == "__main__":
    main()
