"""The same network on the same images in several engines: ours, OpenCV and, if installed, a genuine Caffe."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.errors import NetError, WeightsError
from caffe_compat.formats.blobs import BlobStore
from caffe_compat.formats.files import format_text, write_binary
from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import SIZE
from lq_emotion.verify.networks import Network
from lq_emotion.verify.settings import BlobDifference
from lq_emotion.verify.weights import LoadedWeights

Batch = npt.NDArray[np.float32]
Blobs = dict[str, npt.NDArray[np.float32]]
Terms = Callable[[], Mapping[str, float]]
LIMIT = 1e-5
"""Engines agree if no value differs by more than this times the largest magnitude of its blob."""
ROUNDING = 1e-6
"""If the terms of a sum nearly cancel, the limit is this times the sum of their magnitudes."""
IMAGES = ("noise", "ramp", "checks", "face")


def fixed_inputs() -> Batch:
    """Return four images (4, 1, 96, 96), float32 from 0 to 1, of multiples of 2**-16.

    Noise; a ramp over both axes; a checkerboard of 8 x 8 that darkens downwards; two dark discs and a bar on a lighter
    one, with a little noise. Whole numbers and the raw words of PCG64 are the same everywhere.
    """
    rows, columns = np.mgrid[:SIZE, :SIZE]
    words = np.random.PCG64(1709_03126).random_raw(2 * SIZE * SIZE)
    noise = (words >> np.uint64(48)).astype(np.int64).reshape(2, SIZE, SIZE)
    ramp = (rows * 2 + columns) * 200
    checks = np.where((rows // 8 + columns // 8) % 2, 60000 - 500 * rows, 8000)
    face = np.where(_disc(rows - 48, columns - 48, 40), 45000, 15000)
    dark = _disc(rows - 38, columns - 34, 5) | _disc(rows - 38, columns - 62, 5)
    dark |= (abs(rows - 66) < 3) & (abs(columns - 48) < 14)
    face = np.where(dark, 12000, face) + noise[1] // 16
    whole = np.stack([noise[0], ramp, checks, face])
    return (whole / 65536).astype(np.float32)[:, None]


def _disc(rows: Any, columns: Any, radius: int) -> Any:
    return rows * rows + columns * columns <= radius * radius


def run_ours(weights: LoadedWeights, network: Network, inputs: Batch, device: torch.device) -> tuple[Blobs, Terms]:
    """Return every blob after a pass, and a function that computes the sums of magnitudes for `ROUNDING`."""
    net = load_net(network.definition, weights.layers)
    unfilled = net.meta["report"].left_at_filler
    assert not unfilled, f"recognised, yet nothing for {unfilled}"
    net = net.to(device)
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        blobs = net.every_blob({net.inputs[0]: torch.from_numpy(inputs).to(device)})
    return {name: value.cpu().numpy() for name, value in blobs.items()}, cache(partial(_magnitudes, net, blobs))


@torch.no_grad()
def _magnitudes(net: CaffeNet, blobs: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return, for each blob made of sums, the largest sum of its terms' magnitudes; pooling has that of its bottom."""
    terms: dict[str, float] = {}
    for node in net.caffe.nodes:
        if node.slots:
            module = copy.deepcopy(net.get_submodule(node.key))
            for parameter in module.parameters():
                parameter.abs_()
            terms[node.tops[0]] = float(module(blobs[node.bottoms[0]].abs()).max())
        elif node.type == "Pooling":
            terms[node.tops[0]] = terms[node.bottoms[0]]
    return terms


def deploy_text(network: Network, count: int) -> str:
    """Return a network's text for other engines: a legacy input, no dropout."""
    net = pb.NetParameter(name=network.definition.name)
    for layer in network.definition.layer:
        if layer.type == "Input":
            net.input.extend(layer.top)
            shape = net.input_shape.add()
            shape.dim.extend([count, *layer.input_param.shape[0].dim[1:]])
        elif layer.type != "Dropout":
            assert len(layer.bottom) == len(layer.top) == 1, layer.name
            net.layer.add().CopyFrom(layer)
    return format_text(net)


def last_layers(network: Network) -> dict[str, str]:
    """Return, for every blob, the last layer that writes it: relu1 for conv1, in place."""
    layers = ((layer, facts(layer.type)) for layer in network.definition.layer)
    computing = [layer for layer, kind in layers if not kind.identity_in_test and not kind.is_data]
    return {layer.top[0]: layer.name for layer in computing}


def caffemodel(weights: LoadedWeights, folder: Path) -> Path:
    """Return the file itself, or the blobs of HDF5 as a caffemodel in `folder`."""
    if weights.kind == "caffemodel":
        return weights.path
    message, store = pb.NetParameter(), BlobStore()
    for name, arrays in weights.layers.items():
        layer = message.layer.add(name=name)
        for array in arrays:
            store.attach(layer.blobs.add(), array)
    path = folder / "weights.caffemodel"
    write_binary(message, path, store)
    return path


def opencv() -> Any:
    """Return OpenCV's module for networks; refuse an OpenCV that reads no Caffe files."""
    hint = "pip install 'opencv-python>=4.10,<5'"
    try:
        import cv2
    except ImportError as error:
        problem = f"OpenCV, the second engine, cannot be imported: {error}"
        raise NetError(problem, code="dependency-missing", hint=hint) from None
    if not hasattr(getattr(cv2, "dnn", None), "readNetFromCaffe"):
        version = getattr(cv2, "__version__", "?")
        problem = f"OpenCV {version}, the second engine, has no importer for Caffe's files"
        raise NetError(problem, code="unsupported", hint=hint)
    return cv2


def run_opencv(weights: LoadedWeights, network: Network, inputs: Batch) -> Blobs:
    """Return every blob as OpenCV computes it, on the CPU, from the very bytes of the caffemodel."""
    cv2 = opencv()
    layers = last_layers(network)
    text = deploy_text(network, len(inputs)).encode()
    try:
        with TemporaryDirectory() as folder:
            content = caffemodel(weights, Path(folder)).read_bytes()
        net = cv2.dnn.readNetFromCaffe(np.frombuffer(text, np.uint8), np.frombuffer(content, np.uint8))
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        net.enableFusion(fusion=False)  # a fused ReLU would leave conv1 without its values
        if hasattr(net, "enableWinograd"):
            net.enableWinograd(useWinograd=False)  # adds up in another way, with larger errors
        net.setInput(inputs, "data")
        outputs = net.forward(list(layers.values()))
    except cv2.error as error:
        problem = f"OpenCV cannot run it: {' '.join(str(error).split())}"
        raise WeightsError(problem, code="unsupported", file=weights.name) from None
    return {blob: np.asarray(value) for blob, value in zip(layers, outputs, strict=True)}


def compare(ours: Blobs, theirs: Mapping[str, npt.NDArray[Any]], terms: Terms) -> list[BlobDifference]:
    """Return the difference of every blob that both have, in the net's order."""
    return [_difference(blob, ours[blob], theirs[blob], terms) for blob in ours if blob in theirs]


def _difference(blob: str, ours: npt.NDArray[Any], theirs: npt.NDArray[Any], terms: Terms) -> BlobDifference:
    a, b = ours.astype(np.float64), np.asarray(theirs, np.float64)
    largest = float(np.abs(a).max(initial=0.0))
    if a.size != b.size:
        return BlobDifference(blob, None, None, largest, (), agrees=False)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b.reshape(a.shape))
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), a.shape))  # a NaN counts as the largest
    absolute = float(apart[at])
    if not np.isfinite(absolute):
        return BlobDifference(blob, None, None, largest if np.isfinite(largest) else 0.0, at, agrees=False)
    relative = absolute / largest if largest else float(absolute > 0)
    agrees = relative <= LIMIT or absolute <= ROUNDING * terms().get(blob, 0.0)
    return BlobDifference(blob, absolute, relative, largest, at, agrees=agrees)
