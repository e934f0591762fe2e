"""The states of recurrent layers."""

import torch

from tests.layers.agreement import single
from tests.nets import build_net


def test_a_reset_forgets_the_states():
    body = "recurrent_param { num_output: 2 weight_filler { type: 'xavier' } }"
    net = build_net(single("LSTM", [(2, 1, 3), (2, 1)], body))
    x, cont = torch.ones(2, 1, 3), torch.ones(2, 1)
    first, second = net(x, cont), net(x, cont)
    assert not torch.equal(first, second)
    net.l.reset()
    assert torch.equal(net(x, cont), first)
