"""RNN, LSTM and LSTMUnit against the transcription: indicators, static input, exposed states, passes in a row."""

import numpy as np
import pytest
import torch

from tests.layers.agreement import agree, single
from tests.nets import build_net

CONT = {"x1": np.array([[1, 0], [1, 1], [0, 1], [0.5, 1]], "f4")}
STATES = {"LSTM": 2, "RNN": 1}


@pytest.mark.parametrize("forwards", [1, 2])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("type_", STATES)
def test_a_pass_starts_where_the_last_ended(type_, static, forwards):
    shapes = [(4, 2, 3, 2), (4, 2), *[(2, 5)] * static]
    agree(single(type_, shapes, "recurrent_param { num_output: 3 }"), labels=CONT, forwards=forwards)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("type_", STATES)
def test_exposed_states_come_in_and_go_out_without_gradients(type_, static):
    states = STATES[type_]
    shapes = [(4, 2, 3), (4, 2), *[(2, 5)] * static, *[(1, 2, 3)] * states]
    body = "recurrent_param { num_output: 3 expose_hidden: true }"
    agree(single(type_, shapes, body, ["y", "h", "c"][: 1 + states]), labels=CONT, forwards=2)


def test_an_lstm_unit_is_one_step():
    text = single("LSTMUnit", [(1, 3, 2), (1, 3, 8), (1, 3)], "", ["c", "h"])
    agree(text, labels={"x2": np.array([[1, 0, 0.5]], "f4")})


def test_a_reset_forgets_the_states():
    body = "recurrent_param { num_output: 2 weight_filler { type: 'xavier' } }"
    net = build_net(single("LSTM", [(2, 1, 3), (2, 1)], body))
    x, cont = torch.ones(2, 1, 3), torch.ones(2, 1)
    first, second = net(x, cont), net(x, cont)
    assert not torch.equal(first, second)
    net.l.reset()
    assert torch.equal(net(x, cont), first)
