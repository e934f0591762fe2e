"""Replaying what genuine Caffe recorded: small nets, forward and backward, on torch's modules and as compiled."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.build import operators
from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.build.weights import caffe_blobs, read_weights, tensor_of
from caffe_compat.formats.files import read_net
from caffe_compat.schema import caffe_pb2 as pb
from tests.golden_nets import GOLDEN

LAYERS = sorted((GOLDEN / "layers").iterdir())
FORKS = sorted(folder for folder in (GOLDEN / "forks").glob("*/*") if folder.is_dir())
CASES = [
    *(pytest.param(folder, id=folder.name) for folder in LAYERS),
    *(pytest.param(folder, id=f"{folder.parent.name}-{folder.name}") for folder in FORKS),
]
"""Recorded layers, forward and backward."""
RUNS = [
    pytest.param(folder, id=folder.name)
    for kind in ("solvers", "studies")
    for folder in sorted((GOLDEN / kind).iterdir())
]
"""Recorded training runs."""
FORWARD = 3e-6
"""Of the largest magnitude: sums of float32 in another order, and libm's last bit."""
BACKWARD = 2e-5
"""Of the largest magnitude: gradients add up more terms, in another order."""
BOTH_PATHS = pytest.mark.parametrize("fast", [False, True], ids=["modules", "compiled"])
"""A net as torch's modules compute it, and as load_net makes it fast."""


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart: largest absolute difference over the reference's largest magnitude, and where."""

    what: str
    relative: float
    absolute: float
    at: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.what}: max abs {self.absolute:.3g}, relative to the largest {self.relative:.3g}, at {self.at}"


def difference(what: str, ours: np.ndarray, recorded: np.ndarray, scale: float = 0.0) -> Difference:
    """Compare; `scale` is a magnitude the values are rounded against that is larger than theirs, if any."""
    a, b = np.asarray(ours, np.float64), np.asarray(recorded, np.float64)
    assert a.size == b.size, f"{what}: {a.shape} is not {b.shape}"
    if not a.size:
        return Difference(what, 0.0, 0.0, ())
    gap = np.abs(a.reshape(b.shape) - b)
    at = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    worst = float(gap.max())
    return Difference(what, worst / max(float(np.abs(b).max()), scale, 1e-3), worst, at)


def compiled_layers(net: CaffeNet) -> set[str]:
    """Return the layers that programs in C have computed in a net's passes so far."""
    segments = net._fast_net()._segments
    return {call.node.name for segment in segments if any(segment.programs.values()) for call in segment.calls}


def noted_operators(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the compiled operators that modules call in training, filled with every call."""
    calls: list[str] = []
    for name in ("convolve_few", "convolve_tiles"):
        operator = getattr(operators, name)
        monkeypatch.setattr(operators, name, lambda *args, n=name, f=operator: calls.append(n) or f(*args))
    return calls


def until(message: pb.NetParameter, blob: str) -> pb.NetParameter:
    """Return a net up to the last layer that writes a blob: the blob is an output there."""
    last = max(index for index, layer in enumerate(message.layer) if blob in layer.top)
    out = pb.NetParameter()
    out.CopyFrom(message)
    del out.layer[last + 1 :]
    return out


GIVEN = "_given"


def convolved_by_1(message: pb.NetParameter) -> tuple[pb.NetParameter, dict[str, list[np.ndarray]]]:
    """Return a net that first convolves each map that it is given by 1, and the weights that do so.

    Nets without a convolution are not compiled. After one that changes nothing, every layer is that a program can hold.
    """
    out, weights = pb.NetParameter(), {}
    out.CopyFrom(message)
    del out.layer[:]
    for layer in message.layer:
        out.layer.add().CopyFrom(layer)
        (shape,) = layer.input_param.shape if layer.type == "Input" else (pb.BlobShape(),)
        if len(shape.dim) != 4:
            continue
        blob, channels = layer.top[0], shape.dim[1]
        out.layer[-1].top[0] = blob + GIVEN
        name = f"{blob} by 1"
        convolution = out.layer.add(name=name, type="Convolution", bottom=[blob + GIVEN], top=[blob])
        convolution.convolution_param.MergeFrom(
            pb.ConvolutionParameter(num_output=channels, group=channels, kernel_size=[1], bias_term=False)
        )
        weights[name] = [np.ones((channels, 1, 1, 1), np.float32)]
    return out, weights


class Replay:
    """One recorded case.

    On torch's modules every blob is that of a pass layer by layer. As compiled, a net in TEST passes without gradients
    and a net in training with them, each by its own forward; blobs in its middle are outputs of the net cut off there.
    """

    def __init__(self, folder: Path, *, fast: bool = False) -> None:
        self.folder, self.fast = folder, fast
        self.fork = folder.parent.name if folder in FORKS else None
        self.record = np.load(folder / "record.npz")
        self.case = json.loads((folder / "case.json").read_text())
        self.message = read_net(folder / "net.prototxt")
        self.compiled: set[str] = set()
        self.net = self._load(self.message, folder / "weights.caffemodel")
        for slot in self.net.params:  # the records hold gradients of statistics as well; those we have none for
            slot.tensor.grad = None
        self.inputs = {b: torch.from_numpy(self.record[f"in/{b}"]).requires_grad_() for b in self.net.inputs}
        for _ in range(self.case["forwards"]):
            self.blobs = (self.net.forward_dict if fast else self.net.every_blob)(self.inputs)

    def _load(self, message: pb.NetParameter, weights: object) -> CaffeNet:
        return load_net(message, weights, phase=self.case["phase"], losses=True, fork=self.fork, fast=self.fast)

    def outputs(self) -> list[Difference]:
        blobs = [key[4:] for key in self.record.files if key.startswith("out/")]
        value = self._compiled_output if self.fast else self.blobs.__getitem__
        return [difference(f"out/{b}", value(b).detach().numpy(), self.record[f"out/{b}"]) for b in blobs]

    def _compiled_output(self, blob: str) -> torch.Tensor:
        """Return a blob as a net without gradients has it, in TEST in a program if it can be."""
        message = self.message if blob in self.net.returns else until(self.message, blob)
        weights = {name: blobs for name, blobs in read_weights(self.folder / "weights.caffemodel").items() if blobs}
        if self.case["phase"] == "TEST":
            message, ones = convolved_by_1(message)
            weights |= ones
        net = self._load(message, weights)
        with torch.inference_mode():
            for _ in range(self.case["forwards"]):
                tops = net.forward_dict({b: self.inputs[b.removesuffix(GIVEN)].detach() for b in net.inputs})
        self.compiled |= compiled_layers(net)
        return tops[blob]

    def functions(self) -> set[str]:
        """Return the layers that say what they compute, so that a program can hold them."""
        nodes = [node for node in self.net.caffe.nodes if node.layer.states("function")]
        return {node.name for node in nodes if node.layer.function(node.spec) is not None}

    def gradients(self) -> list[Difference]:
        seeded = [k[5:] for k in self.record.files if k.startswith("seed/") and self.blobs[k[5:]].requires_grad]
        tops = [self.blobs[blob] for blob in seeded]
        seeds = [torch.from_numpy(self.record[f"seed/{blob}"]) for blob in seeded]
        for blob, weight in self.net.losses:
            tops.append(self.blobs[blob])
            seeds.append(torch.full_like(self.blobs[blob], weight))
        torch.autograd.backward(tops, seeds)
        differences = [
            difference(key, self.inputs[key[5:]].grad.numpy(), self.record[key])
            for key in self.record.files
            if key.startswith("grad/") and key[5:] in self.inputs and self.inputs[key[5:]].grad is not None
        ]
        for slot in self.net.caffe.slots:
            key, grad = f"pgrad/{slot.layer}/{slot.index}", tensor_of(self.net, slot.key).grad
            if key in self.record.files and grad is not None:
                ours = slot.blob.to_caffe(grad).numpy()
                differences.append(difference(key, ours, self.record[key], self._largest_gradient(slot.layer)))
        return differences

    def _largest_gradient(self, layer: str) -> float:
        """A bias below a BatchNorm has gradient 0 up to rounding, which the layer's other gradients scale."""
        keys = [k for k in self.record.files if k.startswith(f"pgrad/{layer}/")]
        return max(float(np.abs(self.record[k]).max()) for k in keys)

    def after(self) -> list[Difference]:
        blobs = caffe_blobs(self.net)
        return [
            difference(key, blobs[layer][int(i)].numpy(), self.record[key])
            for key in self.record.files
            if key.startswith("after/")
            for _, layer, i in [key.split("/")]
        ]
