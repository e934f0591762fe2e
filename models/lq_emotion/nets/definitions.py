"""The definitions of a training by its name, as switches have them; with the code's they are the shipped ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.cnn_d import Training, cnn_d, cnn_d_deploy
from lq_emotion.nets.mixed import mixed
from lq_emotion.nets.paper import non_joint, non_joint_deploy
from lq_emotion.nets.solvers import Stage, solver
from lq_emotion.nets.sr_fcn import sr_fcn, sr_fcn_deploy
from lq_emotion.nets.switches import PaperSwitches, otherwise

_STAGES: dict[str, Stage] = {
    "HQ": "scratch",
    "vlqr": "joint",
    "vlqr_non_joint": "non_joint",
    "pretrain": "pretrain",
}
_ENLARGED = ("vlqr_non_joint", "pretrain")  # super-resolution gives as many pixels as it takes


def settings(net: str, switches: PaperSwitches, factors: Sequence[int] = (1,)) -> dict[str, Any]:
    """Return the settings that a training's definitions owe to switches, the code's left out.

    Parameters
    ----------
    net : HQ, vlqr, vlqr_non_joint, pretrain.
    switches : paper or code.
    factors : how many times smaller than 96 x 96 its faces are; several for a mixture of sizes.
    """
    own = {"input_size": "own"} if max(factors) > 1 else {}
    return {**own, **otherwise(switches, f"train {net}")}


def training_net(net: str, switches: PaperSwitches, factors: Sequence[int] = (1,)) -> pb.NetParameter:
    """Return the net to train, its sources the authors' placeholders."""
    if net == "pretrain":
        return sr_fcn(switches=switches)
    if net == "vlqr_non_joint":
        return non_joint(switches=switches)
    training: Training = "joint" if net == "vlqr" else "scratch"
    if len(factors) > 1:
        return mixed(training, switches=switches, factors=factors)
    return cnn_d(training, switches=switches, factor=factors[0])


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


def factors_of(net: str, switches: PaperSwitches, sides: Sequence[int]) -> tuple[int, ...]:
    """Return how many times smaller than 96 x 96 the pictures of a training are.

    Parameters
    ----------
    sides : rows and columns of the pictures of its files.

    Raises
    ------
    DataError
        The net takes no such pictures.
    """
    if switches.input_size != "own" or net in _ENLARGED:
        return (1,)  # the net itself refuses others
    found = tuple(dict.fromkeys(sides))
    for side in found:
        if side < 1 or SIZE % side:
            hint = f"{SIZE} divided by a whole number"
            raise DataError(f"pictures of {side} x {side}; {net} takes {SIZE} x {SIZE}", hint=hint)
    return tuple(sorted(SIZE // side for side in found))
