"""What the layers that compare scores with class labels share."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.layers.base import LayerSpec, count


def check_labels(spec: LayerSpec, axis: int) -> Iterator[CaffeCompatError]:
    """Yield an error unless there is one label for every score vector along `axis`."""
    scores, labels = spec.bottoms[:2]
    expected = count(scores) // max(scores[axis], 1)
    if count(labels) != expected:
        problem = f"needs one label per prediction ({expected}), got {count(labels)}"
        yield spec.error(problem, "bottom", f"scores {scores}, labels {labels}", code="shape-mismatch")


def outer_class_inner(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Return scores with the classes along `axis` as (outer, class, inner), in float32 at least."""
    scores = precise(x)
    scores = scores.flatten(0, axis - 1) if axis else scores.unsqueeze(0)
    return scores.flatten(2) if scores.dim() > 2 else scores.unsqueeze(2)


def class_indices(label: torch.Tensor, scores: torch.Tensor, ignore: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the labels as indices (outer, inner) and which of them count.

    Parameters
    ----------
    label : float labels, one per prediction, in any shape.
    scores : (outer, class, inner).
    ignore : the label that does not count; its index is returned as 0.

    Raises
    ------
    DataError
        A label is out of range (checked on the CPU only: on another device it would stall the pipeline).
    """
    index = label.reshape(scores.shape[0], scores.shape[2]).long()
    keep = torch.ones_like(index, dtype=torch.bool) if ignore is None else index != ignore
    index = torch.where(keep, index, 0)
    if index.device.type == "cpu" and not torch.compiler.is_compiling() and index.numel():
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= scores.shape[1]:
            value, last = low if low < 0 else high, scores.shape[1] - 1
            raise DataError(f"out of range 0 to {last}", code="out-of-range", field="label", value=value)
    return index, keep


def precise(x: torch.Tensor) -> torch.Tensor:
    """Return `x` as float32 if it is of a shorter type: sums and counts need more bits than autocast's types have."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
