"""What a solver asks of a net: FedNet answers with a torch module, pycaffe with a net run layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Protocol

import torch

from caffe_compat.build.load_report import LoadReport
from caffe_compat.data import DataSource, Randomness
from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.graph.graph import NetGraph
from caffe_compat.solver.debug import Say
from caffe_compat.solver.nets import Criterion
from caffe_compat.solver.update import Learnable
from caffe_compat.solver.workers import Workers

Outputs = tuple[dict[str, torch.Tensor], torch.Tensor]
"""Output blobs by name, and the total loss."""


class SolverNet(Protocol):
    """A net that feeds itself."""

    @property
    def net(self) -> Any:
        """What a caller of the solver knows as the net."""

    @property
    def graph(self) -> NetGraph:
        """The graph it was built from."""

    @property
    def sources(self) -> Sequence[DataSource]:
        """What feeds it."""

    @property
    def weights(self) -> Mapping[str, float]:
        """The loss weight of each output blob, 0 where it has none."""

    @property
    def params(self) -> Sequence[Learnable]:
        """The parameters in Caffe's order, shared ones once."""

    def state(self) -> Iterable[torch.Tensor]:
        """Return everything that processes which train together hold alike."""

    def close(self) -> None:
        """Close what feeds it."""

    def clear(self) -> None:
        """Forget the gradients."""

    def watch(self, say: Say | None) -> None:
        """Write the mean of every blob to the log in each pass, as debug_info asks; None: no longer."""

    def forward(self) -> Outputs:
        """Run the next batch."""

    def forward_backward(self) -> Outputs:
        """Run the next batch both ways; gradients add to those there are."""

    def share(self, other: Any) -> None:
        """Use the parameters of another such net in layers of the same names."""

    def load(self, path: str | PathLike[str]) -> LoadReport:
        """Copy weights by layer name."""

    def save(self, path: str | PathLike[str], fmt: str, *, diffs: bool) -> None:
        """Write the weights, as BINARYPROTO or HDF5."""


class MakesNets(Protocol):
    """What makes such nets."""

    def __call__(
        self,
        net: PreparedNet,
        *,
        rng: Randomness,
        seed: int | None,
        device: torch.device,
        exact: bool,
        workers: Workers,
        criterion: Criterion | None,
    ) -> SolverNet:
        """Return such a net."""
