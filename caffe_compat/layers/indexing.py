"""Layers that select by index: ArgMax, BatchReindex, Embed, Filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, BlobDef, Layer, LayerSpec, Shape, count, exactly, register
from caffe_compat.layers.facts import Gradient, OnnxType, OnnxWriter, Reads
from caffe_compat.layers.labels import indices


class ArgMaxModule(nn.Module):
    """The places of the largest values; of equal ones the last comes first, as in Caffe."""

    def __init__(self, axis: int | None, top_k: int, values: bool) -> None:
        super().__init__()
        self.axis, self.top_k, self.values = axis, top_k, values

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return indices (as floats), values, or both."""
        axis = 1 if self.axis is None else self.axis
        rows = x.detach() if self.axis is not None else x.detach().reshape(x.shape[0], count(x.shape[1:]))
        best = rows.flip(axis).sort(dim=axis, descending=True, stable=True)
        values = best.values.narrow(axis, 0, self.top_k)
        index = (rows.shape[axis] - 1 - best.indices.narrow(axis, 0, self.top_k)).to(x.dtype)
        if self.axis is not None:
            return values if self.values else index
        top = torch.stack([index, values], 1) if self.values else index.unsqueeze(1)
        return top.reshape(*top.shape, *[1] * (x.dim() - 3))


@register
class ArgMax(Layer):
    """The `top_k` largest of each row, or along one axis; no gradient (Caffe aborts where one is needed)."""

    type = "ArgMax"
    summary = "indices of the largest values; top_k, out_max_val, axis"
    gradient = Gradient.REFUSED
    is_result = True
    accounts = {"argmax_param": Account(read=("out_max_val", "top_k", "axis"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        shape, axis, top_k = spec.bottoms[0], self._axis(spec), spec.param.argmax_param.top_k
        if not shape:
            yield spec.misfit("the bottom must have at least one axis", shape)
            return
        size = count(shape[1:]) if axis is None else shape[axis]
        if not 1 <= top_k <= size:
            yield spec.fault(f"the bottom has {size} values to choose from", "argmax_param.top_k", f"1 to {size}")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        shape, message, axis = spec.bottoms[0], spec.param.argmax_param, self._axis(spec)
        if axis is not None:
            return ((*shape[:axis], message.top_k, *shape[axis + 1 :]),)
        return ((shape[0], 2 if message.out_max_val else 1, message.top_k, *[1] * (len(shape) - 3)),)

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.argmax_param
        return ArgMaxModule(self._axis(spec), message.top_k, message.out_max_val)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, given = spec.param.argmax_param, self._axis(spec)
        axis = 1 if given is None else given
        rows = onnx.node("Flatten", onnx.bottoms[0]) if given is None else onnx.bottoms[0]
        lengths = onnx.bottom_shapes[0][1:] if given is None else (onnx.bottom_shapes[0][axis],)
        last = count(onnx.fixed(lengths)) - 1
        turned = onnx.node("Slice", rows, [-1], [-(2**31)], [axis], [-1])  # of equal values TopK takes the first
        values, index = onnx.nodes("TopK", turned, [message.top_k], outputs=2, axis=axis)
        index = onnx.node("Sub", float(last), onnx.node("Cast", index, to=OnnxType.FLOAT32))
        if given is not None:
            return [values if message.out_max_val else index]
        both = [index, values] if message.out_max_val else [index]
        return [onnx.as_top(onnx.node("Concat", *both, axis=1))]

    def _axis(self, spec: LayerSpec) -> int | None:
        message = spec.param.argmax_param
        return spec.axis("argmax_param.axis") if message.HasField("axis") else None


class BatchReindexModule(nn.Module):
    """Select rows by index."""

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Return x[index]."""
        return x.index_select(0, indices(index, x.shape[0], "index"))


@register
class BatchReindex(Layer):
    """The rows of the first bottom that the second names."""

    type = "BatchReindex"
    summary = "selects rows by index"
    no_gradient = (1,)
    bottoms = exactly(2)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        if len(spec.bottoms[1]) != 1 or not spec.bottoms[0]:
            yield spec.misfit("needs rows with at least 1 axis, and indices with 1 axis", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((spec.bottoms[1][0], *spec.bottoms[0][1:]),)

    def module(self, spec: LayerSpec) -> nn.Module:
        return BatchReindexModule()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        x, index = onnx.bottoms
        return [onnx.node("Gather", x, onnx.node("Cast", index, to=OnnxType.INT64))]

    def whole_number_bottoms(self, count: int) -> Sequence[int]:
        return (1,)


class EmbedModule(nn.Module):
    """A learned row for each index."""

    bias: nn.Parameter | None

    def __init__(self, rows: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.rows, self.outputs = rows, outputs
        self.weight = nn.Parameter(torch.empty(rows, outputs))
        self.register_parameter("bias", nn.Parameter(torch.empty(outputs)) if bias else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return weight[x] + bias."""
        y = F.embedding(indices(x, self.weight.shape[0], "index"), self.weight)
        return y if self.bias is None else y + self.bias


@register
class Embed(Layer):
    """Learned vectors by index; the indices have no gradient."""

    type = "Embed"
    summary = "learned vectors by index"
    reads = Reads.BOTTOM
    no_gradient = (0,)
    weight_message = "embed_param"
    accounts = {"embed_param": Account(read=("num_output", "input_dim", "bias_term", "weight_filler", "bias_filler"))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.only_apart()
        yield from spec.at_least_one("embed_param", "num_output", "input_dim")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((*spec.bottoms[0], spec.param.embed_param.num_output),)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.param.embed_param
        return self.weight_and_bias(spec, (message.input_dim, message.num_output))

    def module(self, spec: LayerSpec) -> nn.Module:
        message = spec.param.embed_param
        return EmbedModule(message.input_dim, message.num_output, message.bias_term)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        weight, *bias = onnx.blobs
        rows = onnx.node("Gather", weight, onnx.node("Cast", onnx.bottoms[0], to=OnnxType.INT64))
        return [onnx.node("Add", rows, *bias) if bias else rows]

    def whole_number_bottoms(self, count: int) -> Sequence[int]:
        return (0,)


class FilterModule(nn.Module):
    """Keep the rows whose selector is not 0; their number depends on the values."""

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the selected rows of every bottom but the last, the selector."""
        *blobs, selector = bottoms
        rows = selector.flatten().nonzero().squeeze(1)
        tops = tuple(x.index_select(0, rows) for x in blobs)
        return tops if len(tops) > 1 else tops[0]


@register
class Filter(Layer):
    """Rows that a selector keeps.

    The tops' first dimension is decided while running: declared is the largest, the bottoms' own, as Caffe's first
    Reshape has it. Layers behind it must take any batch size; torch.compile breaks its graph here and torch.export
    makes the size symbolic. A selector of zeros gives empty tops, on which Caffe's backward divides by zero.
    """

    type = "Filter"
    summary = "keeps the rows where a selector is not 0 (size known at run time only)"
    open_axis = 0
    no_gradient = (-1,)
    bottoms = Arity(2, None)
    tops = Arity(1, None)

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        *blobs, selector = spec.bottoms
        if len(spec.param.top) != len(blobs):
            problem = f"needs one top per bottom except the selector ({len(blobs)}), got {len(spec.param.top)}"
            yield spec.error(problem, "top", list(spec.param.top), code="wrong-count")
        if count(selector[1:]) != 1:
            yield spec.misfit("the selector must have one value per row", selector)
        if not selector or any(not shape or shape[0] != selector[0] for shape in blobs):
            yield spec.misfit("the bottoms must have the same first dimension", spec.bottoms)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return spec.bottoms[:-1]

    def module(self, spec: LayerSpec) -> nn.Module:
        return FilterModule()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        *blobs, selector = onnx.bottoms
        rows = onnx.node("Cast", onnx.node("Reshape", selector, [-1]), to=OnnxType.BOOL)
        return [onnx.node("Compress", x, rows, axis=0) for x in blobs]

    def whole_number_bottoms(self, count: int) -> Sequence[int]:
        return (count - 1,)
