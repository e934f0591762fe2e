"""Choose the device that nets run on."""

from __future__ import annotations

import torch

from caffe_compat.errors import SolverError
from lq_emotion.common.settings import DEVICES


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name; ``auto`` is the first CUDA device, or the CPU if there is none."""
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SolverError("no such device", code="name-unknown", field="--device", value=name, hint=DEVICES) from None
    if device.type not in {"cpu", "cuda"}:
        raise SolverError("is not supported", code="unsupported", field="--device", value=name, hint=DEVICES)
    if device.type == "cuda" and (device.index or 0) >= count:
        problem = f"this machine has {count} CUDA devices"
        raise SolverError(problem, code="out-of-range", field="--device", value=name, hint="--device cpu")
    return device
