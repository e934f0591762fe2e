"""A converted ResNet-50 against the same network hand-written in torch: forward passes in pairs, medians of ratios.

    python benchmarks/bench_resnet50.py [--net FILE] [--rounds 15] [--batch 1] [--threads 2] [--device cpu]

Without --net the definition is written here in the form converted nets have: convolution without bias, BatchNorm with
stored statistics, Scale with bias, ReLU and Eltwise. The twin has the same weights and the memory layout torch's users
are told to choose for convolutions (channels_last), and the default one; the ratio to the faster counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat import load_net
from caffe_compat.definition.netspec import NetSpec, Top
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from caffe_compat.schema import caffe_pb2 as pb

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
MSRA = {"type": "msra"}


def definition() -> pb.NetParameter:
    """ResNet-50 in Caffe's layers."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [1, 3, 224, 224]})

    def conv(name: str, bottom: Top, outputs: int, kernel: int, stride: int = 1) -> Top:
        pad = kernel // 2
        n[name] = L.Convolution(
            bottom, num_output=outputs, kernel_size=kernel, stride=stride, pad=pad, bias_term=False, weight_filler=MSRA
        )
        n[f"bn_{name}"] = L.BatchNorm(n[name], in_place=True, use_global_stats=True)
        n[f"scale_{name}"] = L.Scale(n[f"bn_{name}"], in_place=True, bias_term=True)
        return n[f"scale_{name}"]

    def relu(name: str, bottom: Top) -> Top:
        n[name] = L.ReLU(bottom, in_place=True)
        return n[name]

    x = relu("conv1_relu", conv("conv1", n.data, 64, 7, 2))
    n.pool1 = x = L.Pooling(x, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    for stage, (blocks, width) in enumerate(STAGES, 2):
        for block in range(blocks):
            at, stride = f"res{stage}{chr(97 + block)}", 2 if block == 0 and stage > 2 else 1
            side = conv(f"{at}_branch1", x, 4 * width, 1, stride) if block == 0 else x
            y = relu(f"{at}_2a_relu", conv(f"{at}_branch2a", x, width, 1, stride))
            y = relu(f"{at}_2b_relu", conv(f"{at}_branch2b", y, width, 3))
            n[at] = L.Eltwise(side, conv(f"{at}_branch2c", y, 4 * width, 1))
            x = relu(f"{at}_relu", n[at])
    n.pool5 = L.Pooling(x, pool=P.Pooling.AVE, kernel_size=7, stride=1)
    n.fc1000 = L.InnerProduct(n.pool5, num_output=1000, weight_filler=MSRA)
    n.prob = L.Softmax(n.fc1000)
    return n.to_proto()


class Norm(nn.Sequential):
    """Convolution and batch normalisation."""

    def __init__(self, channels: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = False) -> None:
        conv = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=bias)
        super().__init__(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A bottleneck; strides stand in its first convolution, as in the authors' Caffe definition."""

    def __init__(self, channels: int, width: int, stride: int, *, first: bool) -> None:
        super().__init__()
        self.side = Norm(channels, 4 * width, 1, stride) if first else nn.Identity()
        self.a, self.b, self.c = Norm(channels, width, 1, stride), Norm(width, width, 3), Norm(width, 4 * width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.b(F.relu(self.a(x), inplace=True)), inplace=True)
        return F.relu(self.side(x) + self.c(y), inplace=True)


class Hand(nn.Module):
    """ResNet-50 as one would write it."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.stem, blocks, channels = Norm(3, 64, 7, 2, bias=bias), [], 64
        for stage, (count, width) in enumerate(STAGES):
            for block in range(count):
                blocks.append(Block(channels, width, 2 if block == 0 and stage else 1, first=block == 0))
                channels = 4 * width
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(2048, 1000)

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """What the softmax takes."""
        x = F.max_pool2d(F.relu(self.stem(x), inplace=True), 3, 2, ceil_mode=True)
        return self.fc(F.avg_pool2d(self.blocks(x), 7, 1).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(x).softmax(1)


def copied(net: nn.Module) -> Hand:
    """Return the hand-written net with the weights of the converted one: both list their layers in one order."""
    params = {slot.key: slot for slot in net.params}
    values = [(slot.layer, slot.index, slot.blob.to_caffe(slot.tensor.detach()).clone()) for slot in params.values()]
    layers: dict[str, list[torch.Tensor]] = {}
    for layer, _, value in values:
        layers.setdefault(layer, []).append(value)
    blobs = list(layers.values())
    hand = Hand(bias=len(blobs[0]) == 2).eval()
    norms = [module for module in hand.modules() if isinstance(module, Norm)]
    with torch.no_grad():
        for module, (conv, stored, scale) in zip(
            norms, zip(*(blobs[i:-1:3] for i in range(3)), strict=True), strict=True
        ):
            for parameter, value in zip(module[0].parameters(), conv, strict=True):
                parameter.copy_(value)
            factor = 0 if float(stored[2]) == 0 else 1 / float(stored[2])
            module[1].running_mean.copy_(stored[0] * factor)
            module[1].running_var.copy_(stored[1] * factor)
            module[1].weight.copy_(scale[0])
            module[1].bias.copy_(scale[1])
        hand.fc.weight.copy_(blobs[-1][0])
        hand.fc.bias.copy_(blobs[-1][1])
    return hand


def statistics_at_one(net: nn.Module, seed: int = 0) -> None:
    """Give every BatchNorm statistics, so that values neither vanish nor overflow on their way."""
    generator = torch.Generator().manual_seed(seed)
    for slot in net.params:
        if slot.blob.buffer:
            value = torch.rand(slot.tensor.shape, generator=generator) * 0.2 + (-0.1 if slot.index == 0 else 0.9)
            slot.tensor.copy_(torch.ones(1) if slot.index == 2 else value)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", help="ResNet-50's own definition")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    shape = (args.batch, 3, 224, 224)
    net = load_net(args.net or definition(), seed=0, input_shapes={"data": shape})
    statistics_at_one(net)
    hand = copied(net).to(device)
    last = copied(net).to(device, memory_format=torch.channels_last)
    net.to(device)
    x = torch.rand(shape, device=device)
    runs = {"converted": lambda: net(x), "by hand": lambda: hand(x), "by hand, channels_last": lambda: last(x)}
    with torch.inference_mode():
        ours = net.every_blob({"data": x})[
            net.caffe.nodes[-1].bottoms[0]
        ]  # a softmax of large scores hides differences
        gap = max(float((ours - theirs).abs().max() / ours.abs().max()) for theirs in (hand.scores(x), last.scores(x)))
        print(f"torch {torch.__version__}, {args.threads} threads, {device}, batch {args.batch}")
        print(f"scores differ by {gap:.1e} of the largest")
        for run in runs.values():
            run()
        times: dict[str, list[float]] = {name: [] for name in runs}
        names = list(runs)
        for i in range(args.rounds):
            for name in names[i % 3 :] + names[: i % 3]:
                times[name].append(seconds(runs[name], device))
    for name in names:
        ratio = statistics.median(a / b for a, b in zip(times["converted"], times[name], strict=True))
        print(f"{name:24s} {statistics.median(times[name]) * 1e3:8.1f} ms   converted / this: {ratio:.3f}")


if __name__ == "__main__":
    main()
