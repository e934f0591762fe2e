"""The loss that the paper proposes as future work: 1 - CCC of the valences of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from caffe_compat.errors import DataError
from lq_emotion.nets.mixed import JOINED

Convention = Literal["avec", "population", "sample"]
_LESS = {"avec": (0, 1), "population": (0, 0), "sample": (1, 1)}
"""Number subtracted from N in the divisor of the covariance and of the variances, as in metrics.regression."""


def ccc_loss(prediction: torch.Tensor, gold: torch.Tensor, convention: Convention = "avec") -> torch.Tensor:
    """Return 1 - CCC, from 0 (agreement) to 2, of N predictions and N values of any shape, N at least 2: a scalar.

    The only loss of the paper that is not a layer of Caffe. A batch of constant predictions has a CCC of 0 and still a
    gradient, so that training can leave it. The mean loss over batches is not that of the whole trace.
    """
    if convention not in _LESS:
        hint = f"one of {', '.join(_LESS)}"
        raise DataError("unknown", code="name-unknown", field="convention", value=convention, hint=hint)
    a, b = prediction.flatten(), gold.flatten().to(prediction)
    if a.numel() != b.numel() or a.numel() < 2:
        problem = f"{a.numel()} predictions for {b.numel()} values of the gold standard"
        raise DataError(problem, code="wrong-count", hint="give as many of both, and two or more")
    together, alone = (a.numel() - less for less in _LESS[convention])
    difference = a.mean() - b.mean()
    a, b = a - a.mean(), b - b.mean()
    apart = (a.square().sum() + b.square().sum()) / alone + difference.square()
    # two equal constants are 0/0; here they agree with nothing, as in a CCC of 0
    return 1 - 2 * (a * b).sum() / together / apart.clamp_min(torch.finfo(apart.dtype).tiny)


def valence_ccc(blobs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the loss of a batch, from the blobs of a net without a loss layer; of two labels, the mean."""
    names = JOINED if JOINED[0] in blobs else ("fc5", "label")
    pairs = zip(*(blobs[name].flatten(1).unbind(1) for name in names), strict=True)
    return torch.stack([ccc_loss(*pair) for pair in pairs]).mean()
