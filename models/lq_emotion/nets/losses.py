"""The loss that the paper proposes as future work: 1 - CCC of the valences of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from caffe_compat.errors import DataError

Convention = Literal["avec", "population", "sample"]
_LESS = {"avec": (0, 1), "population": (0, 0), "sample": (1, 1)}
"""Number subtracted from N in the divisor of the covariance and of the variances, as in metrics.regression."""


class CCCLoss(nn.Module):
    """1 - CCC, from 0 (agreement) to 2; the only loss of the paper that is not a layer of Caffe.

    Parameters
    ----------
    convention : definition of covariance and variance, see `lq_emotion.metrics.regression`.

    Notes
    -----
    ``cnn_d(switches=replace(AS_CODE, loss="ccc"))`` ends in fc5: ``CCCLoss()(net(data), label).backward()`` then gives
    its gradients. A batch of constant predictions has a CCC of 0 and still a gradient, so that training can leave it.
    The mean loss over batches is not that of the whole trace.
    """

    def __init__(self, convention: Convention = "avec") -> None:
        super().__init__()
        if convention not in _LESS:
            hint = f"one of {', '.join(_LESS)}"
            raise DataError("unknown", code="name-unknown", field="convention", value=convention, hint=hint)
        self.convention = convention

    def forward(self, prediction: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
        """Return the loss of N predictions and N gold values, each of any shape: a scalar; N is at least 2."""
        a, b = prediction.flatten(), gold.flatten().to(prediction)
        if a.numel() != b.numel() or a.numel() < 2:
            problem = f"{a.numel()} predictions for {b.numel()} values of the gold standard"
            raise DataError(problem, code="wrong-count", hint="give as many of both, and two or more")
        together, alone = (a.numel() - less for less in _LESS[self.convention])
        difference = a.mean() - b.mean()
        a, b = a - a.mean(), b - b.mean()
        apart = (a.square().sum() + b.square().sum()) / alone + difference.square()
        # two equal constants are 0/0; here they agree with nothing, as in a CCC of 0
        return 1 - 2 * (a * b).sum() / together / apart.clamp_min(torch.finfo(apart.dtype).tiny)
