"""The CCC loss is 1 minus the CCC of the scores, with its gradient."""

import pytest
import torch

from lq_emotion.metrics.regression import CONVENTIONS, ccc
from lq_emotion.training.losses import ccc_loss
from tests.refusals import refused


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_loss_is_1_minus_ccc(convention):
    torch.manual_seed(0)
    a, b = torch.randn(2, 128, 1, dtype=torch.float64)
    assert 1 - ccc_loss(a, b, convention).item() == pytest.approx(ccc(a.numpy(), b.numpy(), convention), abs=1e-14)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_gradient_equals_finite_differences(convention):
    torch.manual_seed(1)
    a = torch.randn(7, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ccc_loss(x, torch.linspace(-1, 1, 7), convention), a)


def test_a_constant_prediction_has_a_gradient():
    a = torch.full((8, 1), 0.2, requires_grad=True)
    loss = ccc_loss(a, torch.linspace(-1, 1, 8))
    assert loss.item() == pytest.approx(1)
    loss.backward()
    assert a.grad.abs().max() > 0


def test_two_equal_constants_have_a_finite_gradient():
    a = torch.zeros(4, requires_grad=True)
    loss = ccc_loss(a, torch.zeros(4))
    loss.backward()
    assert loss.item() == 1
    assert torch.isfinite(a.grad).all()


def test_gradient_descent_ends_in_agreement():
    gold = torch.linspace(-0.5, 0.5, 16)
    a = torch.linspace(0.3, 0.4, 16).requires_grad_()
    optimiser = torch.optim.SGD([a], lr=0.5)
    for _ in range(300):
        optimiser.zero_grad()
        ccc_loss(a, gold, "population").backward()
        optimiser.step()
    assert ccc_loss(a, gold, "population").item() < 1e-3


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.0], [1.0]), ([1.0], [1.0])])
def test_too_few_or_unequal_values_are_refused(a, b):
    with refused("wrong-count"):
        ccc_loss(torch.tensor(a), torch.tensor(b))


def test_an_unknown_convention_is_refused_with_a_list_of_conventions():
    with refused("name-unknown", field="convention", hint="avec, population, sample"):
        ccc_loss(torch.zeros(4), torch.zeros(4), "lin")
