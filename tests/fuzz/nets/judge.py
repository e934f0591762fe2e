"""A random net on the compiled path, compared with torch's modules and with float64."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from unittest.mock import patch

import torch
import torch.nn.functional as F

from caffe_compat.build import operators
from caffe_compat.build.executor import Executor, Hooks
from caffe_compat.build.net import CaffeNet, build_net
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.text import parse_text
from caffe_compat.graph.graph import LayerNode
from caffe_compat.kernels.fast import library, program
from caffe_compat.runtime import threads as runtime_threads
from caffe_compat.schema import caffe_pb2 as pb
from tests.fuzz.nets.draw import draw
from tests.nets import build_graph

Tensor = torch.Tensor
Tensors = Mapping[str, Tensor]

ROUNDED = 2e-6
"""Error of a layer in float32, of its largest value, as in tests/kernels/test_fast.py; those of a net's layers add up."""
TIMES_TORCH = 16
"""How many times the error of torch's modules may come on top: where a difference of large values loses digits, or a
small variance divides, no float32 computation is better. torch's batch statistics alone are 7 times less exact where
channels lie innermost."""
ILL = 1e-4
"""Error of torch's modules beyond which a result has no digits to compare: the gradient to a bias before a BatchNorm is
0 but for rounding."""
SMALLEST = 1e-9
"""Largest value of a result below which it is 0 but for rounding in float64, too."""
KINK = 1e-5
"""Distance to a kink, of the blob's largest value, that rounding may cross (ROUNDED for five layers). Beyond it a
gradient is another one, and right: images that come so near are not used for gradients."""
CANDIDATES = 8
"""Images that are drawn. Up to three are used for gradients; all say how large a blob's values are, since a single one
may be near 0 by chance."""


@dataclass
class Verdict:
    """Results of comparisons.

    Attributes
    ----------
    counts : how many nets, outputs and gradients were compared, and how many were not, by reason.
    worst : the largest errors of the compiled path, each with its seed.
    problems : by seed.
    """

    counts: Counter[str] = field(default_factory=Counter)
    worst: dict[str, tuple[float, int]] = field(default_factory=dict)
    problems: dict[int, list[str]] = field(default_factory=dict)

    def compare(self, seed: int, what: str, name: str, results: Sequence[Tensor], scale: Tensor, layers: int) -> None:
        """Compare a result of the compiled path, of torch's modules and of float64.

        Errors are relative to the largest value of it or of `scale`; `layers` is how many rounded one after another.
        """
        fast, plain, exact = (x.detach().double() for x in results)
        if fast.shape != plain.shape:
            self.add(seed, f"{what} {name} has shape {tuple(fast.shape)}, with torch's modules {tuple(plain.shape)}")
            return
        if not exact.numel():
            self.counts[f"{what}, empty"] += 1
            return
        largest = max(float(x.detach().abs().max()) for x in (exact, scale)) or 1.0
        error, torchs = (float((x - exact).abs().max()) / largest for x in (fast, plain))
        if not torchs <= ILL or largest < SMALLEST:
            self.counts[f"{what}, ill-conditioned"] += 1
            return
        self.counts[what] += 1
        bound = ROUNDED * layers + TIMES_TORCH * torchs
        for key, value in ((what, error), (f"{what}, of its bound", error / bound)):
            self.worst[key] = max(self.worst.get(key, (0.0, 0)), (value, seed))
        if not error <= bound:
            text = f"{what} {name} is off by {error:.1e} of the largest value, allowed are {bound:.1e}"
            self.add(seed, f"{text}; torch's modules are off by {torchs:.1e}")

    def add(self, seed: int, problem: str) -> None:
        """Add a problem of a seed's net."""
        self.problems.setdefault(seed, []).append(problem)

    def report(self) -> str:
        """Return the problems, each net with its definition and the command that repeats it."""
        return "\n\n".join(
            "\n".join([f"python -m tests.fuzz.nets {seed} {seed + 1}", *problems, draw(seed)])
            for seed, problems in self.problems.items()
        )


@dataclass(frozen=True)
class Machine:
    """What a net runs on: floats of a vector, threads, and whether small nets, too, use tiles and threads."""

    lanes: int
    threads: int
    eager: bool

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Build and run nets for it in this block."""
        lengths = tuple(lanes for lanes in library.vector_lengths() if lanes <= self.lanes)
        askers = [module for name, module in sys.modules.items() if name.startswith("caffe_compat.")]
        before = torch.get_num_threads()
        with ExitStack() as stack:
            for module in askers:
                if "vector_lengths" in vars(module):
                    stack.enter_context(patch.object(module, "vector_lengths", lambda: lengths))
            if self.eager:
                stack.enter_context(patch.object(program, "SMALL", 0))
                stack.enter_context(patch.object(runtime_threads, "SMALL", 0))
                stack.enter_context(patch.object(operators, "FEWEST_TILES", 1))
            torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)


def judge(seed: int, verdict: Verdict) -> None:
    """Compare outputs and gradients of a seed's net."""
    rng, message = Random(f"machine {seed}"), parse_text(draw(seed), pb.NetParameter)
    machine = Machine(rng.choice(library.vector_lengths()), rng.randint(1, 4), rng.random() < 0.5)
    images = rng.randint(0, 7)
    verdict.counts["nets"] += 1
    with machine.in_use(), patch.object(library, "run", wraps=library.run) as run:
        for phase, compare, drawn in (
            ("TEST", _compare_outputs, images),
            ("TRAIN", _compare_gradients, images % 3 + 1),
        ):
            nets = _load(seed, message, phase, verdict)
            try:
                if nets:
                    compare(seed, nets, drawn, verdict)
            except Exception:  # noqa: BLE001  (whatever it is, the seed and the definition belong to it)
                verdict.add(seed, traceback.format_exc())
            verdict.counts[f"nets on compiled code in {phase}"] += run.called
            run.reset_mock()


def _load(seed: int, message: pb.NetParameter, phase: str, verdict: Verdict) -> list[CaffeNet]:
    """Return the net compiled, on torch's modules, and on those in float64; none where both paths refuse it."""
    nets, refusals = [], []
    for fast in (True, False, False):
        try:
            graph = nets[0].caffe if nets else build_graph(message, phase=phase)
            nets.append(build_net(graph, fast=fast, seed=seed))
        except CaffeCompatError as error:
            refusals.append(str(error))
    if len(set(refusals)) == 1 and not nets:
        verdict.counts["nets refused"] += phase == "TEST"
    elif refusals:
        verdict.add(seed, f"refused by one path alone: {refusals}")
    else:
        nets[2].double()
    return [] if refusals else nets


def _draw_inputs(net: CaffeNet, images: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {blob: (images, *net.caffe.shapes[blob][1:]) for blob in net.inputs}
    return {blob: torch.randn(shape, generator=generator) for blob, shape in shapes.items()}


def _double(x: Tensors) -> dict[str, Tensor]:
    return {blob: value.double() for blob, value in x.items()}


def _compare_outputs(seed: int, nets: Sequence[CaffeNet], images: int, verdict: Verdict) -> None:
    """Compare outputs in TEST, after a pass of another batch that leaves NaN wherever it writes."""
    fast, _, exact = nets
    x, results = _draw_inputs(fast, images, seed), []
    with torch.no_grad():
        scales = exact.forward_dict(_double(_draw_inputs(fast, CANDIDATES, seed)))
        fast.forward_dict({blob: v * torch.nan for blob, v in _draw_inputs(fast, images % 3 + 1, seed).items()})
        for net in nets:
            try:
                results.append(net.forward_dict(_double(x) if net is exact else x))
            except RuntimeError:
                if images:
                    raise
    if len(results) == len(nets):
        for blob in results[0]:
            same = [result[blob] for result in results]
            verdict.compare(seed, "output", blob, same, scales[blob], len(fast.caffe.nodes))
    elif results:
        verdict.add(seed, "an empty batch is refused by one path alone")
    else:
        verdict.counts["empty batches refused"] += 1


def _compare_gradients(seed: int, nets: Sequence[CaffeNet], images: int, verdict: Verdict) -> None:
    """Compare outputs and gradients in TRAIN, for images that come near to no kink."""
    fast, plain, exact = nets
    if any(node.spec.param.type == "Dropout" for node in fast.caffe.nodes):
        verdict.counts["nets that drop at random"] += 1
        return
    x, kinks, passed = _draw_inputs(fast, CANDIDATES, seed), _Kinks(), exact.returns
    state = {name: value.clone() for name, value in exact.state_dict().items()}
    with torch.no_grad():
        scales = Executor(exact, passed, kinks).forward(_double(x))
    exact.load_state_dict(state)  # without the statistics of that pass
    chosen = kinks.distant(CANDIDATES)[:images]
    x, kinks = {blob: value[chosen] for blob, value in x.items()}, _Kinks()
    if not len(chosen):
        verdict.counts["nets near a kink"] += 1
        return
    results = [_differentiate(net, net.forward_dict, x, seed) for net in (fast, plain)]
    results.append(_differentiate(exact, Executor(exact, passed, kinks).forward, _double(x), seed, 2))
    if len(kinks.distant(len(chosen))) < len(chosen):
        verdict.counts["nets near a kink"] += 1
        return
    for blob in scales:
        same = [outputs[blob] for outputs, *_ in results]
        verdict.compare(seed, "training output", blob, same, scales[blob], len(fast.caffe.nodes))
    for name in results[0][1]:
        same = [gradients[name] for _, gradients, *_ in results]
        verdict.compare(seed, "gradient", name, same, results[-1][2][name], 2 * len(fast.caffe.nodes))


def _differentiate(
    net: CaffeNet, forward: Callable[[Tensors], Tensors], x: Tensors, seed: int, times: int = 1
) -> list[Tensors]:
    """Return the outputs, then the gradients to inputs and parameters for random gradients of the outputs."""
    inputs = {blob: value.clone().requires_grad_() for blob, value in x.items()}
    results, sources = [forward(inputs)], inputs | dict(net.named_parameters())
    outputs, generator = [*results[0].values()], torch.Generator().manual_seed(seed)
    for _ in range(times):
        seeds = [torch.randn(y.shape, generator=generator).to(y.dtype) for y in outputs]
        gradients = torch.autograd.grad(outputs, [*sources.values()], seeds, retain_graph=True, allow_unused=True)
        results.append({name: g for name, g in zip(sources, gradients, strict=True) if g is not None})
    return results


class _Kinks(Hooks):
    """Notes how near each image comes to a kink, where a derivative jumps."""

    def __init__(self) -> None:
        self._distances: list[Tensor] = []

    def after(self, node: LayerNode, bottoms: Sequence[Tensor], tops: Sequence[Tensor]) -> None:
        """Note the distances of a layer's values, of the largest."""
        bottoms = [x.detach() for x in bottoms]
        gaps = _gaps(node.spec.param, bottoms)
        if gaps is not None:
            gaps = gaps.where(gaps != 0, torch.inf)  # a ReLU's zeros, and pairs of them, are no matter of rounding
            largest = max(float(x.abs().max()) for x in bottoms) or 1.0
            self._distances.append(gaps.flatten(1).amin(1) / largest)

    def distant(self, images: int) -> Tensor:
        """Return the indices of the images that come near to none."""
        nearest = torch.stack([torch.full((images,), torch.inf), *self._distances]).amin(0)
        return nearest.gt(KINK).nonzero().flatten()


def _gaps(param: pb.LayerParameter, bottoms: Sequence[Tensor]) -> Tensor | None:
    """Return how far values (N, ...) are from a kink, or None for a layer that has none."""
    kinks = dict.fromkeys(("ReLU", "PReLU", "ELU", "AbsVal"), (0.0,)) | {"ReLU6": (0, 6)}
    kinks["Clip"] = (param.clip_param.min, param.clip_param.max)
    pool = param.pooling_param
    if param.type in kinks:
        return torch.stack([(bottoms[0] - kink).abs() for kink in kinks[param.type]], 1)
    if param.type == "Eltwise" and param.eltwise_param.operation == pb.EltwiseParameter.MAX:
        values = torch.stack([*bottoms], -1)
    elif param.type == "Pooling" and pool.pool == pb.PoolingParameter.MAX:
        values = bottoms[0].flatten(2)
        if not pool.global_pooling:
            pad = (pool.pad_w, pool.pad_w + pool.stride_w, pool.pad_h, pool.pad_h + pool.stride_h)
            lines = F.pad(bottoms[0], pad, value=-1e30).unfold(2, pool.kernel_h, pool.stride_h)
            values = lines.unfold(3, pool.kernel_w, pool.stride_w).flatten(4)
    else:
        return None
    if values.shape[-1] == 1:
        return None
    first, second = values.topk(2).values.unbind(-1)
    return first - second
