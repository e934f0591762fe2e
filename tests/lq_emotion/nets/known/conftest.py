"""Wheels that stand for those of the Python registry, and the published weights where they are."""

import dataclasses
import hashlib
import io
import zipfile

import h5py
import numpy as np
import pytest
import torch

from lq_emotion.nets.known import installation
from lq_emotion.nets.known.model import find_model
from lq_emotion.nets.known.recognition import known_shapes

MINI_XCEPTION, MTCNN = find_model("mini-xception"), find_model("mtcnn")
PUBLISHED = {
    ("mini-xception", "mini-xception"): "mini_xception/deploy",
    ("mtcnn", "det1"): "mtcnn/det1",
    ("mtcnn", "det2"): "mtcnn/det2",
    ("mtcnn", "det3"): "mtcnn/det3",
    ("ultra-light-rfb", "ultra-light-rfb"): "ultra_light/RFB-320",
    ("ultra-light-slim", "ultra-light-slim"): "ultra_light/slim-320",
    ("libfacedetection", "libfacedetection"): "libfacedetection/v2",
    ("libfacedetection-v1", "libfacedetection-v1"): "libfacedetection/v1",
}
"""The model and the net of each published definition; its weights have the same name, mini-XCEPTION's ``weights``."""


@pytest.fixture(scope="session")
def published(reference):
    """Nets with the weights that their authors published."""
    return reference / "published"


def keras_file():
    """Return the bytes of a Keras file with mini-XCEPTION's arrays, random."""
    random, content = np.random.default_rng(0), io.BytesIO()
    shapes = known_shapes(MINI_XCEPTION.parts[0])
    with h5py.File(content, "w") as file:

        def put(layer, name, shape):
            file[f"model_weights/{layer}/{layer}_1/{name}:0"] = random.random(shape, np.float32)

        for layer, blobs in shapes.items():
            if layer.startswith("separable") and not layer.endswith("_"):
                put(layer, "depthwise_kernel", np.array(blobs[0])[[2, 3, 0, 1]])
                put(layer, "pointwise_kernel", np.array(shapes[f"{layer}_"][0])[[2, 3, 1, 0]])
            elif layer.startswith("conv2d"):
                put(layer, "kernel", np.array(blobs[0])[[2, 3, 1, 0]])
                if len(blobs) > 1:
                    put(layer, "bias", blobs[1])
            elif layer.startswith("batch") and not layer.endswith("s"):
                for name in ("moving_mean", "moving_variance", "gamma", "beta"):
                    put(layer, name, blobs[0])
    return content.getvalue()


def torch_file(part):
    """Return the bytes of a state_dict with a net's arrays in facenet-pytorch's shapes and names."""
    names = {"conv4-1": "conv4_1", "conv4-2": "conv4_2"} if part == "det1" else {}
    if part == "det2":
        names = {"conv4": "dense4", "conv5-1": "dense5_1", "conv5-2": "dense5_2"}
    if part == "det3":
        names = {"conv5": "dense5", "conv6-1": "dense6_1", "conv6-2": "dense6_2", "conv6-3": "dense6_3"}
    state, content = {}, io.BytesIO()
    net = next(net for net in MTCNN.parts if net.name == part)
    for layer, blobs in known_shapes(net).items():
        for kind, shape in zip(("weight", "bias"), blobs, strict=False):
            state[f"{names.get(layer, layer).lower()}.{kind}"] = torch.rand(shape)
    torch.save(state, content)
    return content.getvalue()


def wheel(folder, package, files):
    """Write a wheel; return the package with its hash."""
    path = folder / f"{package.name.replace('-', '_')}-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, package.licence: b"MIT License\n"}.items():
            archive.writestr(name, content)
    return dataclasses.replace(package, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """A folder with wheels of made-up weights."""
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="session")
def mini_xception(wheels):
    """The record of mini-XCEPTION, with a wheel of made-up weights."""
    package = MINI_XCEPTION.package
    return dataclasses.replace(
        MINI_XCEPTION, package=wheel(wheels, package, {package.files["mini-xception"]: keras_file()})
    )


@pytest.fixture(scope="session")
def mtcnn(wheels):
    """The record of MTCNN, with a wheel of made-up weights."""
    package = MTCNN.package
    files = {file: torch_file(part) for part, file in package.files.items()}
    return dataclasses.replace(MTCNN, package=wheel(wheels, package, files))


@pytest.fixture
def no_download(monkeypatch):
    """Fail where something is downloaded."""

    def download(package, folder):
        raise AssertionError(f"{package.name} would be downloaded")

    monkeypatch.setattr(installation, "download", download)
