"""pycaffe's solvers, on the loop, update rules and snapshots of :mod:`caffe_compat.solver`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import torch

from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.definition.upgrade import upgrade_snapshot_prefix, upgrade_solver
from caffe_compat.formats.files import read_solver
from caffe_compat.pycaffe import mode
from caffe_compat.pycaffe.net import Net, existing
from caffe_compat.pycaffe.trainable import LayerwiseNet
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import loop
from caffe_compat.solver.policy import rate
from caffe_compat.solver.rules import make_rule

PathLike = str | os.PathLike[str]


class SolverLoop(loop.Solver):
    """The solver's loop on pycaffe nets, whose diffs have the update after an iteration, as in Caffe."""

    _tensors: list[torch.Tensor]

    def update(self) -> None:
        """Update the parameters from their diffs."""
        self._update()

    def _update(self) -> None:
        tensors = [item.tensor for item in self._train.params]
        if not all(a is b for a, b in zip(tensors, self._tensors, strict=True)):
            self._tensors = tensors  # reallocated: the groups refer to the old memory
            self._updater.regroup()
        super()._update()
        for tensor, update in zip(tensors, self._updater.updates, strict=True):
            assert tensor.grad is not None
            tensor.grad.zero_() if update is None else tensor.grad.copy_(update)

    def _make_nets(self, sources: Mapping[str, str]) -> None:
        if self.param.random_seed >= 0:
            mode.set_random_seed(self.param.random_seed)
        super()._make_nets(sources)
        self._rng = mode.randomness()
        self._tensors = [item.tensor for item in self._train.params]

    def _make_net(self, net: PreparedNet) -> LayerwiseNet:
        return LayerwiseNet(net)

    @property
    def trained(self) -> Net:
        """The training net."""
        net: Net = self._train.net
        return net

    @property
    def tested(self) -> list[Net]:
        """The test nets."""
        return [test.net for test in self._tests]

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration."""
        return rate(self.param, self.iter, self._step)[0]


class Solver:
    """A solver created from its definition file.

    Attributes
    ----------
    net, test_nets : the training net and the test nets.
    iter : number of iterations done.
    param : the definition; base_lr and others may be changed between iterations.
    """

    type: ClassVar[str] = ""

    def __init__(self, param_file: PathLike) -> None:
        self._loop = SolverLoop(
            _definition(param_file, self.type),
            base_dir=Path(param_file).parent,
            device=mode.device(),
            log=mode.make_log(),
            resume=False,
            fork=mode.forks(),
        )

    @property
    def net(self) -> Net:
        """The training net."""
        return self._loop.trained

    @property
    def test_nets(self) -> list[Net]:
        """The test nets; they share the training net's parameters while they are tested."""
        return self._loop.tested

    @property
    def iter(self) -> int:
        """The number of iterations done."""
        return self._loop.iter

    @property
    def param(self) -> pb.SolverParameter:
        """The definition."""
        return self._loop.param

    def add_callback(self, on_start: Callable[[], object], on_gradients_ready: Callable[[], object]) -> None:
        """Call `on_start` before each iteration and `on_gradients_ready` before its update."""
        self._loop.callbacks.append((on_start, on_gradients_ready))

    def step(self, iterations: int) -> None:
        """Train for a number of iterations, with the tests, log lines and snapshots that are due."""
        self._loop.step(int(iterations))

    def solve(self, resume_file: PathLike | None = None) -> None:
        """Train until max_iter, resuming from a solver state if given."""
        if resume_file is not None:
            self.restore(resume_file)
        self._loop.solve()

    def restore(self, state_file: PathLike) -> None:
        """Resume from a solver state, in Caffe's format or this engine's."""
        existing(state_file)
        self._loop.restore(state_file)

    def snapshot(self) -> None:
        """Write weights and state to PREFIX_iter_N."""
        self._loop.snapshot()

    def apply_update(self) -> None:
        """Update the parameters from their diffs, as one iteration does after its passes."""
        self._loop.update()

    def share_weights(self, net: Net) -> None:
        """Share the training net's parameters with another net."""
        net.share_with(self.net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    type = "SGD"

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration."""
        return self._loop.lr


class NesterovSolver(SGDSolver):
    """Nesterov's momentum."""

    type = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad."""

    type = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """RMSProp."""

    type = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """AdaDelta."""

    type = "AdaDelta"


class AdamSolver(SGDSolver):
    """Adam."""

    type = "Adam"


_SOLVERS = {
    cls.type: cls for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(param_file: PathLike) -> SGDSolver:
    """Create the solver that a file defines."""
    param = upgrade_solver(read_solver(existing(param_file)))
    make_rule(param)  # refuses unknown types
    return _SOLVERS[param.type](param_file)


def _definition(file: PathLike, kind: str) -> pb.SolverParameter:
    """Read a solver definition, set its type, and set a default snapshot_prefix as Caffe's reader does."""
    param = upgrade_solver(read_solver(existing(file)))
    param.type = kind
    return upgrade_snapshot_prefix(param, os.fspath(file))
