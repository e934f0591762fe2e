"""Solver definitions: the authors' four, and the schedule the paper tells.

With `AS_CODE` the messages are those of the shipped prototxts (experiments/solver/, pretrain/Pretrain_solver).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.switches import AS_CODE, PaperSwitches

Stage = Literal["scratch", "joint", "non_joint", "pretrain"]
_ROOT = "PATH/TO/CAFFE_EMOTION/"


@dataclass(frozen=True)
class _Schedule:
    net: str
    max_iter: int
    snapshot: int
    base_lr: float = 0.01
    weight_decay: float = 0.0005
    test_iter: int = 100
    test_interval: int = 1000
    prefix: str = "Snapshot/emotion"


_CODE: dict[Stage, _Schedule] = {
    "scratch": _Schedule("Experiments/network/model_1F_CNN+D.prototxt", 30000, 1000),
    "joint": _Schedule("Experiments/network/model_1F_CNN+D_vlqr.prototxt", 60000, 1000),
    "non_joint": _Schedule("Experiments/network/model_1F_CNN+D_vlqr_non_joint.prototxt", 120000, 10000),
    "pretrain": _Schedule("Pretrain_net.prototxt", 500000, 50000, 0.0001, 0, 556, 500, "Pretrain/Snapshot/Pretrain"),
}
# section 4: one decay for all CNNs, 30,000 iterations at 0.01; how often it tests and saves is not told
_PAPER_PRETRAIN = _Schedule("Pretrain_net.prototxt", 30000, 10000, 0.01, 0.0005, 556, 500, "Pretrain/Snapshot/Pretrain")


def solver(stage: Stage, *, switches: PaperSwitches = AS_CODE) -> pb.SolverParameter:
    """Return the solver of a stage, with the authors' placeholders for paths.

    Parameters
    ----------
    stage : CNN+D from scratch, joint, non_joint; or SR-FCN: pretrain.
    switches : paper or code.

    Notes
    -----
    With `switches.lr_on_plateau` the policy of CNN+D's solvers is "multistep", a tenth each time, with no step yet. Who
    watches the tests adds them: ``trained.param.stepvalue.append(trained.iter)`` on the running `Solver`. SR-FCN's rate
    is constant in the paper as well.
    """
    paper = stage == "pretrain" and switches.sr_schedule == "paper"
    schedule = _PAPER_PRETRAIN if paper else _CODE[stage]
    made = pb.SolverParameter(
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
    if switches.lr_on_plateau and stage != "pretrain":
        made.lr_policy, made.gamma = "multistep", 0.1
    return made
