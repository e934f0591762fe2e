"""Learning rates are those of Caffe's seven policies, rounded where Caffe rounds."""

import math

import numpy as np
import pytest

from caffe_compat.errors import ProblemsError
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.policy import POLICIES, check_policy, rate
from tests.refusals import refused


def solver(policy, **fields):
    return pb.SolverParameter(lr_policy=policy, base_lr=0.01, **fields)


def rates(param, iterations, step=0):
    found = []
    for iteration in iterations:
        value, step = rate(param, iteration, step)
        assert np.float32(value) == value
        found.append(value)
    return found


def near(values):
    return pytest.approx(values, rel=3e-7)


def test_fixed_is_the_base_rate_as_a_float():
    assert rates(solver("fixed"), [0, 10**6]) == [float(np.float32(0.01))] * 2


def test_step_divides_the_iterations():
    param = solver("step", gamma=0.5, stepsize=7)
    assert rates(param, [0, 6, 7, 13, 14]) == near([0.01, 0.01, 0.005, 0.005, 0.0025])
    assert rate(param, 14, 0)[1] == 2


def test_exp_decays_every_iteration():
    assert rates(solver("exp", gamma=0.75), [0, 1, 20]) == near([0.01, 0.0075, 0.01 * 0.75**20])


def test_inv_falls_with_a_power():
    param = solver("inv", gamma=0.05, power=0.75)
    assert rates(param, [0, 10, 100]) == near([0.01, 0.01 * 1.5**-0.75, 0.01 * 6.0**-0.75])


def test_multistep_moves_at_the_step_values():
    param = solver("multistep", gamma=0.1, stepvalue=[2, 4, 5])
    assert rates(param, range(7)) == near([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-5, 1e-5])


def test_multistep_moves_one_step_an_iteration_from_the_step_it_is_in():
    param = solver("multistep", gamma=0.1, stepvalue=[2, 4, 5])
    assert [rate(param, 9, step)[1] for step in (0, 1, 2, 3)] == [1, 2, 3, 3]


def test_poly_reaches_zero_at_the_last_iteration():
    param = solver("poly", power=2, max_iter=100)
    assert rates(param, [0, 50, 100]) == near([0.01, 0.0025, 0])


def test_sigmoid_is_half_at_the_step_size():
    param = solver("sigmoid", gamma=-0.1, stepsize=50)
    assert rates(param, [50, 60]) == near([0.005, 0.01 / (1 + math.e)])


def test_powers_of_floats_stay_float_and_integer_powers_are_rounded_once():
    inv = solver("inv", gamma=0.0001, power=0.75)
    one = np.float32(1)
    expected = np.float32(0.01) * np.power(one + np.float32(0.0001) * np.float32(777), np.float32(-0.75))
    assert rate(inv, 777, 0)[0] == expected
    exp = solver("exp", gamma=0.9)
    assert rate(exp, 5, 0)[0] == np.float32(float(np.float32(0.01)) * float(np.float32(0.9)) ** 5)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_accepted_with_what_it_reads(name):
    check_policy(solver(name, gamma=0.1, power=1, stepsize=1, stepvalue=[1], max_iter=1))


def test_unknown_policy_is_refused_with_the_nearest():
    with refused("name-unknown", field="lr_policy", value="steps", hint="'step'"):
        check_policy(solver("steps"))
    with refused("field-missing", field="lr_policy", hint="fixed, step"):
        check_policy(pb.SolverParameter())


def test_fields_a_policy_cannot_use_are_refused_together():
    with pytest.raises(ProblemsError) as caught:
        check_policy(solver("step", gamma=-1))
    assert [(error.code, error.field, error.value) for error in caught.value.problems] == [
        ("out-of-range", "gamma", -1),
        ("out-of-range", "stepsize", 0),
    ]
    with refused("out-of-range", field="max_iter", value=0):
        check_policy(solver("poly", power=1))
