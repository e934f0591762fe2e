"""Run, convert, train and verify legacy Caffe networks on PyTorch.

>>> import caffe_compat
>>> net = caffe_compat.load_net("deploy.prototxt", "weights.caffemodel")  # doctest: +SKIP
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caffe_compat.build.net import CaffeNet, load_net
    from caffe_compat.build.preprocess import Preprocessing, load_preprocessing, preprocessing_of, save_preprocessing
    from caffe_compat.build.weights import LoadReport, copy_weights, read_weights, save_weights
    from caffe_compat.errors import CaffeCompatError
    from caffe_compat.export.tensors import load_safetensors
    from caffe_compat.runtime.memory import keep_freed_memory

__version__ = "0.1.0"

__all__ = [
    "CaffeCompatError",
    "CaffeNet",
    "LoadReport",
    "Preprocessing",
    "__version__",
    "copy_weights",
    "keep_freed_memory",
    "load_net",
    "load_preprocessing",
    "load_safetensors",
    "preprocessing_of",
    "read_weights",
    "save_preprocessing",
    "save_weights",
]

# Torch's threads that wait for each other give their cores away after some 0.1 ms, not milliseconds: other programs may
# want them. libgomp reads this when torch is loaded. Giving them away at once takes up to 1.7 times the time.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")

_HOMES = {
    name: module
    for module, names in {
        "build.net": ("CaffeNet", "load_net"),
        "build.preprocess": ("Preprocessing", "load_preprocessing", "preprocessing_of", "save_preprocessing"),
        "build.weights": ("LoadReport", "copy_weights", "read_weights", "save_weights"),
        "errors": ("CaffeCompatError",),
        "export.tensors": ("load_safetensors",),
        "runtime.memory": ("keep_freed_memory",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: reading files alone needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
