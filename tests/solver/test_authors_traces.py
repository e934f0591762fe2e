"""The authors' nets, trained from their own definitions, follow genuine Caffe's recorded runs."""

import numpy as np
import pytest
import torch

from caffe_compat.build.weights import caffe_blobs
from caffe_compat.formats.files import read_net
from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from lq_emotion.prototxt import path
from tests.conftest import SLOW_WITHOUT_NUMBA
from tests.records import noted_operators

EXPERIMENTS = "experiments/network/model_1F_CNN+D"
CASES = {
    "cnn_d": (f"{EXPERIMENTS}.prototxt", "faces.txt", 16, "cnn_d.caffemodel"),
    "vlqr": (f"{EXPERIMENTS}_vlqr.prototxt", "faces.txt", 16, "vlqr_init.caffemodel"),
    "vlqr_non_joint": (f"{EXPERIMENTS}_vlqr_non_joint.prototxt", "faces.txt", 16, "vlqr_init.caffemodel"),
    "pretrain": ("pretrain/Pretrain_net.prototxt", "patches.txt", 32, "sr_fcn.caffemodel"),
}
# Loss for loss, relative; sampled weights after eight iterations, relative to the largest of the blob.
# Measured: losses 2.3e-6, weights 5.7e-6 (cnn_d, where the loss falls fastest). With Caffe's order of sums every weight is
# equal in every bit. The loss itself, a sum that nothing depends on, is added up in torch's order (1.2e-7).
LIMITS = {"modules": (1e-4, 1e-5), "compiled": (1e-4, 1e-5), "exact": (2e-6, 0.0)}


def solver(name, nets, *, sums="compiled"):
    """The recorded settings: smaller batches and rates than the authors', dropout off so that runs can be compared."""
    prototxt, source, batch, weights = CASES[name]
    net = read_net(path(prototxt))
    for layer in net.layer:
        if layer.type == "HDF5Data":
            layer.hdf5_data_param.source = str(nets / source)
            layer.hdf5_data_param.batch_size = batch
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = 0
    pretrain = name == "pretrain"
    param = pb.SolverParameter(
        net_param=net,
        base_lr=2e-7 if pretrain else 1e-3,
        momentum=0.9,
        weight_decay=0 if pretrain else 5e-4,
        lr_policy="fixed",
        weights=[str(nets / weights)],
    )
    return Solver(param, exact=sums == "exact", fast=sums == "compiled")


@pytest.mark.parametrize(
    ("name", "sums"),
    [
        *((name, "compiled") for name in CASES),
        ("vlqr_non_joint", "modules"),
        pytest.param("cnn_d", "exact", marks=SLOW_WITHOUT_NUMBA),
        *(pytest.param(name, "modules", marks=pytest.mark.slow) for name in ("cnn_d", "vlqr", "pretrain")),
        *(pytest.param(name, "exact", marks=pytest.mark.slow) for name in ("vlqr", "vlqr_non_joint", "pretrain")),
    ],
)
def test_losses_and_weights_are_caffes(name, sums, nets, monkeypatch):
    operators = noted_operators(monkeypatch)
    loss_limit, weight_limit = LIMITS[sums]
    record = np.load(nets / f"{name}_trace.npz")
    trained = solver(name, nets, sums=sums)
    before = {layer: [blob.clone() for blob in blobs] for layer, blobs in caffe_blobs(trained.net).items()}
    found = []
    for _ in record["loss"]:
        trained.step(1)
        found.append(float(trained.outputs["loss"]))
    assert bool(operators) == (sums == "compiled" and bool(vector_lengths()))
    assert np.max(np.abs(np.array(found) - record["loss"]) / np.abs(record["loss"])) <= loss_limit
    after = caffe_blobs(trained.net)
    for key in record.files:
        kind, _, blob = key.partition("/")
        if kind not in {"after_sample", "moved"}:
            continue
        layer, index = blob.split("/")
        old, new = before[layer][int(index)], after[layer][int(index)]
        if kind == "after_sample":
            sample = new.numpy().ravel()[record[f"after_index/{blob}"]]
            assert np.abs(sample - record[key]).max() <= weight_limit * float(new.abs().max()), key
        elif record[key] == 0:
            assert torch.equal(old, new), key  # frozen: not by one bit
        else:
            moved = float((new.double() - old.double()).norm())
            assert moved == pytest.approx(float(record[key]), rel=1e-3), key


def test_frozen_layers_cost_no_gradient(nets):
    trained = solver("vlqr_non_joint", nets)
    trained.step(1)
    learned = {item.layer for item in trained.net.params if item.tensor.grad is not None}
    assert learned == {"fc4", "fc5"}
