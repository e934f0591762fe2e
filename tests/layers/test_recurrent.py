"""RNN, LSTM and LSTMUnit against the transcription: indicators, static input, exposed states, passes in a row."""

import numpy as np
import pytest
import torch

from caffe_compat.build.net import build_net
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import agree, single
from tests.nets import build_graph
from tests.refusals import refused

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


def test_a_unit_is_one_step():
    agree(
        single("LSTMUnit", [(1, 3, 2), (1, 3, 8), (1, 3)], "", ["c", "h"]), labels={"x2": np.array([[1, 0, 0.5]], "f4")}
    )


def test_reset_forgets():
    net = build_net(
        build_graph(
            parse_text(
                single(
                    "LSTM", [(2, 1, 3), (2, 1)], "recurrent_param { num_output: 2 weight_filler { type: 'xavier' } }"
                ),
                pb.NetParameter,
            )
        ),
        seed=0,
    )
    x, cont = torch.ones(2, 1, 3), torch.ones(2, 1)
    first, second = net(x, cont), net(x, cont)
    assert not torch.equal(first, second)
    net.l.reset()
    assert torch.equal(net(x, cont), first)


@pytest.mark.parametrize(
    ("shapes", "body", "tops", "code", "field"),
    [
        ([(4, 2, 3), (4, 2)], "", 1, "out-of-range", "recurrent_param.num_output"),
        ([(4, 2, 3), (4, 3)], "num_output: 2", 1, "shape-mismatch", "bottom"),
        ([(4, 2, 3), (4, 2), (3, 5)], "num_output: 2", 1, "shape-mismatch", "bottom"),
        ([(4, 2, 3), (4, 2)], "num_output: 2 expose_hidden: true", 1, "wrong-count", "bottom"),
        ([(4, 2, 3), (4, 2), (1, 2, 2), (1, 2, 3)], "num_output: 2 expose_hidden: true", 3, "shape-mismatch", "bottom"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, body, tops, code, field):
    text = single("LSTM", shapes, f"recurrent_param {{ {body} }}", [f"y{i}" for i in range(tops)])
    with refused(code, field=field):
        build_graph(parse_text(text, pb.NetParameter))
