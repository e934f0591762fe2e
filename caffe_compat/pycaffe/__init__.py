"""A drop-in for ``import caffe``: the names, arguments and effects of BVLC Caffe 1.0's Python package, on torch.

``python -m caffe_compat.pycaffe script.py`` runs an unchanged script with ``import caffe`` resolving to this package.
"""

from caffe_compat.proto.caffe_pb2 import TEST, TRAIN
from caffe_compat.pycaffe import proto
from caffe_compat.pycaffe.mode import (
    NCCL,
    Timer,
    has_nccl,
    init_log,
    log,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)

__version__ = "1.0.0"

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "Timer",
    "has_nccl",
    "init_log",
    "log",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]
