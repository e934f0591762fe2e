"""The net of Joint-s and Joint-OA: CNN+D from super-resolution weights, whose convolutions learn on slowly."""

from __future__ import annotations

from functools import partial

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.builder import NetBuilder
from lq_emotion.nets.cnn_d import SWITCHES, deploy, sample_shapes
from lq_emotion.nets.mixed import cnn_d_or_mixed
from lq_emotion.nets.names import Net
from lq_emotion.nets.solvers import Schedule, solver
from lq_emotion.nets.switches import PaperSwitches


def _solver(switches: PaperSwitches) -> pb.SolverParameter:
    schedule = Schedule("Experiments/network/model_1F_CNN+D_vlqr.prototxt", max_iter=60000, snapshot=1000)
    return solver(schedule, lr_on_plateau=switches.lr_on_plateau)


BUILDER = NetBuilder(
    train=partial(cnn_d_or_mixed, Net.JOINT),
    deploy=deploy,
    solver=_solver,
    sample_shapes=sample_shapes,
    switches=SWITCHES,
    shipped=("experiments/network/model_1F_CNN+D_vlqr.prototxt", "experiments/solver/solver_1F_CNN+D_vlqr.prototxt"),
    starts_from_sr=True,
    own_size=True,
)
