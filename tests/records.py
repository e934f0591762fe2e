"""Replaying what genuine Caffe recorded: nets of one layer, forward and backward."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.build.weights import caffe_blobs, tensor_of
from caffe_compat.formats.files import read_net


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


class Replay:
    """One recorded case, run through load_net."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = np.load(folder / "record.npz")
        self.case = json.loads((folder / "case.json").read_text())
        self.net: CaffeNet = load_net(
            folder / "net.prototxt", folder / "weights.caffemodel", phase=self.case["phase"], losses=True
        )
        for slot in self.net.params:  # the records hold gradients of statistics as well; those we have none for
            slot.tensor.grad = None
        self.inputs = {b: torch.from_numpy(self.record[f"in/{b}"]).requires_grad_() for b in self.net.inputs}
        for _ in range(self.case["forwards"]):
            self.blobs = self.net.every_blob(self.inputs)

    def outputs(self) -> list[Difference]:
        return [
            difference(key, self.blobs[key[4:]].detach().numpy(), self.record[key])
            for key in self.record.files
            if key.startswith("out/")
        ]

    def gradients(self) -> list[Difference]:
        if not (self.net.losses or read_net(self.folder / "net.prototxt").force_backward):
            return []  # Caffe computes no gradient of what no loss depends on: the record holds zeros
        tops = [self.blobs[k[5:]] for k in self.record.files if k.startswith("seed/")]
        seeds = [torch.from_numpy(self.record[k]) for k in self.record.files if k.startswith("seed/")]
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
