"""Where nets run: the user's choice, or a CUDA device where there is one."""

from __future__ import annotations

import torch

from caffe_compat.errors import SolverError

_KINDS = "auto, cpu, cuda, cuda:1"


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name; ``auto`` is the first CUDA device, or the CPU where there is none.

    Raises
    ------
    SolverError
        There is no such device.
    """
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SolverError("no such device", field="--device", value=name, hint=_KINDS) from None
    if device.type not in {"cpu", "cuda"}:
        raise SolverError("is not supported", field="--device", value=name, hint=_KINDS)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise SolverError(f"there are {count} CUDA devices here", field="--device", value=name, hint="--device cpu")
    return device
