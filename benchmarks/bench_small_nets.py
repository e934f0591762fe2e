"""Small nets beside programs that hold the cores: milliseconds a forward pass, with one thread and with two.

    python benchmarks/bench_small_nets.py [--rounds 200] [--busy 2]
    GOMP_SPINCOUNT=300000 python benchmarks/bench_small_nets.py     # as where torch is imported before caffe_compat

A net's passes with one thread and with two are timed in turn, first on the machine as it is, then beside processes that
do nothing but count. Each figure is a median; the last column is the one that matters: how many times longer than with
one thread a pass takes with two, beside busy processes. Two threads wait for each other at the end of every loop they
share, and one that has lost its core is waited for. Passes of up to 2^26 multiply-accumulates run on one thread anyway.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from caffe_compat import CaffeNet, load_net
from caffe_compat.definition.netspec import NetSpec
from caffe_compat.definition.netspec import layers as L
from lq_emotion.prototxt import path

XAVIER = {"weight_filler": {"type": "xavier"}}


def lenet() -> NetSpec:
    """LeNet, on images of 28 x 28."""
    net = NetSpec()
    net.data = L.Input(input_param={"shape": {"dim": [1, 1, 28, 28]}})
    net.conv1 = L.Convolution(net.data, num_output=20, kernel_size=5, **XAVIER)
    net.pool1 = L.Pooling(net.conv1, kernel_size=2, stride=2)
    net.conv2 = L.Convolution(net.pool1, num_output=50, kernel_size=5, **XAVIER)
    net.pool2 = L.Pooling(net.conv2, kernel_size=2, stride=2)
    net.ip1 = L.InnerProduct(net.pool2, num_output=500, **XAVIER)
    net.relu1 = L.ReLU(net.ip1, in_place=True)
    net.ip2 = L.InnerProduct(net.relu1, num_output=10, **XAVIER)
    net.prob = L.Softmax(net.ip2)
    return net


def perceptron() -> NetSpec:
    """784 numbers, two hidden layers of 500, 10 classes."""
    net = NetSpec()
    net.data = L.Input(input_param={"shape": {"dim": [1, 784]}})
    net.ip1 = L.InnerProduct(net.data, num_output=500, **XAVIER)
    net.relu1 = L.ReLU(net.ip1, in_place=True)
    net.ip2 = L.InnerProduct(net.relu1, num_output=500, **XAVIER)
    net.relu2 = L.ReLU(net.ip2, in_place=True)
    net.ip3 = L.InnerProduct(net.relu2, num_output=10, **XAVIER)
    return net


def nets() -> dict[str, CaffeNet]:
    """The nets timed, by name."""
    joint = path("experiments/network/model_1F_CNN+D_vlqr.prototxt")
    return {
        "LeNet": load_net(lenet().to_proto()),
        "perceptron": load_net(perceptron().to_proto()),
        "CNN+D vlqr": load_net(joint, input_shapes={"data": (1, 1, 48, 48)}),
    }


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that hold a core each."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield


def medians(net: CaffeNet, batch: int, rounds: int) -> dict[int, float]:
    """Milliseconds of a pass by number of threads, timed in turn."""
    import torch  # after caffe_compat, which tells OpenMP how to wait

    data = torch.randn(batch, *net.caffe.shapes["data"][1:])
    times: dict[int, list[float]] = {1: [], 2: []}
    with torch.no_grad():
        for _ in range(rounds):
            for threads, seen in times.items():
                torch.set_num_threads(threads)
                start = time.perf_counter()
                net(data)
                seen.append(1e3 * (time.perf_counter() - start))
    return {threads: statistics.median(seen) for threads, seen in times.items()}


def main() -> None:
    """Print a line for each net and batch size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2, help="processes that hold the cores (default 2)")
    args = parser.parse_args()
    columns = "  ".join(f"{name:>10}" for name in ("1 thread", "2 threads", "1, busy", "2, busy", "ratio busy"))
    print(f"{'net':<12} {'batch':>5}  {columns}")
    for name, net in nets().items():
        for batch in (1, 16, 64):
            alone = medians(net, batch, args.rounds)
            with busy(args.busy):
                beside = medians(net, batch, args.rounds)
            figures = (*alone.values(), *beside.values(), beside[2] / beside[1])
            print(f"{name:<12} {batch:>5}  " + "  ".join(f"{figure:10.2f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
