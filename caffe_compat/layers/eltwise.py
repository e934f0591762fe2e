"""Eltwise: sum, product or maximum of blobs of one shape."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, register
from caffe_compat.layers.facts import Coordinates, Memories, OnnxWriter, Reads
from caffe_compat.layers.functions import Add
from caffe_compat.schema import caffe_pb2 as pb


class Sum(nn.Module):
    """Weighted sum of the bottoms, left to right."""

    def __init__(self, coefficients: tuple[float, ...]) -> None:
        super().__init__()
        self.coefficients = coefficients

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return sum c_i x_i."""
        first, *rest = (x if c == 1 else x * c for x, c in zip(bottoms, self.coefficients, strict=True))
        return functools.reduce(operator.add, rest, first)


class Product(nn.Module):
    """Product of the bottoms, left to right."""

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return x_1 x_2 ..."""
        return functools.reduce(operator.mul, bottoms)


class Maximum(nn.Module):
    """Maximum of the bottoms; where equal, the gradient goes where Caffe sends it."""

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Return the maxima: of the first two a tie takes the second, of later ones the earlier."""
        top = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
        for x in bottoms[2:]:
            top = torch.where(x > top, x, top)
        return top


@register
class Eltwise(Layer):
    """Combine blobs of one shape element by element."""

    type = "Eltwise"
    summary = "SUM with coeff, PROD, MAX"
    in_place_fault = "it clears its top, and with it its first bottom, before it reads it"
    clears_in_place = True
    coordinates = Coordinates.SAME
    free_outputs = (Sum,)
    bottoms = Arity(2, None)
    accounts = {
        "eltwise_param": Account(
            read=("operation", "coeff"), ignored={"stable_prod_grad": "the gradient is always the stable one"}
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message = spec.param.eltwise_param
        if len(message.coeff) not in (0, len(spec.bottoms)):
            problem = f"needs one coefficient per bottom ({len(spec.bottoms)}), got {len(message.coeff)}"
            yield spec.fault(problem, "eltwise_param.coeff", code="wrong-count")
        if message.coeff and message.operation == pb.EltwiseParameter.PROD:
            yield spec.fault("only operation SUM takes coefficients", "eltwise_param.coeff", code="conflict")
        if any(shape != spec.bottoms[0] for shape in spec.bottoms):
            yield spec.misfit("the bottoms must have the same shape", spec.bottoms)

    def function(self, spec: LayerSpec) -> Add | None:
        message = spec.param.eltwise_param
        plain = message.operation == pb.EltwiseParameter.SUM and all(c == 1 for c in message.coeff)
        return Add() if plain and len(spec.bottoms[0]) in {2, 4} else None

    def module(self, spec: LayerSpec) -> nn.Module:
        message, ops = spec.param.eltwise_param, pb.EltwiseParameter
        if message.operation == ops.SUM:
            return Sum(tuple(message.coeff) or (1.0,) * len(spec.bottoms))
        return Product() if message.operation == ops.PROD else Maximum()

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        message, ops = spec.param.eltwise_param, pb.EltwiseParameter
        if message.operation == ops.SUM:
            terms = zip(onnx.bottoms, message.coeff or [1.0] * len(onnx.bottoms), strict=True)
            bottoms = [x if c == 1 else onnx.node("Mul", x, c) for x, c in terms]
            return [functools.reduce(functools.partial(onnx.node, "Add"), bottoms)]
        if message.operation == ops.PROD:
            return [functools.reduce(functools.partial(onnx.node, "Mul"), onnx.bottoms)]
        return [onnx.node("Max", *onnx.bottoms)]

    def backward_reads(self, param: pb.LayerParameter) -> Reads:
        message = param.eltwise_param
        if message.operation != pb.EltwiseParameter.PROD:
            return Reads.NOTHING
        return Reads.BOTTOM if message.stable_prod_grad else Reads.BOTTOM | Reads.TOP

    def caffe_gradients(self, spec: LayerSpec, memory: Memories) -> list[torch.Tensor] | None:
        """Return the top over each bottom where a product has no stable_prod_grad."""
        if Reads.TOP not in self.backward_reads(spec.param):
            return None
        top, where = memory.tops[0], memory.where
        return [top.values(where) / bottom.values(where) * top.gradients(where) for bottom in memory.bottoms]
