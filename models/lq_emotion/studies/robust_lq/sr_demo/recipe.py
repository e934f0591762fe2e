"""The demo's training: the authors' net and solver, made small enough for minutes; every change is listed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import lq_emotion.prototxt as prototxt
from caffe_compat.formats.files import parse_text, read_net, read_solver
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.training.settings import differences

NET = "pretrain/Pretrain_net.prototxt"
SOLVER = "pretrain/Pretrain_solver.prototxt"
DEPLOY = "matlabscripts/recon/deploy/SRCNN_net.prototxt"
AUTHORS_SCALE = 12
BORDER = 8  # pixels that the net's four 5 x 5 convolutions cut off on every side

# The shipped fillers and rate are made for 500,000 iterations. Measured at scale 3 on astronaut, where bicubic has
# 28.59 dB: as shipped, 100 iterations leave the output at a constant (11.7 dB); these settings get past bicubic in 100
# to 200 iterations and to 29.3 dB in 400. SGD with Xavier's filler, clipped gradients and rates of 0.001 to 0.005 stays
# below 28 dB for 200, Adam with the shipped filler below 25. At scale 12 (bicubic 21.08) these stay at 20.7 for 200.
WHY = "as shipped, made for 500,000 iterations, the net still gives a constant after a hundred"
_SOLVER_CHANGES = """
type: "Adam" momentum2: 0.999 base_lr: 0.0004 lr_policy: "step" stepsize: 200 gamma: 0.5
test_interval: 50 display: 1 snapshot: 50 solver_mode: CPU random_seed: 1
"""
_BATCH = 8
_FILLER = "xavier"
_TEST_PATCHES = 100  # about; each takes 10 ms, and every test uses all
_AUTHORS_TEST_STRIDE = 20


@dataclass(frozen=True)
class DemoRecipe:
    """What is trained and how.

    Attributes
    ----------
    net, solver : ready to run.
    changes : what differs from the authors' definitions, one phrase each.
    """

    net: pb.NetParameter
    solver: pb.SolverParameter
    changes: tuple[str, ...]


def test_stride(pixels: int) -> int:
    """Return how far apart the patches to test on are, for held-out images with this number of pixels in all."""
    return max(_AUTHORS_TEST_STRIDE, round(math.sqrt(pixels / _TEST_PATCHES)))


def make_recipe(*, scale: int, iterations: int, test_patches: int) -> DemoRecipe:
    """Return the recipe for a training in a folder with train.txt, test.txt, net.prototxt and snapshots/."""
    shipped_net, shipped_solver = read_net(prototxt.path(NET)), read_solver(prototxt.path(SOLVER))
    net, net_changes = _small_net(shipped_net)
    solver = pb.SolverParameter()
    solver.CopyFrom(shipped_solver)
    small = parse_text(_SOLVER_CHANGES, pb.SolverParameter)
    small.max_iter = iterations
    small.test_iter.append(test_patches // 2)
    for field, _ in small.ListFields():
        solver.ClearField(field.name)
    solver.MergeFrom(small)
    solver.net, solver.snapshot_prefix = "net.prototxt", "snapshots/sr_fcn"
    scales = () if scale == AUTHORS_SCALE else (f"scale: {AUTHORS_SCALE} -> {scale}",)
    return DemoRecipe(net, solver, (*scales, *net_changes, *differences(shipped_solver, solver)))


def _small_net(shipped: pb.NetParameter) -> tuple[pb.NetParameter, list[str]]:
    net = pb.NetParameter()
    net.CopyFrom(shipped)
    changes: dict[str, None] = {}  # a set that keeps its order
    for layer in net.layer:
        if layer.type == "HDF5Data":
            train = layer.include[0].phase == pb.TRAIN
            data = layer.hdf5_data_param
            data.source = "train.txt" if train else "test.txt"
            if train:
                changes[f"batch_size: {data.batch_size} -> {_BATCH}"] = None
                data.batch_size = _BATCH
        elif layer.type == "Convolution":
            filler = layer.convolution_param.weight_filler
            changes[f"weight_filler: {filler.type}, std {filler.std:g} -> {_FILLER}"] = None
            filler.CopyFrom(pb.FillerParameter(type=_FILLER))
    return net, list(changes)
