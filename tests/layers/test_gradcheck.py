"""Every layer type that has a gradient, in float64, against differences of its values."""

import pytest
import torch

from caffe_compat.build.net import build_net
from caffe_compat.formats.text import parse_text
from caffe_compat.layers import REGISTRY
from caffe_compat.layers.recurrent import RecurrentModule
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.test_contract import EXAMPLES, _message_field, example_text
from tests.nets import build_graph

NONE = {
    "Accuracy": "counts",
    "ArgMax": "has none in Caffe",
    "HDF5Output": "has no tops",
    "Python": "is the caller's code",
    "Silence": "has no tops",
    "Split": "is no computation",
    "Threshold": "is flat",
}
"""Types with no gradient to check, and why."""
POSITIVE = {"Log", "MultinomialLogisticLoss"}
DIFFERS = {"Dropout": "TEST"}
"""Types whose values are not those of a fixed function in the example's phase, and the phase to check instead."""


@pytest.mark.parametrize("type_", sorted(t for t, layer in REGISTRY.items() if t not in NONE and not layer.is_data))
def test_the_gradient_is_that_of_the_values(type_: str) -> None:
    example = EXAMPLES[type_]
    message = parse_text(example_text(type_, example.text, _message_field(type_)), pb.NetParameter)
    net = build_net(build_graph(message, phase=DIFFERS.get(type_, example.phase)), seed=3).double()
    generator = torch.Generator().manual_seed(5)
    given = {}
    for blob in net.inputs:
        value = torch.randn(net.caffe.shapes[blob], generator=generator, dtype=torch.float64)
        if blob in example.labels or (example.classes and blob == "x1"):
            value = torch.randint(
                0, example.labels.get(blob, example.classes), value.shape, generator=generator
            ).double()
        elif type_ in POSITIVE:
            value = value.abs() + 0.5
        given[blob] = value
    free = [b for b in net.inputs if b not in example.labels and not (example.classes and b == "x1")]
    parameters = [p for p in net.parameters() if p.requires_grad]

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for module in net.modules():
            if isinstance(module, RecurrentModule):
                module.reset()
        outputs = net.forward_dict(given | dict(zip(free, tensors, strict=False)))
        return tuple(value for value in outputs.values() if value.requires_grad)

    inputs = tuple(given[b].clone().requires_grad_() for b in free)
    assert torch.autograd.gradcheck(run, (*inputs, *parameters), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)
