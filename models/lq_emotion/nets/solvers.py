"""Solver definitions as the authors write them: momentum 0.9, a fixed rate, snapshots on the way."""

from __future__ import annotations

from dataclasses import dataclass

from caffe_compat.schema import caffe_pb2 as pb

_ROOT = "PATH/TO/CAFFE_EMOTION/"


@dataclass(frozen=True)
class Schedule:
    """What differs between the authors' solvers; the fields are those of SolverParameter."""

    net: str
    max_iter: int
    snapshot: int
    base_lr: float = 0.01
    weight_decay: float = 0.0005
    test_iter: int = 100
    test_interval: int = 1000
    prefix: str = "Snapshot/emotion"


def solver(schedule: Schedule, *, lr_on_plateau: bool = False) -> pb.SolverParameter:
    """Return the solver of a schedule, with the authors' placeholders for paths.

    Parameters
    ----------
    schedule : rates, counts and names.
    lr_on_plateau : divide the rate by ten when the validation loss stops falling. The policy is then "multistep"
        without a step: whoever watches the tests adds the steps, ``trained.param.stepvalue.append(trained.iter)`` on
        the running `Solver`.
    """
    message = pb.SolverParameter(
        net=_ROOT + schedule.net,
        base_lr=schedule.base_lr,
        lr_policy="fixed",
        momentum=0.9,
        weight_decay=schedule.weight_decay,
        max_iter=schedule.max_iter,
        test_iter=[schedule.test_iter],
        test_interval=schedule.test_interval,
        display=100,
        snapshot=schedule.snapshot,
        snapshot_prefix=_ROOT + schedule.prefix,
        solver_mode=pb.SolverParameter.GPU,
    )
    if lr_on_plateau:
        message.lr_policy, message.gamma = "multistep", 0.1
    return message
