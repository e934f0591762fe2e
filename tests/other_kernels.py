"""A pytest plugin: torch's matrix products and convolutions round as those of some other processor might.

    python -m pytest -p tests.other_kernels

No result of a BLAS is promised to the last bit: it changes with the processor, the shape, and the place of an output in
its matrix. The plugin moves every output by up to two roundings, by a pattern of its shape and place, so that a test that
compares bits of torch's own products fails on the machine at hand and not only on somebody else's. Values of few digits
(whole 4096ths) stay: their sums are the same in every order. Processes that tests start are not moved, so that
tests/lq_emotion/studies/robust_lq/test_rate_distortion.py, which compares with one, fails.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

PRODUCTS = (
    (F, ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")),
    (torch, ("matmul", "mm", "addmm", "bmm", "baddbmm")),
    (torch.Tensor, ("matmul", "mm", "__matmul__", "addmm", "bmm")),
)


def _moved(value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point() or not value.numel() or torch.compiler.is_compiling():
        return value
    place = torch.arange(value.numel(), dtype=torch.int64).mul_(2654435761).add_(40503 * sum(value.shape))
    roundings = (place.bitwise_right_shift_(13) % 5 - 2).view(value.shape) * ((value * 4096) % 1 != 0)
    return value + (value.detach() * roundings.to(value.dtype) * torch.finfo(value.dtype).eps / 2)


def _other(function):
    @functools.wraps(function)
    def product(*args, **kwargs):
        return _moved(function(*args, **kwargs))

    return product


def pytest_configure() -> None:
    for owner, names in PRODUCTS:
        for name in names:
            setattr(owner, name, _other(getattr(owner, name)))
