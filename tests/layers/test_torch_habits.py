"""Nets do what users of torch expect of any module: types, memory formats, copies, compilation."""

import copy
import io
import pickle
import shutil

import pytest
import torch

from tests.layers.agreement import single
from tests.nets import build_net

XAVIER = 'weight_filler { type: "xavier" }'
NET = f"""
layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 dim: 9 dim: 9 }} }} }}
layer {{ name: "int" type: "Input" top: "t" input_param {{ shape {{ dim: 2 }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "x" top: "c1" convolution_param {{ num_output: 6 kernel_size: 3 pad: 1 {XAVIER} }} }}
layer {{ name: "b1" type: "BatchNorm" bottom: "c1" top: "c1" }}
layer {{ name: "s1" type: "Scale" bottom: "c1" top: "c1" scale_param {{ bias_term: true }} }}
layer {{ name: "r1" type: "ReLU" bottom: "c1" top: "c1" }}
layer {{ name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param {{ kernel_size: 2 stride: 3 pad: 1 }} }}
layer {{ name: "c2" type: "Convolution" bottom: "p1" top: "c2" convolution_param {{ num_output: 2 kernel_size: 3 pad: 1 {XAVIER} }} }}
layer {{ name: "g" type: "Pooling" bottom: "c2" top: "g" pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "g" top: "ip" param {{ name: "w" }} param {{ name: "b" }} inner_product_param {{ num_output: 4 {XAVIER} }} }}
layer {{ name: "ip2" type: "InnerProduct" bottom: "g" top: "ip2" param {{ name: "w" }} param {{ name: "b" }} inner_product_param {{ num_output: 4 {XAVIER} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "loss" }}
layer {{ name: "acc" type: "Accuracy" bottom: "ip" bottom: "t" top: "acc" }}
"""


@pytest.fixture
def net():
    return build_net(NET, phase="TRAIN")


@pytest.fixture
def batch():
    return torch.randn(2, 3, 9, 9), torch.tensor([1.0, 3.0])


def near(actual, expected, tolerance=1e-6):
    assert expected
    for blob, value in expected.items():
        torch.testing.assert_close(actual[blob].to(value.dtype), value, atol=tolerance, rtol=tolerance)


def learn(net, batch):
    """One pass forward and backward; the outputs, and the gradient of the first layer's weight."""
    outputs = net(*batch)
    net.total_loss(outputs).backward()
    return {**outputs, "gradient": net.c1.weight.grad}


@pytest.mark.parametrize("of", ["net", "input", "both"])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_the_memory_format_changes_no_result(net, batch, of, memory):
    expected = learn(copy.deepcopy(net), batch)
    x = batch[0].to(memory_format=memory) if of != "net" else batch[0]
    net = net.to(memory_format=memory) if of != "input" else net
    near(learn(net, (x, batch[1])), expected, 1e-5)


def test_inputs_need_not_be_contiguous(net, batch):
    expected = learn(copy.deepcopy(net), batch)
    x = batch[0].transpose(2, 3).contiguous().transpose(2, 3)
    near(learn(net, (x, batch[1])), expected, 1e-5)


def test_labels_may_be_integers(net, batch):
    expected = learn(copy.deepcopy(net), batch)
    near(learn(net, (batch[0], batch[1].long())), expected)


def test_float64_is_float32_with_more_digits(net, batch):
    expected = learn(copy.deepcopy(net), batch)
    actual = learn(net.double(), (batch[0].double(), batch[1].double()))
    assert {value.dtype for value in actual.values()} == {torch.float64}
    near(actual, expected, 1e-4)


@pytest.mark.parametrize("type_", [torch.bfloat16, torch.float16])
def test_under_autocast_losses_and_accuracies_stay_float32(net, batch, type_):
    expected = learn(copy.deepcopy(net), batch)
    with torch.autocast("cpu", type_):
        outputs = net(*batch)
        loss = net.total_loss(outputs)
    loss.backward()
    assert outputs["ip2"].dtype == type_
    assert outputs["loss"].dtype == outputs["acc"].dtype == torch.float32
    near({"loss": loss}, {"loss": expected["loss"].detach()}, 0.05)


@pytest.mark.parametrize("type_", [torch.bfloat16, torch.float16])
def test_a_net_of_half_precision_runs_forward_and_backward(net, batch, type_):
    expected = learn(copy.deepcopy(net), batch)
    actual = learn(net.to(type_), (batch[0].to(type_), batch[1].to(type_)))
    near({"loss": actual["loss"]}, {"loss": expected["loss"].detach()}, 0.05)


def test_classes_are_counted_past_what_half_precision_counts():
    net = build_net(single("Accuracy", [(1000, 2), (1000,)], tops=["y", "each"]), phase="TRAIN")
    scores = torch.tensor([[0.0, 1.0]]).repeat(1000, 1).bfloat16()
    labels = torch.cat([torch.zeros(300), torch.ones(700)])
    outputs = net(scores, labels)
    assert outputs["y"].item() == pytest.approx(0.7)
    assert outputs["each"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("copied", ["deepcopy", "torch.save"])
def test_a_copy_shares_within_itself_what_the_net_shares(net, batch, copied):
    if copied == "deepcopy":
        twin = copy.deepcopy(net)
    else:
        file = io.BytesIO()
        torch.save(net, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    assert twin.ip.weight is twin.ip2.weight
    assert twin.ip.weight is not net.ip.weight
    assert [slot.key for slot in twin.params] == [slot.key for slot in net.params]
    near(learn(twin, batch), learn(net, batch))


@pytest.mark.parametrize("shape", [(2, 6, 9), (2, 6, 9, 9), (2, 6, 5, 5, 5)])
@pytest.mark.parametrize("exact", [False, True])
def test_convolutions_of_two_bottoms_can_be_pickled(shape, exact):
    body = f"convolution_param {{ num_output: 4 kernel_size: 3 {XAVIER} }}"
    net = build_net(single("Convolution", [shape] * 2, body, ["y", "z"]), exact=exact)
    inputs = torch.randn(shape), torch.randn(shape)
    near(pickle.loads(pickle.dumps(net))(*inputs), net(*inputs))


def test_an_empty_batch_gives_empty_outputs():
    net = build_net(NET)
    outputs = net(torch.zeros(0, 3, 9, 9), torch.zeros(0))
    assert outputs["ip2"].shape == (0, 4)


def test_inference_mode_changes_no_output(batch):
    net = build_net(NET)
    expected = net(*batch)
    with torch.inference_mode():
        near(net(*batch), {blob: value.detach() for blob, value in expected.items()})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.skipif(
    " " in torch.__file__, reason="torch.compile does not quote the paths that it gives to the compiler"
)
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_net_gives_the_same_at_every_size(batch):
    net = build_net(NET)
    compiled = torch.compile(net)
    for x, t in (batch, (torch.randn(3, 3, 12, 10), torch.zeros(3))):
        near(compiled(x, t), net(x, t), 1e-5)
