"""Random definitions: valid nets whose layers meet where the compiled path joins them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

Shape = tuple[int, ...]
"""Of a blob without its first axis, the batch."""

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 20, 24, 31, 32, 33, 48)
"""Part of a vector of 4, 8 or 16 floats, whole vectors, and some more."""
WHOLE = (8, 16, 16, 24, 32, 32, 48, 48)
"""Mostly whole vectors, which some kernels and joints demand."""
MOST_VALUES = 1 << 15
"""Of a blob of one image."""
MOST_WORK = 1 << 24
"""Multiply-accumulates of a net for one image."""
FILLERS = "weight_filler { type: 'msra' } bias_filler { type: 'gaussian' std: 0.5 }"
SHAPE_KEPT = {
    "ReLU": ("", "", "", "relu_param { negative_slope: 0.2 }"),
    "PReLU": ("prelu_param { filler { type: 'uniform' min: -0.2 max: 0.6 } }", "prelu_param { channel_shared: true }"),
    "ELU": ("", "elu_param { alpha: 0.5 }"),
    "Sigmoid": ("",),
    "TanH": ("",),
    "AbsVal": ("",),
    "BNLL": ("",),
    "Swish": ("", "swish_param { beta: 0.7 }"),
    "Power": ("power_param { scale: -0.7 shift: 0.3 }", "power_param { power: 2 scale: 0.4 }"),
    "Clip": ("clip_param { min: -1 max: 1.5 }",),
    "Dropout": ("",),
}
"""Neurons -> what their messages may be."""


@dataclass
class Draft:
    """A net that grows layer by layer.

    Attributes
    ----------
    shapes : blob -> its shape, of those that layers may read.
    layers : the text of each layer so far.
    read : the blobs that layers read as they are.
    work : multiply-accumulates for an image.
    channels : what a convolution's are drawn from.
    goes_on : whether the next layer reads what the last made.
    """

    rng: Random
    channels: tuple[int, ...] = CHANNELS
    shapes: dict[str, Shape] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    work: int = 0
    goes_on: bool = False

    def add(self, kind: str, bottoms: list[str], *shapes: Shape, fields: str = "", in_place: bool = False) -> bool:
        """Add a layer that makes blobs of some shapes, if they are not empty and not too large."""
        name = f"{kind.lower()}{len(self.layers)}"
        in_place = in_place and bottoms[0] not in self.read  # as Caffe demands
        if any(min(shape) < 1 or math.prod(shape) > MOST_VALUES for shape in shapes):
            return False
        tops = [name] if len(shapes) == 1 else [f"{name}_{i}" for i in range(len(shapes))]
        tops = bottoms[:1] if in_place else tops
        ends = "".join([*(f"bottom: '{b}' " for b in bottoms), *(f"top: '{t}' " for t in tops)])
        self.layers.append(f"layer {{ name: '{name}' type: '{kind}' {ends}{fields} }}")
        self.read |= set() if in_place else set(bottoms)
        for top, shape in zip(tops, shapes, strict=True):
            self.shapes.pop(top, None)
            self.shapes[top] = shape
        return True

    def bottom(self, axes: int = 0) -> str | None:
        """Return a blob of so many axes (without the batch), mostly one of the last."""
        blobs = [blob for blob, shape in self.shapes.items() if axes in (0, len(shape))]
        index = 0 if self.goes_on else min(int(self.rng.expovariate(1.2)), len(blobs) - 1)
        return blobs[-1 - index] if blobs else None

    def others(self, fits: Callable[[Shape], bool]) -> list[str]:
        """Return up to three blobs whose shapes fit, one of them perhaps twice."""
        blobs = [blob for blob, shape in self.shapes.items() if fits(shape)]
        return self.rng.choices(blobs, k=self.rng.choice((1, 1, 2, 3))) if blobs else []

    def spend(self, work: int) -> bool:
        """Tell whether the net may have a layer of so many multiply-accumulates, and count them."""
        allowed = self.work + work <= MOST_WORK
        self.work += work if allowed else 0
        return allowed


def _windows(shape: Shape, kernel: Shape, stride: Shape, pad: Shape, dilation: int = 1, *, ceil: bool = False) -> Shape:
    high_wide = []
    for n, k, s, p in zip(shape[1:], kernel, stride, pad, strict=True):
        room = n + 2 * p - dilation * (k - 1) - 1
        count = (math.ceil(room / s) if ceil else room // s) + 1
        high_wide.append(count - (ceil and p > 0 and (count - 1) * s >= n + p))
    return tuple(high_wide)


def _pairs(name: str, pair: Shape) -> str:
    return f"{name}_h: {pair[0]} {name}_w: {pair[1]} "


def convolution(draft: Draft, kind: str = "Convolution") -> bool:
    rng, bottom = draft.rng, draft.bottom(3)
    if bottom is None:
        return False
    channels, *size = draft.shapes[bottom]
    group, kernel, stride, dilation = 1, (rng.choice((3, 3, 5, 7)),) * 2, (1, 1), 1
    pad = (kernel[0] // 2,) * 2
    if rng.random() < 0.6:  # not for tiles
        group = rng.choices((1, channels, rng.choice((2, 2, 3, 4))), (10, 2, 5))[0]
        group = group if channels % group == 0 else 1
        kernel = (rng.choice((1, 1, 3, 3, 2)), kernel[0]) if rng.random() < 0.1 else (rng.choice((1, 1, 3, 2, 5)),) * 2
        stride, dilation = (rng.choice((1, 1, 2, 3)),) * 2, rng.choice((1, 1, 1, 2, 3))
        pad = (rng.choice((kernel[0] // 2, 0, 1)), rng.choice((kernel[1] // 2, 0, 2)))
    if size[1] == 1 and pad[1] > dilation * (kernel[1] - 1):
        dilation = 1  # torch 2.13 itself crashes: github.com/pytorch/pytorch/issues/195394
    outputs = group * rng.choice((1, 1, 2)) if group == channels else rng.choice(draft.channels)
    outputs = -(-outputs // group) * group
    if kind == "Convolution":
        top = _windows((channels, *size), kernel, stride, pad, dilation)
    else:
        top = tuple(
            (n - 1) * s + dilation * (k - 1) + 1 - 2 * p for n, k, s, p in zip(size, kernel, stride, pad, strict=True)
        )
    each = channels * outputs // group * math.prod(kernel)
    if min(top) < 1 or not draft.spend(each * math.prod(top if kind == "Convolution" else size)):
        return False
    fields = f"num_output: {outputs} group: {group} dilation: {dilation} bias_term: {str(rng.random() < 0.8).lower()} "
    fields += _pairs("kernel", kernel) + _pairs("stride", stride) + _pairs("pad", pad) + FILLERS
    if not draft.add(kind, [bottom], (outputs, *top), fields=f"convolution_param {{ {fields} }}"):
        return False
    draft.goes_on = True
    for follow in rng.choices((relu, pooling, scale, batch_norm, eltwise), (4, 3, 1, 1, 1), k=rng.choice((0, 1, 2, 3))):
        follow(draft)
    draft.goes_on = False
    return True


def deconvolution(draft: Draft) -> bool:
    return draft.rng.random() < 0.3 and convolution(draft, "Deconvolution")


def inner_product(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom()
    outputs, shape = rng.choice(draft.channels), draft.shapes[bottom]
    axis = rng.choice((1, 1, 1, 1, len(shape)))
    if not draft.spend(outputs * math.prod(shape)):
        return False
    fields = f"num_output: {outputs} axis: {axis} bias_term: {str(rng.random() < 0.8).lower()} "
    fields += f"transpose: {str(rng.random() < 0.2).lower()} {FILLERS}"
    return draft.add(
        "InnerProduct", [bottom], (*shape[: axis - 1], outputs), fields=f"inner_product_param {{ {fields} }}"
    )


def pooling(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom(3)
    if bottom is None:
        return False
    shape, joins = draft.shapes[bottom], draft.goes_on and rng.random() < 0.6
    kind = "MAX" if joins else rng.choice(("MAX", "AVE"))
    if not joins and rng.random() < 0.1:
        fields = f"pooling_param {{ pool: {kind} global_pooling: true }}"
        return draft.add("Pooling", [bottom], (shape[0], 1, 1), fields=fields)
    kernel = (rng.choice((2, 2, 3, 4)),) * 2 if rng.random() < 0.9 else (rng.choice((1, 2, 3)), 2)
    stride = kernel if joins or rng.random() < 0.3 else (rng.choice((1, 2, 3)),) * 2
    pad = (0 if joins else rng.choice((0, 0, 0, min(kernel) // 2, min(kernel) - 1)),) * 2
    ceil = joins or rng.random() < 0.8
    top = _windows(shape, kernel, stride, pad, ceil=ceil)
    fields = f"pool: {kind} round_mode: {'CEIL' if ceil else 'FLOOR'} "
    fields += _pairs("kernel", kernel) + _pairs("stride", stride) + _pairs("pad", pad)
    return draft.add("Pooling", [bottom], (shape[0], *top), fields=f"pooling_param {{ {fields} }}")


def neuron(draft: Draft, kind: str = "") -> bool:
    rng, bottom = draft.rng, draft.bottom()
    kind = kind or rng.choice([*SHAPE_KEPT])
    fields = rng.choice(SHAPE_KEPT[kind])
    return draft.add(
        kind, [bottom], draft.shapes[bottom], fields=fields, in_place=kind != "AbsVal" and rng.random() < 0.5
    )


def relu(draft: Draft) -> bool:
    return neuron(draft, draft.rng.choice(("ReLU", "ReLU", "PReLU")))


def scale(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom()
    filler = "filler { type: 'uniform' min: -1.5 max: 1.5 }"
    if rng.random() < 0.2:
        message, kind = f"bias_param {{ {filler} }}", "Bias"
    else:
        bias = f"bias_term: {str(rng.random() < 0.6).lower()} bias_filler {{ type: 'gaussian' std: 0.5 }}"
        message, kind = f"scale_param {{ {filler} {bias} }}", "Scale"
    if rng.random() < 0.15:  # the values are another blob
        others = draft.others(lambda shape: shape == draft.shapes[bottom][: len(shape)])
        gates = [blob for blob in others if blob != bottom][:1]
        fields = f"{kind.lower()}_param {{ axis: 0 }}"
        return bool(gates) and draft.add(kind, [bottom, *gates], draft.shapes[bottom], fields=fields)
    return draft.add(kind, [bottom], draft.shapes[bottom], fields=message, in_place=rng.random() < 0.5)


def batch_norm(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom()
    channels = draft.shapes[bottom][0]
    values = {
        channels: [[rng.uniform(*ends) for _ in range(channels)] for ends in ((-1, 1), (0.5, 3))],
        1: [[rng.choice((1, 2.5))]],
    }
    blobs = [
        f"blobs {{ shape {{ dim: {count} }} {' '.join(f'data: {v:.2f}' for v in row)} }}"
        for count, rows in ((channels, values[channels][:2]), (1, values[1][-1:]))
        for row in rows
    ]
    fixed = rng.choice(("", "use_global_stats: true", "use_global_stats: true", "use_global_stats: false"))
    fields = f"batch_norm_param {{ {fixed} }} {' '.join(blobs)}"
    return draft.add("BatchNorm", [bottom], draft.shapes[bottom], fields=fields, in_place=rng.random() < 0.5)


def normalisation(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom(3)
    if bottom is None:
        return False
    lrn = f"lrn_param {{ local_size: {rng.choice((3, 5))} alpha: 0.3 beta: 0.75 k: 1 "
    kind, fields = rng.choice(
        (
            ("LRN", f"{lrn} }}"),
            ("LRN", f"{lrn} norm_region: WITHIN_CHANNEL }}"),
            ("MVN", f"mvn_param {{ normalize_variance: {rng.choice(('true', 'false'))} across_channels: true }}"),
        )
    )
    return draft.add(kind, [bottom], draft.shapes[bottom], fields=fields)


def softmax(draft: Draft) -> bool:
    bottom = draft.bottom()
    return draft.rng.random() < 0.3 and draft.add("Softmax", [bottom], draft.shapes[bottom])


def eltwise(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom()
    bottoms = [bottom, *draft.others(lambda shape: shape == draft.shapes[bottom])]
    rng.shuffle(bottoms)
    operation = rng.choice(("SUM", "SUM", "SUM", "PROD", "MAX"))
    fields = f"operation: {operation} "
    distinct = len(set(bottoms)) == len(bottoms)
    if operation == "SUM" and rng.random() < 0.3 and distinct:  # else nothing might be left
        fields += " ".join(f"coeff: {rng.choice((1, -1, 0.5))}" for _ in bottoms)
    return (distinct or operation != "MAX") and draft.add(  # else every value would be a tie
        "Eltwise", bottoms, draft.shapes[bottom], fields=f"eltwise_param {{ {fields} }}"
    )


def concat(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom()
    shape = draft.shapes[bottom]
    axis = 0 if rng.random() < 0.85 else rng.randrange(len(shape))
    rest, unit = shape[:axis] + shape[axis + 1 :], rng.choice((1, 1, 4, 8, 16, 16))  # programs join whole vectors
    bottoms = draft.others(lambda s: len(s) == len(shape) and s[:axis] + s[axis + 1 :] == rest and s[axis] % unit == 0)
    bottoms.insert(0 if shape[axis] % unit == 0 else len(bottoms), bottom)  # the last may end with a part of one
    length = sum(draft.shapes[blob][axis] for blob in bottoms)
    fields = f"concat_param {{ axis: {axis + 1} }}"
    return draft.add("Concat", bottoms, (*shape[:axis], length, *shape[axis + 1 :]), fields=fields)


def slice_(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom()
    channels, *rest = draft.shapes[bottom]
    if channels < 2:
        return False
    point = rng.choice([n for n in CHANNELS if n < channels])
    shapes = (point, *rest), (channels - point, *rest)
    return draft.add("Slice", [bottom], *shapes, fields=f"slice_param {{ slice_point: {point} }}")


def split(draft: Draft) -> bool:
    bottom = draft.bottom()
    return draft.rng.random() < 0.3 and draft.add("Split", [bottom], *[draft.shapes[bottom]] * 2)


def reshape(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom()
    shape = draft.shapes[bottom]
    values = math.prod(shape)
    if rng.random() < 0.3:
        return len(shape) > 1 and draft.add("Flatten", [bottom], (values,))
    channels = rng.choice([n for n in (1, *CHANNELS) if values % n == 0])
    high = rng.choice([n for n in range(1, 30) if values // channels % n == 0])
    top = (channels, high, values // channels // high)
    dims = " ".join(f"dim: {n}" for n in (0, *top[:2], -1))
    return draft.add("Reshape", [bottom], top, fields=f"reshape_param {{ shape {{ {dims} }} }}")


def crop(draft: Draft) -> bool:
    bottom = draft.bottom(3)
    if bottom is None:
        return False
    shape = draft.shapes[bottom]
    likes = draft.others(lambda s: len(s) == 3 and s[1] <= shape[1] and s[2] <= shape[2] and s != shape)[:1]
    return bool(likes) and draft.add("Crop", [bottom, *likes], (shape[0], *draft.shapes[likes[0]][1:]))


def tile(draft: Draft) -> bool:
    bottom = draft.bottom()
    axis, (tiles, shape) = (
        draft.rng.randrange(len(draft.shapes[bottom])),
        (draft.rng.choice((2, 3)), [*draft.shapes[bottom]]),
    )
    shape[axis] *= tiles
    return draft.add("Tile", [bottom], tuple(shape), fields=f"tile_param {{ axis: {axis + 1} tiles: {tiles} }}")


def of_forks(draft: Draft) -> bool:
    rng, bottom = draft.rng, draft.bottom(3)
    if bottom is None:
        return False
    channels, high, wide = shape = draft.shapes[bottom]
    kind = rng.choice(("Interp", "ShuffleChannel", "Permute", "ReLU6", "Axpy"))
    if kind == "Interp":
        return draft.add(
            kind, [bottom], (channels, 2 * high - 1, 2 * wide - 1), fields="interp_param { zoom_factor: 2 }"
        )
    if kind == "ShuffleChannel":
        group = rng.choice([g for g in (1, 2, 3, 4) if channels % g == 0])
        return draft.add(kind, [bottom], shape, fields=f"shuffle_channel_param {{ group: {group} }}")
    if kind == "Permute":
        fields = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
        return draft.add(kind, [bottom], (high, wide, channels), fields=fields)
    if kind == "Axpy":
        scales, maps = (draft.others(lambda s, like=like: s == like)[:1] for like in ((channels, 1, 1), shape))
        return bool(scales and maps) and draft.add(kind, [*scales, bottom, *maps], shape)
    return draft.add(kind, [bottom], shape, in_place=rng.random() < 0.5)


STEPS = {
    convolution: 50, deconvolution: 5, inner_product: 6, pooling: 12, relu: 14, neuron: 8, scale: 10, batch_norm: 8,
    normalisation: 3, softmax: 3, eltwise: 14, concat: 12, slice_: 4, split: 3, reshape: 4, crop: 4, tile: 2, of_forks: 6,
}  # fmt: skip
"""What adds layers, and how often it is tried."""


def draw(seed: int) -> str:
    """Return the definition that a seed stands for."""
    rng = Random(seed)
    draft, texts, images = Draft(rng, rng.choice((CHANNELS, WHOLE, WHOLE, WHOLE))), [], rng.randint(1, 3)
    for name in ("data", "other")[: rng.choice((1, 1, 2))]:
        ends = rng.choice(((1, 9), (8, 20), (15, 24), (15, 24)))
        size = (rng.randint(*ends), rng.randint(*ends)) if name == "data" or rng.random() < 0.7 else ()
        draft.shapes[name] = (rng.choice(rng.choice((draft.channels, (1, 2, 3, 3, 4)))), *size)
        dims = " ".join(f"dim: {n}" for n in (images, *draft.shapes[name]))
        texts.append(f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ {dims} }} }} }}")
    count = rng.randint(3, 18)
    if rng.random() < 0.7:
        convolution(draft)
    for _ in range(8 * count):
        if len(draft.layers) >= count:
            break
        rng.choices([*STEPS], [*STEPS.values()])[0](draft)
    return "\n".join([*texts, *draft.layers]) + "\n"
