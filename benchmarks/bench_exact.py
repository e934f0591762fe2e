"""Time of `exact=True`, Caffe's order of summation, against torch's own kernels and against sgemm.

    python benchmarks/bench_exact.py [--rounds 5] [--threads 2] [--batch 128] [--without-numba]

Every figure is the median of ratios measured in pairs: the matrix product (sgemm, 2048 x 2048) and torch's own
convolution are timed right before and right after, so that what else the machine does weighs on all. The layers are
those of the authors' CNN+D; a net's forward pass counts 1.227 GFLOP a picture.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--without-numba", action="store_true")
args = parser.parse_args()
if args.without_numba:
    sys.modules["numba"] = None

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from caffe_compat import load_net  # noqa: E402
from caffe_compat.kernels import convolution  # noqa: E402
from lq_emotion.prototxt import path  # noqa: E402

LAYERS = {"conv1": (1, 96, 64), "conv2": (64, 46, 128), "conv3": (128, 21, 256)}  # channels, side, outputs; kernel 5
SIDE = 2048
GFLOP = 157.06 / 128
WINDOW = ((1, 1), (1, 1), 1)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(name: str, flop: float, ours: Callable[[], object], torchs: Callable[[], object]) -> None:
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    ours()
    against_sgemm, against_torch = [], []
    for _ in range(args.rounds):
        product, other = seconds(lambda: a @ b), seconds(torchs)
        took = seconds(ours)
        product, other = (product + seconds(lambda: a @ b)) / 2, (other + seconds(torchs)) / 2
        against_sgemm.append(took / (product * flop / (2 * SIDE**3)))
        against_torch.append(took / other)
    print(f"{name:24} {statistics.median(against_sgemm):8.2f} {statistics.median(against_torch):8.2f}", flush=True)


torch.set_num_threads(args.threads)
print(f"{args.threads} threads, batch {args.batch}: times sgemm's and times torch's own")


def layer(name: str, channels: int, side: int, outputs: int) -> None:
    x, weight = torch.randn(args.batch, channels, side, side), torch.randn(outputs, channels, 5, 5)
    top = F.conv2d(x, weight)
    flop, gradient = 2 * top.numel() * channels * 25, torch.randn_like(top)

    def backward(*mask: bool) -> object:
        return torch.ops.aten.convolution_backward(
            gradient, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, mask
        )

    def of(function: Callable[..., object]) -> Callable[[], object]:
        return lambda: function(x, weight, gradient, *WINDOW)

    compare(f"{name} forward", flop, lambda: convolution.forward(x, weight, *WINDOW), lambda: F.conv2d(x, weight))
    compare(f"{name} weight gradient", flop, of(convolution.weight_gradient), lambda: backward(False, True, False))
    if channels > 1:  # data needs no gradient
        compare(f"{name} bottom gradient", flop, of(convolution.bottom_gradient), lambda: backward(True, False, False))


for name, sizes in LAYERS.items():
    layer(name, *sizes)
exact, plain = (
    load_net(path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt"), seed=0, exact=e) for e in (True, False)
)
faces = torch.rand(args.batch, 1, 96, 96)
with torch.inference_mode():
    compare("CNN+D forward", args.batch * GFLOP * 1e9, lambda: exact(faces), lambda: plain(faces))
