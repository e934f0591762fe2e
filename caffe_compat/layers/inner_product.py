"""InnerProduct, Caffe's fully connected layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx, nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers import functions
from caffe_compat.layers.base import Account, BlobDef, Layer, LayerSpec, Shape, count, register
from caffe_compat.layers.facts import Drawing, OnnxWriter, Reads
from caffe_compat.schema import caffe_pb2 as pb


class FlattenLinear(nn.Linear):
    """A Linear over all axes from `axis` on."""

    def __init__(self, in_features: int, out_features: int, bias: bool, axis: int) -> None:
        super().__init__(in_features, out_features, bias)
        self.axis = axis

    def forward(self, x: Any) -> torch.Tensor:
        """Return x[..., flattened] weight' + bias."""
        if not isinstance(x, fx.Proxy) and x.dim() == self.axis:  # a scalar per row; a trace does not ask
            x = x.unsqueeze(-1)
        return super().forward(x.flatten(self.axis))


@register
class InnerProduct(Layer):
    """y = W x + b over the axes from `axis` on."""

    type = "InnerProduct"
    summary = "fully connected; axis, transpose"
    reads = Reads.BOTTOM
    weight_message = "inner_product_param"
    drawing = Drawing("#CC33FF", lr_mult=True)
    free_outputs = (FlattenLinear,)
    accounts = {
        "inner_product_param": Account(
            read=("num_output", "bias_term", "weight_filler", "bias_filler", "axis", "transpose")
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from spec.at_least_one("inner_product_param", "num_output")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((*spec.bottoms[0][: spec.axis("inner_product_param.axis")], spec.param.inner_product_param.num_output),)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        message = spec.param.inner_product_param
        shape = (message.num_output, count(spec.bottoms[0][spec.axis("inner_product_param.axis") :]))
        transposed = message.transpose
        return self.weight_and_bias(spec, shape[::-1] if transposed else shape, transposed=transposed)

    def function(self, spec: LayerSpec) -> functions.InnerProduct | None:
        plain = spec.axis("inner_product_param.axis") == 1 and len(spec.bottoms[0]) in {2, 4}
        return functions.InnerProduct() if plain else None

    def module(self, spec: LayerSpec) -> nn.Module:
        message, axis = spec.param.inner_product_param, spec.axis("inner_product_param.axis")
        return FlattenLinear(count(spec.bottoms[0][axis:]), message.num_output, message.bias_term, axis)

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        weight, *bias = onnx.blobs
        axis, transposed = spec.axis("inner_product_param.axis"), spec.param.inner_product_param.transpose
        if axis == 1:
            return [onnx.node("Gemm", onnx.node("Flatten", onnx.bottoms[0]), weight, *bias, transB=int(not transposed))]
        rows = onnx.node("Reshape", onnx.bottoms[0], [*[0] * axis, -1])
        top = onnx.node("MatMul", rows, weight if transposed else weight.T)
        return [onnx.node("Add", top, *bias) if bias else top]

    def macs(self, spec: LayerSpec) -> int:
        return count(self.blobs(spec)[0].shape) * count(spec.bottoms[0][: spec.axis("inner_product_param.axis")])

    def drawn_output(self, param: pb.LayerParameter) -> str:
        return str(param.inner_product_param.num_output)
