"""Well-known nets train an iteration as their hand-written twins in torch do: loss, gradients, updated weights."""

import h5py
import numpy as np
import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.definition.netspec import layers as L
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from tests.twins import by_hand, definitions

SOLVER = 'base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" max_iter: 1 snapshot_after_train: false random_seed: 3'
CASES = [
    pytest.param("lenet", by_hand.LeNet, (8, 1, 28, 28), 10, id="lenet"),
    pytest.param("googlenet", by_hand.GoogLeNet, (2, 3, 224, 224), 1000, id="googlenet", marks=pytest.mark.slow),
]


def solver(name, shape, classes, folder):
    """A solver on one random batch."""
    rng = np.random.default_rng(1)
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"] = rng.standard_normal(shape).astype("f4")
        file["label"] = rng.integers(0, classes, shape[0]).astype("f4")
    (folder / "list.txt").write_text("data.h5\n")
    param = parse_text(SOLVER, pb.SolverParameter)
    feed = lambda: L.HDF5Data(source="list.txt", batch_size=shape[0], ntop=2)  # noqa: E731
    param.net_param.CopyFrom(getattr(definitions, name)(feed))
    with h5py.File(folder / "data.h5") as file:
        return (
            Solver(param, base_dir=folder),
            torch.from_numpy(file["data"][:]),
            torch.from_numpy(file["label"][:]).long(),
        )


@torch.no_grad()
def copy_parameters(slots, twin):
    for parameter, slot in zip(twin.parameters(), slots, strict=True):
        parameter.copy_(slot.blob.to_caffe(slot.tensor))


def close(ours, theirs, tolerance):
    """Within `tolerance` of the largest magnitude: sums of products are added up in other orders."""
    return float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


@pytest.mark.parametrize(("name", "twin", "shape", "classes"), CASES)
def test_an_iteration_is_that_of_the_twin(name, twin, shape, classes, tmp_path):
    ours, data, label = solver(name, shape, classes, tmp_path)
    hand = twin()
    slots = list(ours.net.params)
    assert [tuple(p.shape) for p in hand.parameters()] == [s.blob.shape for s in slots]
    copy_parameters(slots, hand)
    groups = [
        {"params": [parameter], "lr": 0.01 * slot.lr_mult, "weight_decay": 0.0005 * slot.decay_mult}
        for parameter, slot in zip(hand.parameters(), slots, strict=True)
    ]
    assert {slot.lr_mult for slot in slots} == {1, 2}
    sgd = torch.optim.SGD(groups, momentum=0.9)
    before = [parameter.detach().clone() for parameter in hand.parameters()]

    torch.manual_seed(7)
    losses = hand(data, label)
    loss = sum(weight * value for weight, value in losses)
    loss.backward()
    torch.manual_seed(7)
    ours.step(1)

    actual = [float(ours.outputs[blob]) for blob, _ in ours.net.losses]
    assert actual == pytest.approx([value.item() for _, value in losses], rel=1e-5)
    assert float(ours.net.total_loss(ours.outputs)) == pytest.approx(loss.item(), rel=1e-5)
    sgd.step()
    # Sums are rounded otherwise (weights are kept channels last), and near ties of max pooling then fall the other way:
    # in GoogLeNet 12 of 2.8 million. Each takes its gradient elsewhere, up to 4 % of a blob's largest. Large nets' gradients
    # are compared in float64 below.
    small = data[0].numel() < 5000
    for parameter, slot, old in zip(hand.parameters(), slots, before, strict=True):
        assert not small or close(slot.blob.to_caffe(slot.tensor.detach()), parameter.detach(), 1e-5), slot.key
        assert not torch.equal(parameter, old), f"{slot.key} of the twin did not move"
        assert not torch.equal(slot.blob.to_caffe(slot.tensor.detach()), old), f"{slot.key} did not move"


@pytest.mark.parametrize(("name", "twin", "shape", "classes"), CASES)
def test_gradients_in_float64_are_those_of_the_twin(name, twin, shape, classes):
    """In float32 the larger of two almost equal values may be the other one, and take the gradient elsewhere."""
    feed = lambda: L.Input(shape=[{"dim": shape}, {"dim": shape[:1]}], ntop=2)  # noqa: E731
    net = load_net(getattr(definitions, name)(feed), phase="TRAIN", seed=0).double()
    hand = twin().double()
    copy_parameters(net.params, hand)
    data, label = torch.randn(shape, dtype=torch.float64), torch.randint(0, classes, shape[:1])
    torch.manual_seed(7)
    sum(weight * value for weight, value in hand(data, label)).backward()
    torch.manual_seed(7)
    net.total_loss(net.forward_dict({"data": data, "label": label.double()})).backward()
    assert net.params
    for parameter, slot in zip(hand.parameters(), net.params, strict=True):
        assert close(slot.blob.to_caffe(slot.tensor.grad), parameter.grad, 1e-12), slot.key
