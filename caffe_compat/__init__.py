"""Run, convert, train and verify legacy Caffe networks on PyTorch.

>>> import caffe_compat
>>> net = caffe_compat.load_net("deploy.prototxt", "weights.caffemodel")  # doctest: +SKIP
"""

from caffe_compat.errors import CaffeCompatError
from caffe_compat.net import CaffeNet, load_net
from caffe_compat.weights import LoadReport, copy_weights, read_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "CaffeCompatError",
    "CaffeNet",
    "LoadReport",
    "__version__",
    "copy_weights",
    "load_net",
    "read_weights",
    "save_weights",
]
