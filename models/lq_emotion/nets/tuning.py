"""Solvers of a fine-tuning: SGD for a net with a head, frozen or not, and Adam for a head on sequences."""

from __future__ import annotations

from dataclasses import dataclass

from caffe_compat.schema import caffe_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What the solvers share; the fields are those of SolverParameter.

    Attributes
    ----------
    net : path of the definition.
    snapshot_prefix : beginning of the paths of snapshots.
    base_lr, max_iter, random_seed : see SolverParameter.
    snapshot : iterations between two snapshots.
    display : iterations between two lines of the log.
    test_iter, test_interval : batches of a test, and iterations between two; 0 for no tests.
    """

    net: str
    snapshot_prefix: str
    base_lr: float
    max_iter: int
    snapshot: int
    display: int = 20
    random_seed: int = 0
    test_iter: int = 0
    test_interval: int = 0

    def sgd(self, *, iter_size: int = 1, weight_decay: float = 0.0005) -> pb.SolverParameter:
        """Return a solver with momentum 0.9; `iter_size` batches make one iteration."""
        message = self._solver()
        message.momentum, message.weight_decay = 0.9, weight_decay
        if iter_size > 1:
            message.iter_size = iter_size
        message.snapshot_format = pb.SolverParameter.BINARYPROTO
        return message

    def adam(self) -> pb.SolverParameter:
        """Return Adam with its authors' constants (arXiv 1412.6980), without decay."""
        message = self._solver()
        message.type, message.momentum, message.momentum2, message.delta = "Adam", 0.9, 0.999, 1e-8
        message.snapshot_format = pb.SolverParameter.HDF5
        return message

    def _solver(self) -> pb.SolverParameter:
        message = pb.SolverParameter(
            net=self.net, base_lr=self.base_lr, lr_policy="fixed", max_iter=self.max_iter, display=self.display,
            snapshot=self.snapshot, snapshot_prefix=self.snapshot_prefix, solver_mode=pb.SolverParameter.CPU,
            random_seed=self.random_seed,
        )  # fmt: skip
        if self.test_interval:
            message.test_iter.append(self.test_iter)
            message.test_interval = self.test_interval
        return message
