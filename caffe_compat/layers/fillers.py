"""The seven fillers: how Caffe draws the first values of a parameter blob.

The distributions are Caffe's; the draws are torch's (a Caffe seed does not give Caffe's numbers).
Source of the formulas: Caffe 1.0, filler.hpp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from caffe_compat.errors import NetError, did_you_mean
from caffe_compat.schema import caffe_pb2 as pb

Fill = Callable[[torch.Tensor, pb.FillerParameter, torch.Generator | None], None]


def check_filler(filler: pb.FillerParameter, shape: Sequence[int]) -> None:
    """Raise NetError if `filler` cannot fill a blob of `shape`."""
    if filler.type not in FILLERS:
        hint = did_you_mean(filler.type, FILLERS) or f"one of {', '.join(FILLERS)}"
        raise NetError("unknown filler", code="name-unknown", field="filler.type", value=filler.type, hint=hint)
    if filler.sparse < -1 or (filler.sparse != -1 and filler.type != "gaussian"):
        raise NetError(
            "only the gaussian filler can be sparse", code="conflict", field="filler.sparse", value=filler.sparse
        )
    sees_axes = filler.type in ("xavier", "msra") or (filler.type == "gaussian" and filler.sparse >= 0)
    if sees_axes and not shape:  # Caffe dies on shape(0); a positive_unitball asks the old num(), which is 1
        hint = "constant, uniform, or gaussian without sparse"
        problem = "the blob has no axis to count its inputs by"
        raise NetError(problem, code="shape-mismatch", field="filler.type", value=filler.type, hint=hint)
    if filler.type == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise NetError(
            "needs a blob with 4 axes and a square kernel", code="shape-mismatch", field="filler.type", value="bilinear"
        )
    if filler.type == "uniform" and not filler.min <= filler.max:
        raise NetError(
            "min is above max", code="out-of-range", field="filler.min", value=filler.min, hint=f"at most {filler.max}"
        )
    if filler.type == "gaussian" and not filler.std >= 0:
        raise NetError(
            "a standard deviation must be at least 0", code="out-of-range", field="filler.std", value=filler.std
        )


def fill(tensor: torch.Tensor, filler: pb.FillerParameter, generator: torch.Generator | None = None) -> torch.Tensor:
    """Fill `tensor` (the blob in Caffe's own shape) in place and return it."""
    check_filler(filler, tensor.shape)
    if not tensor.numel():
        return tensor
    with torch.no_grad():
        FILLERS[filler.type](tensor, filler, generator)
    return tensor


def fan(shape: Sequence[int], norm: int) -> float:
    """Return the n of xavier and msra: fan in (count / dim 0), fan out (count / dim 1) or their mean."""
    count = math.prod(shape)
    fan_in = count // shape[0]
    fan_out = count // shape[1] if len(shape) > 1 else count
    if norm == pb.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if norm == pb.FillerParameter.FAN_OUT else fan_in


def _constant(tensor: torch.Tensor, filler: pb.FillerParameter, _: torch.Generator | None) -> None:
    tensor.fill_(filler.value)


def _uniform(tensor: torch.Tensor, filler: pb.FillerParameter, generator: torch.Generator | None) -> None:
    tensor.uniform_(filler.min, filler.max, generator=generator)


def _gaussian(tensor: torch.Tensor, filler: pb.FillerParameter, generator: torch.Generator | None) -> None:
    tensor.normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse >= 0:
        keep = min(1.0, filler.sparse / tensor.shape[0])
        tensor.mul_(torch.empty_like(tensor).bernoulli_(keep, generator=generator))


def _xavier(tensor: torch.Tensor, filler: pb.FillerParameter, generator: torch.Generator | None) -> None:
    scale = math.sqrt(3 / fan(tensor.shape, filler.variance_norm))
    tensor.uniform_(-scale, scale, generator=generator)


def _msra(tensor: torch.Tensor, filler: pb.FillerParameter, generator: torch.Generator | None) -> None:
    tensor.normal_(0, math.sqrt(2 / fan(tensor.shape, filler.variance_norm)), generator=generator)


def _positive_unitball(tensor: torch.Tensor, _: pb.FillerParameter, generator: torch.Generator | None) -> None:
    rows = tensor.uniform_(0, 1, generator=generator).view(tensor.shape[0] if tensor.dim() else 1, -1)
    rows.div_(rows.sum(1, keepdim=True))


def _bilinear(tensor: torch.Tensor, _: pb.FillerParameter, __: torch.Generator | None) -> None:
    f = math.ceil(tensor.shape[3] / 2)
    c = (tensor.shape[3] - 1) / (2 * f)
    line = 1 - (torch.arange(tensor.shape[3], dtype=tensor.dtype) / f - c).abs()
    tensor.copy_(line[:, None] * line)


FILLERS: dict[str, Fill] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "positive_unitball": _positive_unitball,
    "bilinear": _bilinear,
}
