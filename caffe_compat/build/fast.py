"""Run a net for inference by programs in C: layers fused, convolutions by tiles, buffers reused.

Layers state by `Layer.function` what they compute; those that are not among the functions of
:mod:`caffe_compat.layers.functions` run as torch modules between the programs. Results differ from torch's own kernels
by rounding alone.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn

from caffe_compat.build.executor import is_computed
from caffe_compat.build.watch import Form, Watch
from caffe_compat.graph.costs import node_work
from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.kernels.fast.program import Compiled, Finish, Program, by_tiles
from caffe_compat.layers.functions import (
    Add,
    Convolve,
    Flatten,
    Function,
    InnerProduct,
    Join,
    Keep,
    Pool,
    Rectify,
    ScaleChannels,
    Window,
)
from caffe_compat.runtime.tensors import is_plain
from caffe_compat.runtime.threads import threads_for

Tensor = torch.Tensor
Shapes = tuple[tuple[int, ...], ...]

KEPT = 4
"""Sizes of input for which a segment's program is kept."""


@dataclass(frozen=True)
class _Call:
    """A layer's call: values by number, each made once, whatever blob it is written to.

    It costs `cost` multiply-accumulates for each value of its first bottom.
    """

    node: LayerNode
    function: Function | None
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    cost: float


@dataclass
class _Segment:
    """Calls that one program makes, its inputs and results, and the programs made so far, by shapes of the inputs.

    With each program the results that have two axes.
    """

    calls: list[_Call]
    inputs: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    programs: dict[Shapes, tuple[Compiled, set[int]] | None] = field(default_factory=dict)


class FastNet:
    """Runs a net's forward pass in TEST, and returns the blobs `returns`.

    The net's module may change in any way: the programs follow, or `suits` is false. `is_as_built` tells whether the
    module's ``forward`` is still the one built from the graph.
    """

    def __init__(self, graph: NetGraph, returns: Sequence[str], is_as_built: Callable[[fx.GraphModule], bool]) -> None:
        values: dict[str, int] = {}
        calls = list(_calls(graph, values))
        self._is_as_built = is_as_built
        self._inputs = tuple(range(len(graph.inputs)))
        self._returns = tuple(values[blob] for blob in returns)
        self._parts = _parts(calls, self._returns)
        self._segments = [part for part in self._parts if isinstance(part, _Segment)]
        lowered = [call for segment in self._segments for call in segment.calls]
        with torch.device("meta"):
            self._forms = {call.node.key: Form.of(call.node.layer.module(call.node.spec)) for call in lowered}
        self._others = [part.node.key for part in self._parts if isinstance(part, _Call)]
        self._read = {key for segment in self._segments for key in _read_in_place(segment)}
        self._modules: dict[str, nn.Module] = {}
        self._watch: Watch | None = None
        self._suits = False
        self._lock = threading.Lock()  # of the watch and the programs

    @property
    def is_useful(self) -> bool:
        """Tell whether some part of the net runs as a program."""
        return bool(self._segments) and bool(vector_lengths())

    def ready(self, inputs: tuple[Any, ...]) -> bool:
        """Tell whether these inputs can go through the programs now, nothing having changed since :meth:`suits`."""
        return self._suits and self._watch is not None and self._watch.ready(inputs)

    def suits(self, net: fx.GraphModule, inputs: Sequence[object]) -> bool:
        """Tell whether these inputs can go through the programs, with the modules and weights as they are.

        The caller makes sure that nothing observes the pass.
        """
        if torch.is_grad_enabled() or net.training or not self.is_useful:
            return False
        if len(inputs) != len(self._inputs) or not all(map(is_plain, inputs)):
            return False
        with self._lock:
            if self._watch is None or not self._watch.holds():
                self._follow(net)
            return self._suits

    def _follow(self, net: fx.GraphModule) -> None:
        """Look at the net anew; forget the programs unless they are right still."""
        self._suits = suits = False  # until the programs are those of the new watch: other threads may ask
        keys = (*self._forms, *self._others)
        self._modules = {key: module for key in keys if (module := net._modules.get(key)) is not None}
        lowered = {key: self._modules[key] for key in self._forms if key in self._modules}
        if self._is_as_built(net) and len(self._modules) == len(keys):
            suits = all(form.fits(self._modules[key]) for key, form in self._forms.items())
        copied: list[Tensor] = []
        read: list[Tensor] = []
        for key, module in lowered.items() if suits else ():
            for name, value in (*module._parameters.items(), *module._buffers.items()):
                in_place = name == "weight" and key in self._read and value is not None and value.is_contiguous()
                if value is not None:
                    (read if in_place else copied).append(value)
        watch = Watch(net, len(self._inputs), [*lowered.values()], copied, read, self._watch)
        if not suits or self._watch is None or not watch.follows(self._watch):
            for segment in self._segments:
                segment.programs.clear()
        self._watch, self._suits = watch, suits

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the blobs of `returns`, given the net's inputs in order."""
        values = dict(zip(self._inputs, inputs, strict=True))
        for part in self._parts:
            if isinstance(part, _Segment):
                self._run_segment(part, values)
            else:
                self._run_module(part, values)
        return tuple(values[index] for index in self._returns)

    def _run_module(self, call: _Call, values: dict[int, Tensor]) -> None:
        bottoms = [values[index] for index in call.bottoms]
        with threads_for(call.cost * bottoms[0].numel() if bottoms else 0):
            result = self._modules[call.node.key](*bottoms)
        values.update(zip(call.tops, result if isinstance(result, tuple) else (result,), strict=True))

    def _run_segment(self, segment: _Segment, values: dict[int, Tensor]) -> None:
        inputs = [values[index].contiguous() for index in segment.inputs]
        shapes = tuple(tuple(x.shape[1:]) for x in inputs)
        with self._lock:
            if shapes not in segment.programs:
                while len(segment.programs) >= KEPT:
                    segment.programs.pop(next(iter(segment.programs)))
                segment.programs[shapes] = _Lowering(segment, self._modules, shapes).compile()
            program = segment.programs[shapes]
        if program is None or len({len(x) for x in inputs}) > 1:
            for call in segment.calls:
                self._run_module(call, values)
        else:
            compiled, flat = program
            for index, result in zip(segment.results, compiled(*inputs), strict=True):
                values[index] = result.flatten(1) if index in flat else result


def _calls(graph: NetGraph, values: dict[str, int]) -> Iterator[_Call]:
    """Yield the calls of a net; `values` tells at any time which value a blob has."""
    values |= {blob: index for index, blob in enumerate(graph.inputs)}
    count = len(values)
    for node in graph.nodes:
        if node.is_split:
            values |= dict.fromkeys(node.tops, values[node.bottoms[0]])
        if is_computed(node):
            bottoms = tuple(values[blob] for blob in node.bottoms)
            tops = tuple(range(count, count + len(node.tops)))
            count += len(tops)
            values |= dict(zip(node.tops, tops, strict=True))
            function = node.layer.function(node.spec) if node.layer.states("function") else None
            values_of_bottom = max(sum(math.prod(graph.shapes[blob]) for blob in node.bottoms[:1]), 1)
            yield _Call(node, function, bottoms, tops, node_work(graph, node) / values_of_bottom)


def _parts(calls: Sequence[_Call], returns: Sequence[int]) -> list[_Call | _Segment]:
    """Return the calls in order, those that a program can make gathered into as few segments as there can be.

    A call is `depth` modules away from the inputs; calls of one depth that have functions make one segment.
    """
    depth: dict[int, int] = {}
    made_by_module: set[int] = set()
    levels: dict[int, tuple[list[_Call], list[_Call]]] = {}
    for call in calls:
        is_module = call.function is None
        steps = (depth.get(i, 0) + (not is_module and i in made_by_module) for i in call.bottoms)
        level = max(steps, default=0)
        levels.setdefault(level, ([], []))[is_module].append(call)
        depth |= dict.fromkeys(call.tops, level)
        made_by_module |= set(call.tops) if is_module else set()
    parts: list[_Call | _Segment] = []
    for level in sorted(levels):
        functions, modules = levels[level]
        if any(isinstance(call.function, Convolve) for call in functions):
            parts.append(_Segment(functions))
        else:
            parts += functions
        parts += modules
    readers = Counter(returns)
    for part in parts:
        readers.update(i for call in _calls_of(part) for i in call.bottoms)
    for part in parts:
        if isinstance(part, _Segment):
            own = Counter(i for call in part.calls for i in call.bottoms)
            made = [i for call in part.calls for i in call.tops]
            part.inputs = tuple(dict.fromkeys(i for i in own if i not in set(made)))
            part.results = tuple(i for i in made if readers[i] > own[i])
    return parts


def _read_in_place(segment: _Segment) -> Iterator[str]:
    """Yield the inner products whose weights a program reads in place, because no scale is folded into them."""
    scaled: set[int] = set()
    for call in reversed(segment.calls):
        if isinstance(call.function, ScaleChannels) or (isinstance(call.function, Keep) and call.tops[0] in scaled):
            scaled.add(call.bottoms[0])
        elif isinstance(call.function, InnerProduct) and call.tops[0] not in scaled:
            yield call.node.key


def _calls_of(part: _Call | _Segment) -> list[_Call]:
    return part.calls if isinstance(part, _Segment) else [part]


@dataclass(frozen=True)
class _Sum:
    """A convolution or inner product that is not in the program yet: what comes after it may be fused with it."""

    source: int
    weight: Tensor
    function: Convolve | InnerProduct
    finish: Finish

    @property
    def is_linear(self) -> bool:
        """Tell whether the sums are still those of the weights."""
        return self.finish.residual < 0 and not self.is_rectified and not self.finish.pooled

    @property
    def is_rectified(self) -> bool:
        """Tell whether a ReLU or PReLU is fused already."""
        return self.finish.relu or self.finish.slope is not None

    def scaled(self, scale: Tensor, shift: Tensor | None) -> _Sum:
        """Return it with a scale and a shift of its outputs folded into its weights."""
        bias = self.finish.bias
        bias = shift if bias is None else bias.double() * scale + (0 if shift is None else shift)
        weight = self.weight.double() * scale.view(-1, *[1] * (self.weight.dim() - 1))
        return replace(self, weight=weight, finish=replace(self.finish, bias=bias))


class _Lowering:
    """Turns the calls of a segment into a program for inputs of some shapes."""

    def __init__(self, segment: _Segment, modules: Mapping[str, nn.Module], shapes: Shapes) -> None:
        self._segment, self._modules, self._shapes = segment, modules, shapes
        self._program = Program(vector_lengths()[0])
        self._maps: dict[int, int] = {}
        self._sums: dict[int, _Sum] = {}
        self._flat: set[int] = set()
        self._readers = Counter(i for call in segment.calls for i in call.bottoms)
        self._readers.update(segment.results)

    def compile(self) -> tuple[Compiled, set[int]] | None:
        """Return the program and the values of two axes, or None where a layer has no program at this size."""
        for index, shape in zip(self._segment.inputs, self._shapes, strict=True):
            if len(shape) not in {1, 3} or 0 in shape:
                return None
            channels, height, width = (*shape, 1, 1)[:3]
            self._maps[index] = self._program.load(channels, height, width)
            self._flat |= {index} if len(shape) == 1 else set()
        for call in self._segment.calls:
            if not self._add(call, call.tops[0]):
                return None
            flat = isinstance(call.function, Flatten | InnerProduct) or not self._flat.isdisjoint(call.bottoms)
            self._flat |= set(call.tops) if flat else set()
        for index in self._segment.results:
            self._program.store(self._map(index))
        return (self._program.compile(), self._flat) if self._program.fits() else None

    def _map(self, index: int) -> int:
        """Return the map of a value, a convolution that waits for what comes after it included."""
        if index in self._sums:
            it = self._sums.pop(index)
            if isinstance(it.function, Convolve):
                window, groups = it.function.window, it.function.groups
                self._maps[index] = self._program.convolution(it.source, it.weight, window, groups, it.finish)
            else:
                self._maps[index] = self._program.inner_product(it.source, it.weight, it.finish)
        return self._maps[index]

    def _waiting(self, index: int) -> _Sum | None:
        """Return the convolution that makes a value, if nothing else reads the value."""
        return self._sums.get(index) if self._readers[index] == 1 else None

    def _replace(self, index: int, top: int, it: _Sum) -> None:
        del self._sums[index]
        self._sums[top] = it

    def _add(self, call: _Call, top: int) -> bool:
        """Add a call to the program; tell whether that was possible."""
        module, bottom = self._modules[call.node.key], call.bottoms[0]
        match call.function:
            case Convolve() as function:
                return self._convolve(call, module, function)
            case InnerProduct() as function:
                return self._multiply(bottom, top, module, function)
            case Flatten():
                self._maps[top] = self._program.flatten(self._map(bottom))
            case ScaleChannels(values):
                self._scale(bottom, top, *values(module))
            case Rectify(slope):
                self._rectify(bottom, top, slope(module))
            case Pool() as function:
                return self._pool(bottom, top, function)
            case Add():
                self._sum(call.bottoms, top)
            case Join():
                return self._join(call.bottoms, top)
            case Keep():
                if (it := self._waiting(bottom)) is not None:
                    self._replace(bottom, top, it)
                else:
                    self._maps[top] = self._map(bottom)
            case None:
                raise AssertionError
        return True

    def _convolve(self, call: _Call, module: nn.Module, function: Convolve) -> bool:
        weight, bias = module.weight, module.bias
        assert isinstance(weight, Tensor)
        source = self._map(call.bottoms[0])
        channels, *size = self._program.shape(source)
        if channels != weight.shape[1] * function.groups or min(function.window.output((size[0], size[1]))) < 1:
            return False
        if not self._program.can_group(weight, function.groups):
            return False
        self._sums[call.tops[0]] = _Sum(source, weight, function, Finish(bias if isinstance(bias, Tensor) else None))
        return True

    def _multiply(self, bottom: int, top: int, module: nn.Module, function: InnerProduct) -> bool:
        weight, bias = module.weight, module.bias
        assert isinstance(weight, Tensor)
        source = self._map(bottom)
        if math.prod(self._program.shape(source)) != weight.shape[1]:
            return False
        self._sums[top] = _Sum(source, weight, function, Finish(bias if isinstance(bias, Tensor) else None))
        return True

    def _scale(self, bottom: int, top: int, scale: Tensor, shift: Tensor | None) -> None:
        it = self._waiting(bottom)
        if it is not None and it.is_linear:
            self._replace(bottom, top, it.scaled(scale, shift))
        else:
            function = Convolve(Window(), len(scale))
            self._sums[top] = _Sum(self._map(bottom), scale[:, None, None, None], function, Finish(shift))

    def _rectify(self, bottom: int, top: int, slope: Tensor | float) -> None:
        it = self._waiting(bottom)
        fused = it is not None and not it.is_rectified and not it.finish.pooled
        source = -1 if fused else self._map(bottom)
        channels = len(it.weight) if it is not None and fused else self._program.shape(source)[0]
        before = it.finish if it is not None and fused else Finish()
        if isinstance(slope, Tensor) or slope != 0:
            after = replace(before, slope=torch.as_tensor(slope).expand(channels))
        else:
            after = replace(before, relu=True)
        if it is not None and fused:
            self._replace(bottom, top, replace(it, finish=after))
        else:
            self._maps[top] = self._program.finish(source, after)

    def _pool(self, bottom: int, top: int, function: Pool) -> bool:
        it, window = self._waiting(bottom), function.window
        if it is not None and window is not None and self._pools_with(it, function, window):
            self._replace(bottom, top, replace(it, finish=replace(it.finish, pooled=window.kernel[0])))
            return True
        source = self._map(bottom)
        _, height, width = self._program.shape(source)
        window, output = window or Window((height, width)), function.output(height, width)
        starts = ((n - 1) * s - p for n, s, p in zip(output, window.stride, window.pad, strict=True))
        if min(output) < 1 or any(start >= size for start, size in zip(starts, (height, width), strict=True)):
            return False
        self._maps[top] = self._program.pooling(source, window, output, average=function.average)
        return True

    def _pools_with(self, it: _Sum, function: Pool, window: Window) -> bool:
        """Tell whether a convolution can pool its lines itself: windows side by side, directly computed."""
        side = window.kernel[0]
        if function.average or it.finish.residual >= 0 or it.finish.pooled:
            return False
        if not isinstance(it.function, Convolve) or it.function.groups > 1:
            return False
        if window.kernel != window.stride or window.kernel != (side, side) or any(window.pad):
            return False
        _, height, width = self._program.shape(it.source)
        size = it.function.window.output((height, width))
        every = function.output(*size) == (-(-size[0] // side), -(-size[1] // side))
        return every and not by_tiles(it.weight, it.function.window, it.function.groups, size)

    def _sum(self, bottoms: Sequence[int], top: int) -> None:
        last = next((i for i in bottoms if self._can_add(i)), None)
        total, *rest = (self._map(i) for i in bottoms if i != last)
        for other in rest:
            total = self._program.finish(total, Finish(residual=other))
        if last is None:
            self._maps[top] = total
        else:
            it = self._sums[last]
            self._replace(last, top, replace(it, finish=replace(it.finish, residual=total)))

    def _can_add(self, index: int) -> bool:
        """Tell whether a value is a convolution that can add the other values of a sum to its own."""
        it = self._waiting(index)
        if it is None or not it.is_linear:
            return False
        return isinstance(it.function, InnerProduct) or it.function.groups in {1, len(it.weight)}

    def _join(self, bottoms: Sequence[int], top: int) -> bool:
        maps = [self._map(i) for i in bottoms]
        if any(self._program.shape(index)[0] % self._program.lanes for index in maps[:-1]):
            return False
        self._maps[top] = self._program.join(maps)
        return True
