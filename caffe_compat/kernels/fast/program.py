"""Programs of layers: steps are added in the order of the net, then buffers are laid out and weights packed."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F

from caffe_compat.kernels.fast import library, tiles
from caffe_compat.kernels.fast.library import Op
from caffe_compat.kernels.fast.watch import address
from caffe_compat.layers.functions import Pair, Window

Tensor = torch.Tensor
Shape = tuple[int, int, int]
"""Channels, height, width."""

GROUP = 2
"""Images at a time, if there are no more threads: few, so that their maps stay in caches."""
BLOCK = 1 << 20
"""Floats of tiles that are transformed at once: what a core has of the caches to itself,"""
SHARE = 0.6
"""or this many times the transformed weights, which are read for every block of tiles."""
FEWEST = 24
"""Rows that a product of matrices takes while its weights come from memory: fewer take no less time."""
SMALL = 1 << 22
"""Multiply-accumulates of a run on one thread: to wake another would take as long."""
LAYOUTS = 16
"""Numbers of images for which a program's layout is kept."""
MOST = 1 << 30
"""Of each size of a layer, and floats of an image's map: C has 32 bits for them, and for sums of two."""
MOST_TAPS = 1 << 12
"""Of a convolution that is not by tiles, as in program.h."""
MOST_CHANNELS = 1 << 15
"""Of a convolution by tiles, as SUMS_BLOCK in tiles.inc."""
MOST_BORDER = 1 << 24
"""Floats of padding, besides those of the map itself: a window that hardly touches the map needs no such memory."""
ALIGNMENT = 32
"""Every image of a buffer begins at a multiple of this many floats."""


@dataclass(frozen=True)
class Finish:
    """The operations on the sums of a convolution, in this order."""

    bias: Tensor | None = None
    """(K,) or None."""
    residual: int = -1
    """A map to add; -1 for none."""
    relu: bool = False
    """Negative values become 0."""
    slope: Tensor | None = None
    """Factor of negative values, (K,) or None."""
    pooled: int = 0
    """Side of square windows, side by side, of which the largest value remains; 0 for none."""

    def part(self, channels: slice) -> Finish:
        """Return the operations on some of the channels."""
        bias, slope = (None if values is None else values[channels] for values in (self.bias, self.slope))
        return replace(self, bias=bias, slope=slope)


@dataclass
class _Map:
    channels: int
    height: int
    width: int
    border: int = 0
    whole: int = -1  # the map that this one is a part of
    first: int = 0  # channel of it


@dataclass(frozen=True)
class _Step:
    op: Op
    source: int = -1
    target: int = -1
    tensor: int = -1
    window: Window = field(default_factory=Window)
    average: bool = False
    weight: Tensor | None = None
    finish: Finish = field(default_factory=Finish)

    def without_weights(self) -> _Step:
        """Return the step after its layout: without its weights, which are packed."""
        return replace(self, weight=None, finish=replace(self.finish, bias=None, slope=None))


class Program:
    """The steps of some layers for maps of one size; vectors have `lanes` floats (library.vector_lengths).

    Methods add layers and return the number of the map that a layer makes; :meth:`compile` ends that.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._maps: list[_Map] = []
        self._steps: list[_Step] = []
        self._tensors = 0

    def shape(self, index: int) -> Shape:
        """Return channels, height and width of a map."""
        it = self._maps[index]
        return it.channels, it.height, it.width

    def load(self, channels: int, height: int, width: int) -> int:
        """Take the next input of a run as a map."""
        target = self._map(channels, height, width)
        self._steps.append(_Step(Op.LOAD_MAP, target=target, tensor=self._tensors))
        self._tensors += 1
        return target

    def store(self, source: int) -> None:
        """Write a map into the next result of a run; all loads come before."""
        self._steps.append(_Step(Op.STORE_MAP, source, tensor=self._tensors))
        self._tensors += 1

    def convolution(self, source: int, weight: Tensor, window: Window, groups: int, finish: Finish) -> int:
        """Convolve by weights (K, C / groups, h, w)."""
        channels, height, width = self.shape(source)
        outputs, side = len(weight), max(finish.pooled, 1)
        output = window.output((height, width))
        target = self._map(outputs, *(-(-size // side) for size in output))
        op = Op.CONVOLVE_TILES if by_tiles(weight, window, groups, output) else Op.CONVOLVE
        op = Op.CONVOLVE_CHANNELS if 1 < groups == channels == outputs else op
        if op is not Op.CONVOLVE or groups == 1:
            self._steps.append(_Step(op, source, target, window=window, weight=weight, finish=finish))
        else:
            each, inputs = outputs // groups, channels // groups
            for group in range(groups):
                part = slice(group * each, (group + 1) * each)
                ends = self._part(source, group * inputs, inputs), self._part(target, group * each, each)
                self._steps.append(_Step(op, *ends, window=window, weight=weight[part], finish=finish.part(part)))
        if op is not Op.CONVOLVE_TILES:
            root = self._maps[self._root(source)]
            root.border = max(root.border, *window.pad)
        return target

    def flatten(self, source: int) -> int:
        """Make every value of a map a channel, in Caffe's order."""
        channels, height, width = self.shape(source)
        if height * width == 1:
            return source
        target = self._map(channels * height * width, 1, 1)
        self._steps.append(_Step(Op.FLATTEN, source, target))
        return target

    def inner_product(self, source: int, weight: Tensor, finish: Finish) -> int:
        """Multiply all values of a map by weights (K, values)."""
        target = self._map(len(weight), 1, 1)
        self._steps.append(_Step(Op.INNER_PRODUCT, self.flatten(source), target, weight=weight, finish=finish))
        return target

    def can_group(self, weight: Tensor, groups: int) -> bool:
        """Tell whether groups of channels begin where vectors do, or are single channels."""
        outputs, inputs, *_ = weight.shape
        single = inputs == 1 and outputs == groups
        return groups == 1 or single or (outputs // groups % self.lanes == 0 and inputs % self.lanes == 0)

    def pooling(self, source: int, window: Window, output: Pair, *, average: bool) -> int:
        """Take the largest value or the mean of windows; `output` is height and width by Caffe's rounding."""
        target = self._map(self._maps[source].channels, *output)
        self._steps.append(_Step(Op.POOL, source, target, window=window, average=average))
        return target

    def finish(self, source: int, finish: Finish) -> int:
        """Apply to a map the operations on a convolution's sums."""
        target = self._map(*self.shape(source))
        self._steps.append(_Step(Op.ADD, source, target, finish=finish))
        return target

    def join(self, sources: Sequence[int]) -> int:
        """Put the channels of maps after each other; all but the last have whole vectors of channels."""
        _, height, width = self.shape(sources[0])
        target, first = self._map(sum(self._maps[source].channels for source in sources), height, width), 0
        loaded = {step.target for step in self._steps if step.op is Op.LOAD_MAP}
        for source in sources:
            it = self._maps[source]
            if it.whole >= 0 or source in loaded:
                part = self._part(target, first, it.channels)
                self._steps.append(_Step(Op.ADD, source, part))
            else:
                it.whole, it.first = target, first
                self._maps[target].border = max(self._maps[target].border, it.border)
            first += it.channels
        return target

    def fits(self) -> bool:
        """Tell whether the compiled code can run the program: no size is beyond its integers or a sensible memory."""
        return all(map(self._has_room, self._maps)) and all(map(self._can_run, self._steps))

    def compile(self) -> Compiled:
        """Lay out the buffers, pack the weights, and return the compiled program, which must fit."""
        if not self.fits():
            raise ValueError("the program's sizes are beyond the compiled code: ask fits() before")
        return Compiled(self.lanes, self._maps, self._steps)

    def _has_room(self, it: _Map) -> bool:
        floats, padded = (
            (it.height + 2 * border) * (it.width + 2 * border) * (it.channels + self.lanes) for border in (0, it.border)
        )
        return min(it.channels, it.height, it.width) > 0 and padded <= min(MOST, 2 * floats + MOST_BORDER)

    def _can_run(self, step: _Step) -> bool:
        it, pooled = step.window, max(step.finish.pooled, 1)
        if step.source < 0:
            return True
        _, *size = self.shape(step.source)
        windows = zip(size, it.kernel, it.stride, it.pad, it.dilation, strict=True)
        reach = max(n + k * d + s + 2 * p for n, k, s, p, d in windows) + pooled
        line = pooled * it.output((size[0], size[1]))[1] * (self._maps[step.target].channels + self.lanes)
        return max(reach, line) <= MOST and (step.op is not Op.CONVOLVE or _taps(step) <= MOST_TAPS)

    def _map(self, channels: int, height: int, width: int) -> int:
        self._maps.append(_Map(channels, height, width))
        return len(self._maps) - 1

    def _part(self, index: int, first: int, channels: int) -> int:
        it = self._maps[index]
        self._maps.append(_Map(channels, it.height, it.width, whole=index, first=first))
        return len(self._maps) - 1

    def _root(self, index: int) -> int:
        while self._maps[index].whole >= 0:
            index = self._maps[index].whole
        return index


def by_tiles(weight: Tensor, window: Window, groups: int, output: Pair) -> bool:
    """Tell whether a convolution is computed by tiles.

    Stride 1, a square kernel of 3, 5 or 7, and enough channels and tiles: to transform a tile costs about as much as 8
    products a channel, which below 16 channels is not made up for; and the transformed weights are read once for the
    tiles of an image, at the cost of some `FEWEST` tiles.
    """
    square = window.kernel[0] == window.kernel[1] and window.kernel[0] in tiles.SIDES
    if groups > 1 or not square or not window.stride == window.dilation == (1, 1):
        return False
    if min(weight.shape[:2]) < 16 or max(weight.shape[:2]) > MOST_CHANNELS:
        return False
    products = tiles.PRODUCTS[tiles.SIDES[window.kernel[0]]]
    return (
        products * max(tiles.tile_count(window.kernel[0], output), FEWEST)
        < output[0] * output[1] * weight[0, 0].numel()
    )


def tile_floats(side: int, inputs: int, outputs: int, share: float = SHARE) -> int:
    """Return the memory for tiles that are transformed at once; the channels are those of whole vectors."""
    points = side * side
    return max(BLOCK, int(share * points * inputs * outputs), points * (inputs + outputs))


def panels(weights: Tensor, lanes: int) -> Tensor:
    """Return weights (..., rows, columns) as panels of two vectors' columns: (..., panels, rows, 2 lanes)."""
    weights = F.pad(weights, (0, -weights.shape[-1] % (2 * lanes)))
    return weights.reshape(*weights.shape[:-1], -1, 2 * lanes).transpose(-2, -3)


def _taps(step: _Step) -> int:
    """Return no fewer taps than convolve.inc has for a convolution: it divides long ones into parts of 128 and more."""
    height, width = step.window.kernel
    channels = 0 if step.weight is None else step.weight.shape[1]
    return height * width * (1 + channels // 128)


def _side(step: _Step) -> int:
    return tiles.SIDES[step.window.kernel[0]]


class Compiled:
    """A program that can be run."""

    def __init__(self, lanes: int, maps: Sequence[_Map], steps: Sequence[_Step]) -> None:
        self._lanes, self._maps = lanes, maps
        self._stored = [maps[step.source] for step in steps if step.op is Op.STORE_MAP]
        self._steps, self._grouped = self._in_order(steps)
        self._pixels = [self._pixel(index) for index in range(len(maps))]
        self._work = sum(map(self._products, steps))
        self._kept: list[Tensor] = []
        self._c_steps = (library.CStep * len(steps))(*map(self._c_step, self._steps))
        self._steps = [step.without_weights() for step in self._steps]
        self._layouts: dict[tuple[int, int, int], tuple[library.CProgram, object]] = {}
        self._own = threading.local()  # memory of each of Python's threads, which may run at the same time

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Run on contiguous float32 tensors (N, C, H, W), on as many threads as torch has."""
        images = len(inputs[0])
        threads = torch.get_num_threads() if images * self._work > SMALL else 1
        group = max(min(images, max(GROUP, threads)), 1)
        program, _ = self._layout(group, images, threads)
        needed = program.workspace + program.scratch
        workspace: Tensor | None = getattr(self._own, "workspace", None)
        if workspace is None or workspace.numel() < needed:
            self._own.workspace = workspace = library.workspace(needed)
        shapes = [(images, it.channels, it.height, it.width) for it in self._stored]
        results = [torch.empty(shape, dtype=torch.float32) for shape in shapes]
        if images:
            library.run(self._lanes, program, [*inputs, *results], images, group, workspace, threads)
        return results

    def _in_order(self, steps: Sequence[_Step]) -> tuple[list[_Step], int]:
        """Return the steps that take a group of images, then those that take a batch, and how many the former are.

        Inner products and what follows them take a batch: their weights are large, and so read once.
        """
        made: set[int] = set()
        parts: tuple[list[_Step], list[_Step]] = ([], [])
        for step in steps:
            late = step.op is Op.INNER_PRODUCT or not made.isdisjoint(self._roots(step.source, step.finish.residual))
            made |= self._roots(step.target) if late else set()
            parts[late].append(step)
        return parts[0] + parts[1], len(parts[0])

    def _roots(self, *maps: int) -> set[int]:
        return {self._root(index) for index in maps if index >= 0}

    def _whole(self, channels: int) -> int:
        """Return the floats of whole vectors for a number of channels."""
        return -(-channels // self._lanes) * self._lanes

    def _root(self, index: int) -> int:
        while self._maps[index].whole >= 0:
            index = self._maps[index].whole
        return index

    def _pixel(self, index: int) -> int:
        """Return the floats of a map's pixel; no zeros among them where only whole lines of pixels are multiplied."""
        readers = [step for step in self._steps if index in (step.source, step.finish.residual)]
        loaded = any(step.op is Op.LOAD_MAP and step.target == index for step in self._steps)
        lines = all(step.op is Op.CONVOLVE and step.window.dilation[1] == 1 for step in readers)
        part = any(it.whole == index for it in self._maps)
        channels = self._maps[index].channels
        return channels if loaded and lines and not part and channels < self._lanes else self._whole(channels)

    def _first(self, index: int) -> int:
        """Return where in its root's pixel a map begins."""
        it = self._maps[index]
        return 0 if it.whole < 0 else it.first + self._first(it.whole)

    def _products(self, step: _Step) -> int:
        """Return the multiply-accumulates of an image."""
        source = self._maps[step.source]
        height, width = step.window.output((source.height, source.width))
        return 0 if step.weight is None else height * width * step.weight.numel()

    def _is_dense(self, step: _Step) -> bool:
        """Tell whether the taps of a line are next to each other, with nothing between them."""
        channels = self._maps[step.source].channels
        return (
            step.window.dilation[1] == 1 and self._maps[step.source].whole < 0 and self._pixels[step.source] == channels
        )

    def _c_step(self, step: _Step) -> library.CStep:
        it = library.CStep(
            op=step.op,
            source=step.source,
            target=step.target,
            residual=step.finish.residual,
            tensor=step.tensor,
            side=_side(step) if step.op is Op.CONVOLVE_TILES else 0,
            average=step.average,
            dense=self._is_dense(step),
            relu=step.finish.relu,
        )
        it.kernel[:], it.stride[:] = step.window.kernel, step.window.stride
        it.pad[:], it.dilation[:] = step.window.pad, step.window.dilation
        it.pooled[:] = (step.finish.pooled,) * 2
        if step.weight is not None:
            it.weights = self._weights(step, step.weight)
        for name in ("bias", "slope"):
            values: Tensor | None = getattr(step.finish, name)
            if values is not None:
                setattr(it, name, self._keep(F.pad(values, (0, -len(values) % self._lanes))))
        return it

    def _weights(self, step: _Step, weight: Tensor) -> int:
        if step.op is not Op.INNER_PRODUCT:
            return self._keep(self._packed(step, weight))
        weight = weight.detach().float().contiguous()  # the caller's own memory, wherever possible
        self._kept.append(weight)
        return address(weight)

    def _keep(self, values: Tensor) -> int:
        memory = library.workspace(values.numel())
        memory.view(values.shape).copy_(values)
        self._kept.append(memory)
        return memory.data_ptr()

    def _packed(self, step: _Step, weight: Tensor) -> Tensor:
        outputs, inputs, *_ = weight.shape
        if step.op is Op.CONVOLVE_CHANNELS:
            return F.pad(weight[:, 0].permute(1, 2, 0), (0, -outputs % self._lanes))
        if step.op is Op.CONVOLVE_TILES:
            return panels(F.pad(tiles.transform_weights(weight), (0, 0, 0, -inputs % self._lanes)), self._lanes)
        return panels(weight.permute(2, 3, 1, 0).reshape(-1, outputs), self._lanes)

    def _scratch(self, threads: int) -> int:
        """Return the floats that the steps need in addition to the buffers."""
        needed = [ALIGNMENT]
        for step in self._steps:
            if step.op is Op.CONVOLVE_TILES:
                inputs, outputs = (self._whole(self._maps[index].channels) for index in (step.source, step.target))
                needed.append(tile_floats(_side(step), inputs, outputs))
            elif step.finish.pooled:
                source, target = self._maps[step.source], self._maps[step.target]
                wide = step.window.output((source.height, source.width))[1]
                needed.append(threads * step.finish.pooled * wide * self._whole(target.channels))
        return max(needed)

    def _size(self, index: int) -> int:
        it = self._maps[index]
        floats = (it.height + 2 * it.border) * (it.width + 2 * it.border) * self._pixels[index]
        return -(-floats // ALIGNMENT) * ALIGNMENT

    def _layout(self, group: int, images: int, threads: int) -> tuple[library.CProgram, object]:
        """Return the program with buffers for a number of images; maps that are not needed at once share memory."""
        images = images if self._grouped < len(self._steps) else group
        key = group, images, threads
        if key in self._layouts:
            return self._layouts[key]
        if len(self._layouts) >= LAYOUTS:
            self._layouts = {}
        late = set[int]().union(*map(self._used, self._steps[self._grouped :]))
        offsets, workspace = self._offsets(group, images, late)
        buffers = (library.CBuffer * len(self._maps))()
        for index, it in enumerate(self._maps):
            root = self._root(index)
            base, pixel, first = self._maps[root], self._pixels[root], self._first(index)
            size = self._size(root)
            buffers[index] = library.CBuffer(
                offsets[root], size, it.height, it.width, pixel, base.border, first, it.channels, root in late, -1
            )
        addresses = ctypes.addressof(buffers), ctypes.addressof(self._c_steps)
        program = library.CProgram(workspace, self._scratch(threads), len(self._steps), self._grouped, *addresses)
        return self._layouts.setdefault(key, (program, buffers))

    def _used(self, step: _Step) -> set[int]:
        return self._roots(step.source, step.target, step.finish.residual)

    def _offsets(self, group: int, images: int, late: set[int]) -> tuple[dict[int, int], int]:
        """Return where each map begins, and the floats of all; those in `late` have all images."""
        used = [self._used(step) for step in self._steps]
        early = set[int]().union(*used[: self._grouped])
        used[0] |= late & early  # from the first group on
        sizes = {index: self._size(index) * (images if index in late else group) for index in late | early}
        last = {index: i for i, maps in enumerate(used) for index in maps}
        offsets: dict[int, int] = {}
        taken: dict[int, tuple[int, int]] = {}  # begin and end
        for i, maps in enumerate(used):
            for index in maps - offsets.keys():
                begin, size = 0, sizes[index]
                for other, end in sorted(taken.values()):
                    if other - begin >= size:
                        break
                    begin = max(begin, end)
                offsets[index], taken[index] = begin, (begin, begin + size)
            taken = {index: place for index, place in taken.items() if last[index] > i}
        ends = (offsets[index] + sizes[index] for index in offsets)
        return offsets, max(ends, default=0)
