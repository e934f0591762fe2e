"""The smoothed loss of Caffe's log (average_loss)."""

from __future__ import annotations

import torch


class SmoothedLoss:
    """Mean of the last `window` losses, in float32 and in Caffe's order of operations.

    Losses stay tensors, so that a device need not wait until a value is read.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._losses: list[torch.Tensor] = []
        self._added = 0
        self._smoothed: torch.Tensor | None = None

    def add(self, loss: torch.Tensor) -> None:
        """Add the loss of the next iteration."""
        if self._smoothed is None:
            self._smoothed = loss.clone()
            self._losses.append(loss)
        elif len(self._losses) < self._window:
            self._losses.append(loss)
            count = len(self._losses)
            self._smoothed = (self._smoothed * (count - 1) + loss) / count
        else:
            place = self._added % self._window
            self._smoothed = self._smoothed + (loss - self._losses[place]) / self._window
            self._losses[place] = loss
        self._added += 1

    @property
    def value(self) -> float:
        """The smoothed loss."""
        assert self._smoothed is not None
        return float(self._smoothed)
