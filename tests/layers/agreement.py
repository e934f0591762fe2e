"""Running one net twice: as the product computes it, and as the transcription in tests/reference does."""

import copy
from dataclasses import dataclass

import numpy as np
import torch

from caffe_compat.build.exact import sum_as_caffe
from caffe_compat.build.net import build_net
from caffe_compat.build.weights import caffe_blobs, copy_weights
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.nets import build_graph
from tests.records import difference
from tests.reference.caffe_forks import ForkMessage
from tests.reference.caffe_net import Net

EXACT = 1e-10
"""float64: the same sums in another order."""
ROUNDED = 2e-5
"""float32 against float64, of the largest magnitude."""


@dataclass(frozen=True)
class Values:
    """Where inputs come from: `grid` draws small integers, so that many are equal and many are 0."""

    seed: int = 0
    grid: bool = False

    def draw(self, rng, shape):
        if self.grid:
            return rng.integers(-2, 3, shape).astype("f4")
        return rng.standard_normal(shape).astype("f4")


def inputs_of(net_message):
    """The shapes of the Input layers' tops."""
    return {layer.top[0]: tuple(layer.input_param.shape[0].dim) for layer in net_message.layer if layer.type == "Input"}


def single(type_, shapes, body="", tops=("y",), extra=""):
    """The text of a net of one layer `l` with bottoms x0, x1, ..."""
    lines = [
        f'layer {{ name: "in{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {" ".join(f"dim: {d}" for d in shape)} }} }} }}'
        for i, shape in enumerate(shapes)
    ]
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(shapes)))
    names = " ".join(f'top: "{top}"' for top in tops)
    return "\n".join([*lines, f'layer {{ name: "l" type: "{type_}" {bottoms} {names} {body} {extra} }}'])


def agree(
    text,
    *,
    phase="TEST",
    values=Values(),
    labels=None,
    feed=None,
    forwards=1,
    dtype=torch.float64,
    tolerance=None,
    masks=(),
    fork=None,
):
    """Compare every blob, every input's and every parameter's gradient, and the blobs afterwards, three ways:

    the transcription, ``every_blob`` (a node per layer), and the fused ``forward``; for 2-d convolutions also the
    ``exact`` net. `labels` gives inputs that are labels: blob -> array. `masks` are Dropout layers whose mask is taken
    from what the product drew.
    """
    message = parse_text(text, pb.NetParameter)
    tolerance = tolerance or (EXACT if dtype == torch.float64 else ROUNDED)
    net = build_net(build_graph(message, phase=phase, fork=fork), seed=0)
    rng = np.random.default_rng(values.seed)
    blobs = {
        name: [
            np.abs(values.draw(rng, b.shape)) + 0.5 if _statistic(net, name) else values.draw(rng, b.shape)
            for b in given
        ]
        for name, given in caffe_blobs(net).items()
    }
    copy_weights(net, blobs)
    blobs = {name: [b.numpy().copy() for b in given] for name, given in caffe_blobs(net).items()}  # shared ones once
    net = net.to(dtype)
    shapes = inputs_of(message) | (feed or {})
    data = {blob: values.draw(rng, shape) for blob, shape in shapes.items()} | (labels or {})
    plain, fused = _Run(net, data, dtype), _Run(copy.deepcopy(net), data, dtype)
    exact = _Run(copy.deepcopy(net), data, dtype)
    sum_as_caffe(exact.net)

    torch.manual_seed(1)
    for _ in range(forwards):
        tops = plain.net.every_blob(plain.inputs)
    reference = Net([message_of(node.spec) for node in net.caffe.nodes], blobs, phase)
    for layer in masks:
        bottom, top = reference.layer(layer).param.bottom[0], reference.layer(layer).param.top[0]
        assert (tops[bottom] != 0).all()
        reference.layer(layer).mask = (tops[top] != 0).numpy()
    for _ in range(forwards):
        expected = reference.forward(data)
    assert feed or {blob: value.shape for blob, value in expected.items()} == net.caffe.shapes
    _same("every_blob", tops, expected, tolerance)

    seeds = {blob: values.draw(rng, expected[blob].shape) for blob in net.returns if expected[blob].dtype.kind == "f"}
    seeds = {blob: seed for blob, seed in seeds.items() if tops[blob].requires_grad and blob not in dict(net.losses)}
    gradients = reference.backward(seeds)
    parameters = {(slot.layer, slot.index): reference.layer(slot.layer).diffs[slot.index] for slot in net.params}
    blobs_after = {(layer.param.name, i): b for layer in reference.layers for i, b in enumerate(layer.blobs)}
    plain.backward(tops, seeds)
    plain.check("every_blob", gradients, parameters, blobs_after, tolerance)
    for name, run in (("fused", fused), ("exact", exact)):
        torch.manual_seed(1)
        for _ in range(forwards):
            outputs = run.net.forward_dict(run.inputs)
        _same(name, outputs, {blob: expected[blob] for blob in net.returns}, tolerance)
        run.backward(outputs, seeds)
        run.check(name, gradients, parameters, blobs_after, tolerance)


def message_of(spec):
    return ForkMessage(spec.param, spec.added, f"{spec.fork} {spec.param.type}") if spec.fork else spec.param


def _statistic(net, layer):
    return any(node.name == layer and node.type in ("BatchNorm", "BN") for node in net.caffe.nodes)


def _same(what, ours, expected, tolerance):
    for blob, value in expected.items():
        actual = ours[blob].detach().numpy()
        assert actual.shape == value.shape, f"{what} {blob}: {actual.shape} is not {value.shape}"
        _near(f"{what} {blob}", actual, value, tolerance)


def _near(what, actual, expected, tolerance):
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), err_msg=what)
    gap = difference(what, np.nan_to_num(actual), np.nan_to_num(np.asarray(expected)))
    assert gap.relative <= tolerance, str(gap)


class _Run:
    def __init__(self, net, data, dtype):
        self.net = net
        self.inputs = {b: torch.from_numpy(np.array(v)).to(dtype).requires_grad_() for b, v in data.items()}

    def backward(self, tops, seeds):
        roots = [(tops[blob], torch.from_numpy(np.array(seed)).to(tops[blob].dtype)) for blob, seed in seeds.items()]
        roots += [(tops[blob], torch.full_like(tops[blob], weight)) for blob, weight in self.net.losses]
        roots = [(top, seed) for top, seed in roots if top.requires_grad]
        if roots:
            torch.autograd.backward(*zip(*roots, strict=True))

    def check(self, what, gradients, parameters, blobs_after, tolerance):
        for blob, x in self.inputs.items():
            actual = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
            _near(f"{what} gradient of {blob}", actual, gradients[blob], tolerance)
        for slot in self.net.params:
            expected = parameters[slot.layer, slot.index]
            grad = slot.tensor.grad
            actual = np.zeros(expected.shape) if grad is None else slot.blob.to_caffe(grad).numpy()
            _near(f"{what} gradient of {slot.key}", actual, expected, tolerance)
        for name, given in caffe_blobs(self.net).items():
            for i, blob in enumerate(given):
                _near(f"{what} blob {name}/{i} afterwards", blob.numpy(), blobs_after[name, i], tolerance)
