"""Updates follow Caffe's order: accumulate, clip, divide by iter_size, decay, rule, subtract."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import rules
from caffe_compat.solver.update import Updater
from tests.refusals import refused


@dataclass
class Param:
    tensor: torch.Tensor
    lr_mult: float = 1.0
    decay_mult: float = 1.0


def param(*values, lr_mult=1.0, decay_mult=1.0):
    return Param(torch.tensor(values, requires_grad=True), lr_mult, decay_mult)


def solver(kind="SGD", **fields):
    return pb.SolverParameter(type=kind, **fields)


def give(item, *grad):
    item.tensor.grad = torch.tensor(grad)


def values(item):
    return item.tensor.detach().tolist()


def near(expected):
    return pytest.approx(expected, rel=1e-6)


def test_momentum_carries_the_rate_inside_the_history():
    item = param(1.0)
    updater = Updater(solver(momentum=0.5), [item])
    give(item, 2.0)
    updater.apply(0.1, 0)
    assert (values(item), updater.history[0].tolist()) == (near([0.8]), near([0.2]))
    give(item, 2.0)
    updater.apply(0.01, 1)  # the old rate goes on in the history
    assert (values(item), updater.history[0].tolist()) == (near([0.68]), near([0.12]))


def test_multipliers_scale_rate_and_decay_of_their_parameter_only():
    first, second = param(1.0), param(1.0, lr_mult=2, decay_mult=0)
    updater = Updater(solver(weight_decay=0.5), [first, second])
    give(first, 1.0)
    give(second, 1.0)
    updater.apply(0.1, 0)
    assert values(first) == near([1 - 0.1 * 1.5])
    assert values(second) == near([1 - 0.2])


def test_l1_adds_the_sign():
    item = param(4.0, -4.0, 0.0)
    give(item, 0.0, 0.0, 0.0)
    Updater(solver(weight_decay=0.5, regularization_type="L1"), [item]).apply(0.1, 0)
    assert values(item) == near([3.95, -3.95, 0.0])


def test_the_clip_sees_all_gradients_before_division_and_decay():
    first, second = param(1.0), param(2.0)
    updater = Updater(solver(weight_decay=1.0, clip_gradients=1.0, iter_size=2), [first, second])
    give(first, 3.0)
    give(second, 4.0)
    assert updater.apply(0.1, 0) == (5.0, near(0.2))
    assert values(first) == near([1 - 0.1 * (0.6 / 2 + 1)])
    assert values(second) == near([2 - 0.1 * (0.8 / 2 + 2)])


@pytest.mark.parametrize("limit", [-1.0, 5.0, 6.0])
def test_nothing_is_clipped_up_to_the_limit(limit):
    item = param(0.0, 0.0)
    updater = Updater(solver(clip_gradients=limit), [item])
    give(item, 3.0, 4.0)
    assert updater.apply(1.0, 0) is None
    assert values(item) == [-3.0, -4.0]


def test_a_parameter_without_a_gradient_still_decays():
    item = param(1.0)
    Updater(solver(weight_decay=0.5), [item]).apply(0.1, 0)
    assert values(item) == near([0.95])


def test_a_frozen_parameter_does_not_move_by_one_bit():
    item = param(0.1, lr_mult=0)
    updater = Updater(solver(weight_decay=0.5, momentum=0.9), [item])
    updater.apply(0.1, 0)
    assert torch.equal(item.tensor, torch.tensor([0.1]))
    assert updater.updates == [None]


def test_a_restored_history_goes_on_moving_a_parameter_frozen_since():
    item = param(1.0, lr_mult=0)
    updater = Updater(solver(momentum=0.5), [item])
    updater.history[0].fill_(0.2)
    updater.regroup()
    updater.apply(0.1, 0)
    assert values(item) == near([0.9])


def test_decay_of_a_frozen_parameter_enters_an_adaptive_history_as_in_caffe():
    item = param(2.0, lr_mult=0)
    updater = Updater(solver("AdaGrad", weight_decay=0.5), [item])
    updater.apply(0.1, 0)
    assert values(item) == [2.0]
    assert updater.history[0].tolist() == [1.0]


def one_by_one(kind, grads, rate, fields):
    """The update rules in double, one number, as Caffe's *_solver.cpp compute them."""
    delta, momentum = fields.get("delta", 1e-8), fields.get("momentum", 0.0)
    weight, h, h2 = 1.0, 0.0, 0.0
    for t, g in enumerate(grads, 1):
        if kind == "Nesterov":
            old, h = h, momentum * h + rate * g
            weight -= (1 + momentum) * h - momentum * old
        elif kind == "AdaGrad":
            h += g * g
            weight -= rate * g / (math.sqrt(h) + delta)
        elif kind == "RMSProp":
            h = fields["rms_decay"] * h + (1 - fields["rms_decay"]) * g * g
            weight -= rate * g / (math.sqrt(h) + delta)
        elif kind == "AdaDelta":
            h = momentum * h + (1 - momentum) * g * g
            update = g * math.sqrt((delta + h2) / (delta + h))
            h2 = momentum * h2 + (1 - momentum) * update * update
            weight -= rate * update
        elif kind == "Adam":
            b2 = fields["momentum2"]
            h = momentum * h + (1 - momentum) * g
            h2 = b2 * h2 + (1 - b2) * g * g
            weight -= rate * math.sqrt(1 - b2**t) / (1 - momentum**t) * h / (math.sqrt(h2) + delta)
    return weight, [h, h2][: rules.RULES[kind].histories]


CASES = {
    "Nesterov": {"momentum": 0.9},
    "AdaGrad": {"delta": 1e-3},
    "RMSProp": {"delta": 1e-3, "rms_decay": 0.9},
    "AdaDelta": {"delta": 1e-3, "momentum": 0.9},
    "Adam": {"momentum": 0.9, "momentum2": 0.99, "delta": 1e-3},
}


@pytest.mark.parametrize("kind", CASES)
def test_each_rule_equals_its_formula(kind):
    item = param(1.0)
    updater = Updater(solver(kind, **CASES[kind]), [item])
    grads = [0.5, -0.25, 2.0, 1.0, -3.0]
    for iteration, grad in enumerate(grads):
        give(item, grad)
        updater.apply(0.125, iteration)
    weight, history = one_by_one(kind, grads, 0.125, CASES[kind])
    assert values(item) == pytest.approx([weight], rel=2e-6)
    assert [float(value) for value in updater.history] == pytest.approx(history, rel=2e-6)


def test_histories_are_listed_all_firsts_then_all_seconds():
    items = [param(1.0, 2.0), param(3.0)]
    updater = Updater(solver("Adam", momentum=0.9), items)
    assert [tuple(value.shape) for value in updater.history] == [(2,), (1,), (2,), (1,)]


def test_a_channels_last_parameter_keeps_its_layout_and_history_follows():
    item = Param(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_())
    plain = Param(item.tensor.detach().clone(memory_format=torch.contiguous_format).requires_grad_())
    grad = torch.randn(2, 3, 4, 5)
    for each in (item, plain):
        updater = Updater(solver(momentum=0.9, weight_decay=0.1), [each])
        each.tensor.grad = grad.clone()
        updater.apply(0.1, 0)
    assert item.tensor.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(item.tensor, plain.tensor)


@pytest.mark.parametrize(
    ("fields", "code", "field", "hint"),
    [
        ({"type": "Adma"}, "name-unknown", "type", "'Adam'"),
        ({"type": "AdaGrad", "momentum": 0.5}, "conflict", "momentum", "remove it"),
        ({"type": "RMSProp", "rms_decay": 1.0}, "out-of-range", "rms_decay", ""),
        ({"regularization_type": "L3"}, "name-unknown", "regularization_type", "L1 or L2"),
        ({"iter_size": 0}, "out-of-range", "iter_size", "NaN"),
    ],
)
def test_definitions_that_cannot_work_are_refused(fields, code, field, hint):
    with refused(code, field=field, value=fields[field], hint=hint):
        rules.make_rule(pb.SolverParameter(**fields))


def test_products_are_float32():
    assert rules.product(0.1, 0.7) == np.float32(0.1) * np.float32(0.7)
