"""The cost for a pass of seeing that no weight, module or hook has changed since the last one, in per cent of the pass.

    python benchmarks/bench_watch.py [--rounds 200] [--threads 1 2] [--published ../shared/reference/published]

At batch 1: the check with all weights guarded, with the net's largest weight hashed, and with every weight hashed
(somebody holds a `state_dict()` from before the first pass); then a write of every weight after a pass, which copies
it, beside one before any pass. The caches are as a pass leaves them. Figures are medians.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peer_nets import draw_weights, sources

from caffe_compat import CaffeNet, load_net
from caffe_compat.build.inference import inference_net
from caffe_compat.definition.prepare import prepare

NETS = ("CNN+D", "mini-XCEPTION", "MobileNet v1", "ResNet-50", "VGG-16")


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def load(name: str, published: Path) -> tuple[CaffeNet, torch.Tensor]:
    source = sources(published)[name]
    definition = source.definition if isinstance(source.definition, Path) else source.definition()
    message = inference_net(prepare(definition).message)
    message.layer[0].input_param.ClearField("shape")
    message.layer[0].input_param.shape.add(dim=(1, *source.image))
    net = load_net(message, source.weights)
    if source.weights is None:
        draw_weights(net)
    return net, torch.rand(1, *source.image)


def share(net: CaffeNet, x: torch.Tensor, rounds: int) -> tuple[float, float]:
    """Return the seconds of a check that follows a pass, and those of a pass."""
    net(x)
    fast = net._fast_net()
    passes, checks = [], []
    for _ in range(rounds):
        passes.append(seconds(lambda: net(x)))
        checks.append(seconds(lambda: fast.ready((x,))))
    assert fast.ready((x,))
    return statistics.median(checks), statistics.median(passes)


def write(net: CaffeNet) -> float:
    return seconds(lambda: torch._foreach_mul_([p.data for p in net.parameters()], 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    published = Path(__file__).resolve().parents[2] / "shared/reference/published"
    parser.add_argument("--published", type=Path, default=published)
    args = parser.parse_args()
    print("| net | threads | pass, ms | guarded | largest hashed | all hashed | write after a pass, ms | else |")
    print("|---|---|---|---|---|---|---|---|")
    available = sources(args.published)
    for name, threads in itertools.product((name for name in NETS if name in available), args.threads):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            net, x = load(name, args.published)
            write(net)
            plain = statistics.median(write(net) for _ in range(5))
            cells = []
            check, whole = share(net, x, args.rounds)
            cells.append(f"{check * 1e6:.1f} µs, {100 * check / whole:.2f} %")
            copied = statistics.median((net(x), write(net))[1] for _ in range(5))
            largest = max((p for p in net.parameters() if p.dim() == 4), key=torch.Tensor.numel)
            held: list[object] = [largest.detach()]
            for _ in range(2):
                write(net)  # so that nothing is guarded while something else holds it
                check, _ = share(net, x, args.rounds)
                cells.append(f"{100 * check / whole:.2f} %")
                held.append(net.state_dict())
        print(
            f"| {name} | {threads} | {whole * 1e3:.3f} | {' | '.join(cells)} "
            f"| {copied * 1e3:.2f} | {plain * 1e3:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
