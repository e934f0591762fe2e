"""Weights of other libraries as Caffe's blobs: Keras's mini-XCEPTION and facenet-pytorch's MTCNN.

Arrays are rearranged and not computed with: every value keeps its bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Blobs = dict[str, list[Array]]


def keras_mini_xception(file: BinaryIO, _part: str) -> Blobs:
    """Read mini-XCEPTION from Keras HDF5 (HWIO; depthwise: height, width, channel, 1): blobs (OIHW) by layer.

    A normalisation's mean and variance go to BatchNorm, whose third blob, the factor that both are divided by, is 1;
    gamma and beta go to Scale.
    """
    import h5py

    blobs: Blobs = {}
    with h5py.File(file, "r") as content:
        for layer, group in content["model_weights"].items():
            arrays = {name.partition(":")[0]: np.asarray(a, np.float32) for name, a in _datasets(group).items()}
            if "moving_mean" in arrays:
                blobs[layer] = [arrays["moving_mean"], arrays["moving_variance"], np.ones(1, np.float32)]
                blobs[f"{layer}s"] = [arrays["gamma"], arrays["beta"]]
            elif "depthwise_kernel" in arrays:
                blobs[layer] = [arrays["depthwise_kernel"].transpose(2, 3, 0, 1)]
                blobs[f"{layer}_"] = [arrays["pointwise_kernel"].transpose(3, 2, 0, 1)]
            elif "kernel" in arrays:
                blobs[layer] = [arrays["kernel"].transpose(3, 2, 0, 1), *(arrays[n] for n in arrays if n == "bias")]
    return blobs


def _datasets(group: Any) -> dict[str, Any]:
    """Return the arrays below a group by the last part of their names."""
    arrays: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            arrays[name.rpartition("/")[2]] = item[...]

    group.visititems(visit)
    return arrays


_DENSE = {"det2": {"dense4": (3, 3, 64)}, "det3": {"dense5": (3, 3, 128)}}
_NAMES = {
    "det1": {"conv4_1": "conv4-1", "conv4_2": "conv4-2", "prelu1": "PReLU1", "prelu2": "PReLU2", "prelu3": "PReLU3"},
    "det2": {"dense4": "conv4", "dense5_1": "conv5-1", "dense5_2": "conv5-2"},
    "det3": {"dense5": "conv5", "dense6_1": "conv6-1", "dense6_2": "conv6-2", "dense6_3": "conv6-3"},
}


def facenet_mtcnn(file: BinaryIO, part: str) -> Blobs:
    """Read P-Net, R-Net or O-Net (``det1``, ``det2``, ``det3``) from facenet-pytorch's state_dict: blobs by layer.

    The file's kernels are for upright images, and its first fully connected layer takes (width, height, channel); the
    blobs are for transposed images, as published: rows and columns exchanged, and (channel, width, height).
    """
    import torch

    state = torch.load(file, map_location="cpu", weights_only=True)
    blobs: Blobs = {}
    for key, tensor in state.items():
        layer = key.rpartition(".")[0]
        array = tensor.numpy().astype(np.float32)
        if array.ndim == 4:
            array = array.transpose(0, 1, 3, 2)
        elif array.ndim == 2 and layer in _DENSE.get(part, {}):
            array = array.reshape(-1, *_DENSE[part][layer]).transpose(0, 3, 1, 2).reshape(len(array), -1)
        blobs.setdefault(_NAMES[part].get(layer, layer), []).append(np.ascontiguousarray(array))
    return blobs


READERS: Mapping[str, Callable[[BinaryIO, str], Blobs]] = MappingProxyType(
    {"keras_mini_xception": keras_mini_xception, "facenet_mtcnn": facenet_mtcnn}
)
"""Readers by the name of the format in models.toml."""
