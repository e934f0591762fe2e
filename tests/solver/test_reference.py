"""Training agrees with a slow transcription of Caffe's SGD, and the transcription with what genuine Caffe recorded."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.build.weights import caffe_blobs, read_weights
from caffe_compat.formats.files import read_net, read_solver
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from caffe_compat.solver.update import Updater
from tests.reference.caffe_sgd import SGD
from tests.reference.caffe_solver import train


def rows(folder, listed="list.txt"):
    """The columns of all listed files behind each other."""
    files = [h5py.File(folder / name) for name in (folder / listed).read_text().split()]
    return {column: np.concatenate([file[column][:] for file in files]) for column in files[0]}


@pytest.mark.parametrize("name", ["sgd_fixed", "sgd_iter_size", "sgd_clip", "sgd_l1", "sgd_frozen_conv"])
def test_the_transcription_trains_as_caffe_recorded(golden, name):
    folder = golden / "solvers" / name
    record = np.load(folder / "record.npz")
    layers, solver = read_net(folder / "train.prototxt").layer, read_solver(folder / "solver.prototxt")
    steps = train(layers, read_weights(folder / "init.caffemodel"), rows(folder), 8, solver, len(record["loss"]))
    compared = set()
    for i, (losses, net) in enumerate(steps):
        assert losses[-1] == pytest.approx(record["loss"][i], rel=5e-6)
        for layer in net.layers:
            for j, blob in enumerate(layer.blobs):
                key = f"iter{i + 1}/{layer.param.name}/{j}"
                if key in record.files:
                    compared.add(key)
                    wanted = record[key]
                    assert np.abs(blob - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1e-3), key
    assert compared == {key for key in record.files if key.startswith("iter")}


multipliers = st.sampled_from([1.0, 0.0, 2.0, 0.5])


@settings(max_examples=100)
@given(
    mults=st.lists(st.tuples(multipliers, multipliers), min_size=1, max_size=4),
    fields=st.fixed_dictionaries(
        {
            "momentum": st.sampled_from([0.0, 0.5, 0.9]), "weight_decay": st.sampled_from([0.0, 0.0005, 0.5]),
            "regularization_type": st.sampled_from(["L1", "L2"]), "clip_gradients": st.sampled_from([-1.0, 0.0, 0.5, 100.0]),
            "iter_size": st.integers(1, 3),
        }
    ),
    rates=st.lists(st.sampled_from([0.1, 0.01, 1.0]), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_updates_of_any_definition(mults, fields, rates, seed):
    rng = np.random.default_rng(seed)
    blobs = [rng.integers(-2, 3, (3, 2)).astype("f8") for _ in mults]
    solver = pb.SolverParameter(type="SGD", **fields)
    ours = [
        SimpleNamespace(tensor=torch.tensor(b, requires_grad=m[0] != 0), lr_mult=m[0], decay_mult=m[1])
        for b, m in zip(blobs, mults, strict=True)
    ]
    updater = Updater(solver, ours)
    rule = SGD(
        blobs, *zip(*mults, strict=True), momentum=solver.momentum, weight_decay=solver.weight_decay,
        regularization=solver.regularization_type, clip=solver.clip_gradients, iter_size=solver.iter_size,
    )  # fmt: skip
    for iteration, rate in enumerate(rates):
        diffs = [rng.standard_normal(b.shape) * (m[0] != 0) for b, m in zip(blobs, mults, strict=True)]
        for item, diff in zip(ours, diffs, strict=True):
            item.tensor.grad = torch.tensor(diff) if item.lr_mult else None
        updater.apply(rate, iteration)
        rule.update(diffs, rate)
        for item, blob, history, wanted in zip(ours, blobs, updater.history, rule.history, strict=True):
            np.testing.assert_allclose(item.tensor.detach().numpy(), blob, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(history.numpy(), wanted, rtol=1e-5, atol=1e-6)


NET = """
layer { name: "feed" type: "HDF5Data" top: "x" top: "t" hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "n" type: "LRN" bottom: "p" top: "n" lrn_param { alpha: 0.1 } }
layer { name: "a" type: "InnerProduct" bottom: "n" top: "a" param { name: "w" } param { name: "v" }
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "d" type: "InnerProduct" bottom: "p" top: "d" param { name: "w" } param { name: "v" }
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "e" type: "Eltwise" bottom: "a" bottom: "d" top: "e" eltwise_param { coeff: 1 coeff: 0.5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "e" bottom: "t" top: "loss" }
layer { name: "extra" type: "EuclideanLoss" bottom: "a" bottom: "d" top: "extra" loss_weight: 0.1 }
"""


@pytest.mark.parametrize(
    "fields", ["", "iter_size: 2", "clip_gradients: 0.3 iter_size: 3", 'regularization_type: "L1" weight_decay: 0.01']
)
def test_a_net_of_many_layers_trains_the_same(folder, fields):
    rng = np.random.default_rng(0)
    with h5py.File("a.h5", "w") as file:
        file["x"] = rng.standard_normal((10, 2, 6, 6)).astype("f4")
        file["t"] = rng.integers(0, 3, 10).astype("f4")
    (folder / "list.txt").write_text("a.h5\n")
    (folder / "net.prototxt").write_text(NET)
    decay = "" if "weight_decay" in fields else "weight_decay: 0.005"
    (folder / "solver.prototxt").write_text(
        f'net: "net.prototxt" base_lr: 0.05 momentum: 0.9 {decay} lr_policy: "fixed" max_iter: 12 random_seed: 3 snapshot_after_train: false {fields}'
    )
    definition = read_solver(folder / "solver.prototxt")
    solver = Solver(definition)
    start = {name: [b.numpy().copy() for b in blobs] for name, blobs in caffe_blobs(solver.net).items()}
    steps = train([node.spec.param for node in solver.net.caffe.nodes], start, rows(folder), 4, definition, 12)
    for _, net in steps:
        solver.step(1)
        ours = caffe_blobs(solver.net)
        for layer in net.layers:
            for i, blob in enumerate(layer.blobs):
                gap = np.abs(ours[layer.param.name][i].numpy() - blob).max() / max(np.abs(blob).max(), 0.1)
                assert gap <= 1e-4, (layer.param.name, i, gap)
