"""The definitions of a training by its name: shipped where they say what is wanted, built where a switch is set."""

from __future__ import annotations

from typing import Any

from caffe_compat.errors import DataError
from caffe_compat.models.robust_lq_emotion.nets.blocks import SIZE
from caffe_compat.models.robust_lq_emotion.nets.cnn_d import cnn_d, cnn_d_deploy
from caffe_compat.models.robust_lq_emotion.nets.paper import non_joint, non_joint_deploy
from caffe_compat.models.robust_lq_emotion.nets.solvers import Stage, solver
from caffe_compat.models.robust_lq_emotion.nets.sr_fcn import PATCH, sr_fcn, sr_fcn_deploy
from caffe_compat.models.robust_lq_emotion.nets.switches import PaperSwitches, otherwise
from caffe_compat.proto import caffe_pb2 as pb

_STAGES: dict[str, Stage] = {
    "HQ": "scratch",
    "vlqr": "joint",
    "vlqr_non_joint": "non_joint",
    "pretrain": "pretrain",
}
_ENLARGED = ("vlqr_non_joint", "pretrain")  # super-resolution gives as many pixels as it takes


def settings(net: str, switches: PaperSwitches, factor: int = 1) -> dict[str, Any]:
    """Return the settings that a training's definitions owe to switches, the code's left out.

    Parameters
    ----------
    net : HQ, vlqr, vlqr_non_joint, pretrain.
    switches : paper or code.
    factor : how many times smaller than 96 x 96 its faces are.
    """
    own = {"input_size": "own"} if factor > 1 else {}
    return {**own, **otherwise(switches, f"train {net}")}


def training_net(net: str, switches: PaperSwitches, factor: int = 1) -> pb.NetParameter:
    """Return the net to train, its sources the authors' placeholders."""
    if net == "pretrain":
        return sr_fcn(switches=switches)
    if net == "vlqr_non_joint":
        return non_joint(switches=switches)
    return cnn_d("joint" if net == "vlqr" else "scratch", switches=switches, factor=factor)


def deploy_net(net: str, switches: PaperSwitches, factor: int = 1) -> pb.NetParameter:
    """Return the net to apply."""
    if net == "pretrain":
        return sr_fcn_deploy(switches=switches)
    if net == "vlqr_non_joint":
        return non_joint_deploy(switches=switches)
    return cnn_d_deploy(switches=switches, factor=factor)


def training_solver(net: str, switches: PaperSwitches) -> pb.SolverParameter:
    """Return the solver, its paths the authors' placeholders."""
    return solver(_STAGES[net], switches=switches)


def factor_of(net: str, switches: PaperSwitches, side: int) -> int:
    """Return how many times smaller than 96 x 96 the pictures of a training are.

    Parameters
    ----------
    side : rows and columns of the pictures.

    Raises
    ------
    DataError
        The net takes no such pictures.
    """
    takes = PATCH if net == "pretrain" else SIZE
    if side == takes:
        return 1
    if switches.input_size == "own" and net not in _ENLARGED and side and SIZE % side == 0:
        return SIZE // side
    raise DataError(f"pictures of {side} x {side}; {net} takes {takes} x {takes}", hint="--switch input_size=own")
