"""The loss that the paper proposes for the future: 1 - CCC, of the valences of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from caffe_compat.errors import DataError

Convention = Literal["avec", "population", "sample"]
_LESS = {"avec": (0, 1), "population": (0, 0), "sample": (1, 1)}
"""What is taken from N in the divisor of the covariance and of the variances, as in metrics.regression."""


class CCCLoss(nn.Module):
    """1 - CCC, from 0 (agreement) to 2; the only one of the paper's losses that is no layer of Caffe.

    Parameters
    ----------
    convention : of covariance and variance, see `lq_emotion.metrics.regression`.

    Notes
    -----
    ``cnn_d(switches=replace(AS_CODE, loss="ccc"))`` ends in fc5: ``CCCLoss()(net(data), label).backward()`` then gives
    its gradients. A batch of constant predictions has a CCC of 0 and still a gradient, so that training can leave it.
    Batches are samples of a trace: their mean loss is not that of the whole.
    """

    def __init__(self, convention: Convention = "avec") -> None:
        super().__init__()
        if convention not in _LESS:
            raise DataError("is unknown", field="convention", value=convention, hint=", ".join(_LESS))
        self.convention = convention

    def forward(self, prediction: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar.

        Parameters
        ----------
        prediction, gold : N values each, of any shape, such as (N, 1).

        Raises
        ------
        DataError
            Different numbers of values, or fewer than two.
        """
        a, b = prediction.flatten(), gold.flatten().to(prediction)
        if a.numel() != b.numel() or a.numel() < 2:
            raise DataError(f"{a.numel()} predictions for {b.numel()} values of the gold standard", hint="two or more")
        together, alone = (a.numel() - less for less in _LESS[self.convention])
        difference = a.mean() - b.mean()
        a, b = a - a.mean(), b - b.mean()
        apart = (a.square().sum() + b.square().sum()) / alone + difference.square()
        # two equal constants are 0/0; here they agree with nothing, as in a CCC of 0
        return 1 - 2 * (a * b).sum() / together / apart.clamp_min(torch.finfo(apart.dtype).tiny)
