"""The net of HR and LR-s: CNN+D, trained from its fillers."""

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
    schedule = Schedule("Experiments/network/model_1F_CNN+D.prototxt", max_iter=30000, snapshot=1000)
    return solver(schedule, lr_on_plateau=switches.lr_on_plateau)


BUILDER = NetBuilder(
    train=partial(cnn_d_or_mixed, Net.SCRATCH),
    deploy=deploy,
    solver=_solver,
    sample_shapes=sample_shapes,
    switches=SWITCHES,
    shipped=("experiments/network/model_1F_CNN+D.prototxt", "experiments/solver/solver_1F_CNN+D.prototxt"),
    own_size=True,
)
