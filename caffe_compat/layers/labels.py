"""Utilities of layers whose bottoms contain whole numbers as floats: class labels and indices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.layers.base import LayerSpec, count

_INT = 2**31


def check_labels(spec: LayerSpec, axis: int) -> Iterator[CaffeCompatError]:
    """Yield an error unless there is one label for every score vector along `axis`."""
    scores, labels = spec.bottoms[:2]
    expected = count(scores) // max(scores[axis], 1)
    if count(labels) != expected:
        problem = f"needs one label per prediction ({expected}), got {count(labels)}"
        yield spec.misfit(problem, f"scores {scores}, labels {labels}")


def check_row_labels(spec: LayerSpec) -> Iterator[CaffeCompatError]:
    """Yield an error unless there is one label for every row of the scores or features."""
    rows, labels = spec.bottoms[:2]
    if not rows or not labels or labels[0] != rows[0] or count(labels) != rows[0]:
        yield spec.misfit("needs one label per sample", spec.bottoms)


def outer_class_inner(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Return scores with the classes along `axis` as (outer, class, inner), in float32 at least."""
    scores = precise(x)
    scores = scores.flatten(0, axis - 1) if axis else scores.unsqueeze(0)
    return scores.flatten(2) if scores.dim() > 2 else scores.unsqueeze(2)


def class_indices(label: torch.Tensor, scores: torch.Tensor, ignore: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels as indices (outer, inner) into scores (outer, class, inner), 0 for `ignore`, and which count."""
    whole = label.detach().reshape(scores.shape[0], scores.shape[2]).trunc()
    keep = torch.ones_like(whole, dtype=torch.bool) if ignore is None else whole != ignore
    return indices(torch.where(keep, whole, 0), scores.shape[1], "label"), keep


def indices(x: torch.Tensor, size: int, field: str, hint: str | None = None) -> torch.Tensor:
    """Return floats as indices from 0 to below `size`, cut towards zero as C's cast does.

    A value that is no index, such as NaN, is -1 where it is not refused, on every processor. An index out of range is
    refused on the CPU only: on another device that would stall the pipeline.
    """
    whole = x.detach().trunc()
    is_index = (whole >= 0) & (whole < size)
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and not is_index.all():
        value = float(whole[~is_index][0])
        shown = int(value) if abs(value) < _INT else value
        raise DataError(f"out of range 0 to {size - 1}", code="out-of-range", field=field, value=shown, hint=hint)
    return torch.where(is_index, whole, -1).long()


def whole_numbers(values: npt.NDArray[np.floating], field: str) -> npt.NDArray[np.int64]:
    """Return floats as integers, cut towards zero as C's cast does; refuse NaN and values beyond C's int."""
    wrong = values[~(np.abs(values) < _INT)]
    if wrong.size:
        problem = "is not a whole number in the range of an int"
        raise DataError(problem, code="out-of-range", field=field, value=float(wrong.flat[0]))
    return values.astype(np.int64)


def precise(x: torch.Tensor) -> torch.Tensor:
    """Return `x` as float32 if it is of a shorter type: sums and counts need more bits than autocast's types have."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
