"""What the layers that compare scores with class labels share."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.layers.base import LayerSpec, count


def check_labels(spec: LayerSpec, axis: int) -> Iterator[CaffeCompatError]:
    """Yield an error unless there is one label for every score vector along `axis`."""
    scores, labels = spec.bottoms[:2]
    wanted = count(scores) // max(scores[axis], 1)
    if count(labels) != wanted:
        yield spec.error(
            f"{count(labels)} labels for {wanted} predictions", "bottom", f"scores {scores}, labels {labels}"
        )


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
        A label that is no class (checked on the CPU only: on another device it would stall the pipeline).
    """
    index = label.reshape(scores.shape[0], scores.shape[2]).long()
    keep = torch.ones_like(index, dtype=torch.bool) if ignore is None else index != ignore
    index = torch.where(keep, index, 0)
    if index.device.type == "cpu" and not torch.compiler.is_compiling() and index.numel():
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= scores.shape[1]:
            raise DataError(
                "a label is no class", field="label", value=low if low < 0 else high, hint=f"0 to {scores.shape[1] - 1}"
            )
    return index, keep


def precise(x: torch.Tensor) -> torch.Tensor:
    """Return `x` as float32 if it is of a shorter type: sums and counts need more bits than autocast's types have."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
