"""The nets of the study by name: their definitions and solvers, and what switches and factors change in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from caffe_compat.errors import DataError, NetError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.cnn_d import SWITCHES, cnn_d, cnn_d_deploy, sample_shapes
from lq_emotion.nets.names import Net
from lq_emotion.nets.sr_fcn import non_joint, non_joint_deploy, patch_shapes, sr_fcn, sr_fcn_deploy
from lq_emotion.nets.switches import AS_CODE, PaperSwitches, changed_settings, data_parts

Shape = tuple[int, ...]
_ROOT = "PATH/TO/CAFFE_EMOTION/"


@dataclass(frozen=True)
class NetBuilder:
    """A net of the study: its definitions by switches and the factors of the faces, and facts about its training.

    Data files and paths in the definitions are placeholders.
    """

    train: Callable[[PaperSwitches, Sequence[int]], pb.NetParameter]
    deploy: Callable[[PaperSwitches, int], pb.NetParameter]
    solver: Callable[[PaperSwitches], pb.SolverParameter]
    sample_shapes: Callable[[PaperSwitches, int], tuple[Shape, Shape]]
    """Shapes of one sample's data and label."""
    switches: frozenset[str]
    """Names of the switches that change a definition or the solver."""
    shipped: tuple[str, str]
    """The authors' prototxts of net and solver, by their names among :func:`lq_emotion.prototxt.available`."""
    snapshot_name: str = "emotion"
    starts_from_sr: bool = False
    own_size: bool = False
    """Whether it takes faces at their own size where `PaperSwitches.input_size` is "own"."""
    predicts_valence: bool = True
    """Otherwise its output is an image."""

    def is_changed_by(self, switch: str, value: object) -> bool:
        """Return whether a setting other than the code's changes the definition or the solver."""
        return switch in self.switches and (switch, value) != ("normalisation", "file")  # that is done to the data


def _solver(net: str, **fields: Any) -> pb.SolverParameter:
    """Return a solver as the authors write them: momentum 0.9, a fixed rate, their placeholders for paths."""
    common = {"base_lr": 0.01, "weight_decay": 0.0005, "test_iter": [100], "test_interval": 1000}
    return pb.SolverParameter(
        net=_ROOT + net,
        lr_policy="fixed",
        momentum=0.9,
        display=100,
        solver_mode=pb.SolverParameter.GPU,
        **{"snapshot_prefix": f"{_ROOT}Snapshot/emotion", **common, **fields},
    )


def _emotion_solver(net: str, max_iter: int, snapshot: int, switches: PaperSwitches) -> pb.SolverParameter:
    """Return the solver of a net of valence.

    With `lr_on_plateau` the rate is divided by ten when the validation loss stops falling. The policy is then
    "multistep" without a step: whoever watches the tests adds the steps, ``trained.param.stepvalue.append(...)`` on the
    running `Solver`.
    """
    message = _solver(f"Experiments/network/{net}.prototxt", max_iter=max_iter, snapshot=snapshot)
    if switches.lr_on_plateau:
        message.lr_policy, message.gamma = "multistep", 0.1
    return message


def _sr_solver(switches: PaperSwitches) -> pb.SolverParameter:
    """Return the solver, at a constant rate in paper and code; how often it tests and saves the paper does not say."""
    by_paper = switches.sr_schedule == "paper"  # section 4: one decay for all CNNs, 30,000 iterations at 0.01
    return _solver(
        "Pretrain_net.prototxt",
        max_iter=30000 if by_paper else 500000,
        snapshot=10000 if by_paper else 50000,
        base_lr=0.01 if by_paper else 0.0001,
        weight_decay=0.0005 if by_paper else 0,
        test_iter=[556],
        test_interval=500,
        snapshot_prefix=f"{_ROOT}Pretrain/Snapshot/Pretrain",
    )


def _cnn_d(net: Net, file: str, max_iter: int, **facts: Any) -> NetBuilder:
    return NetBuilder(
        train=lambda switches, factors: cnn_d(net, switches=switches, factors=factors),
        deploy=lambda switches, factor: cnn_d_deploy(switches=switches, factor=factor),
        solver=partial(_emotion_solver, f"model_{file}", max_iter, 1000),
        sample_shapes=sample_shapes,
        switches=SWITCHES,
        shipped=_shipped(file),
        own_size=True,
        **facts,
    )


def _shipped(file: str) -> tuple[str, str]:
    return f"experiments/network/model_{file}.prototxt", f"experiments/solver/solver_{file}.prototxt"


_BUILDERS: Mapping[str, NetBuilder] = MappingProxyType(
    {
        Net.SCRATCH: _cnn_d(Net.SCRATCH, "1F_CNN+D", 30000),
        Net.JOINT: _cnn_d(Net.JOINT, "1F_CNN+D_vlqr", 60000, starts_from_sr=True),
        Net.NON_JOINT: NetBuilder(
            train=lambda switches, _factors: non_joint(switches=switches),
            deploy=lambda switches, _factor: non_joint_deploy(switches=switches),
            solver=partial(_emotion_solver, "model_1F_CNN+D_vlqr_non_joint", 120000, 10000),
            sample_shapes=sample_shapes,
            switches=SWITCHES | {"separate_regressor"},
            shipped=_shipped("1F_CNN+D_vlqr_non_joint"),
            starts_from_sr=True,
        ),
        Net.SR_FCN: NetBuilder(
            train=lambda switches, _factors: sr_fcn(switches=switches),
            deploy=lambda switches, _factor: sr_fcn_deploy(switches=switches),
            solver=_sr_solver,
            sample_shapes=lambda switches, _factor: patch_shapes(switches),
            switches=frozenset(("convolutions", "sr_schedule", "loss")),
            shipped=("pretrain/Pretrain_net.prototxt", "pretrain/Pretrain_solver.prototxt"),
            snapshot_name="Pretrain",
            predicts_valence=False,
        ),
    }
)


def builder(net: str) -> NetBuilder:
    """Return the builder of a net; refuse a name that is not one of `Net`."""
    if net not in _BUILDERS:
        raise NetError("unknown net", code="name-unknown", field="net", value=net, hint=f"one of {', '.join(Net)}")
    return _BUILDERS[net]


def settings(net: str, switches: PaperSwitches, factors: Sequence[int] = (1,)) -> dict[str, Any]:
    """Return the settings of switches that the definitions of a net depend on, without those of the authors' code.

    Several factors are for a mixture of sizes.
    """
    own_size = {"input_size": "own"} if max(factors) > 1 else {}
    other = changed_settings(switches)
    return own_size | {name: value for name, value in other.items() if builder(net).is_changed_by(name, value)}


def parts(name: str, value: object) -> tuple[str, ...]:
    """Return what a setting of a switch changes: stages of the study, and the training of nets; () for the code's."""
    if value == getattr(AS_CODE, name):
        return ()
    return (*data_parts(name, value), *(f"train {net}" for net in Net if builder(net).is_changed_by(name, value)))


def factors_of(net: str, switches: PaperSwitches, sides: Sequence[int]) -> tuple[int, ...]:
    """Return how many times smaller than 96 x 96 the images of a training are; `sides` are those of its files' images.

    Sizes that the net does not take are refused.
    """
    if switches.input_size != "own" or not builder(net).own_size:
        return (1,)  # the net itself refuses any other size
    for side in sides:
        if side < 1 or SIZE % side:
            problem = f"images are {side} x {side}, {net} takes {SIZE} x {SIZE}"
            raise DataError(problem, code="shape-mismatch", hint=f"or {SIZE} divided by a whole number")
    return tuple(sorted({SIZE // side for side in sides}))
