"""Solvers of a fine-tuning: SGD for a net with a head, frozen or not, and Adam for a head on sequences."""

from __future__ import annotations

from typing import Any

from caffe_compat.schema import caffe_pb2 as pb


def sgd(*, iter_size: int = 1, weight_decay: float = 0.0005, **fields: Any) -> pb.SolverParameter:
    """Return a solver with momentum 0.9; `iter_size` batches make one iteration. The fields are as in `adam`."""
    message = _solver(**fields)
    message.momentum, message.weight_decay = 0.9, weight_decay
    if iter_size > 1:
        message.iter_size = iter_size
    message.snapshot_format = pb.SolverParameter.BINARYPROTO
    return message


def adam(**fields: Any) -> pb.SolverParameter:
    """Return Adam with its authors' constants (arXiv 1412.6980), without decay.

    The fields are those of SolverParameter; without a `test_interval` there are no tests, of `test_iter` batches each.
    """
    message = _solver(**fields)
    message.type, message.momentum, message.momentum2, message.delta = "Adam", 0.9, 0.999, 1e-8
    message.snapshot_format = pb.SolverParameter.HDF5
    return message


def _solver(*, display: int = 20, test_iter: int = 0, test_interval: int = 0, **fields: Any) -> pb.SolverParameter:
    message = pb.SolverParameter(lr_policy="fixed", solver_mode=pb.SolverParameter.CPU, display=display, **fields)
    if test_interval:
        message.test_iter.append(test_iter)
        message.test_interval = test_interval
    return message
