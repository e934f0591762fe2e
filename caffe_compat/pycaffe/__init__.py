"""A drop-in replacement for ``import caffe``: BVLC Caffe 1.0's Python package on torch.

``python -m caffe_compat.pycaffe script.py`` runs an unchanged script whose ``import caffe`` finds this package.
"""

from caffe_compat.layers import REGISTRY
from caffe_compat.pycaffe import io, net_spec, proto
from caffe_compat.pycaffe.blob import Blob, BlobVec
from caffe_compat.pycaffe.classifier import Classifier
from caffe_compat.pycaffe.detector import Detector
from caffe_compat.pycaffe.finder import install, uninstall
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.mode import (
    NCCL,
    CaffeError,
    Timer,
    has_nccl,
    init_log,
    log,
    set_device,
    set_exact,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from caffe_compat.pycaffe.net import Net
from caffe_compat.pycaffe.net_spec import NetSpec, layers, params, to_proto
from caffe_compat.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)
from caffe_compat.schema.caffe_pb2 import TEST, TRAIN

__version__ = "1.0.0"

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "CaffeError",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "Timer",
    "get_solver",
    "has_nccl",
    "init_log",
    "install",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_exact",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
    "uninstall",
]


def layer_type_list() -> list[str]:
    """Return the names of all layer types."""
    return sorted(REGISTRY)
