"""The authors' ``generate_test.m``: cut patches for testing the SR net; `generate_train` with other settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matlab_ports.generate_train import Gray, Written, generate_train
from matlab_ports.randstream import RandStream


def generate_test(
    folder: str | Path = "Test/Set5",
    savepath: str | Path = "test_h5/test_lr12.h5",
    *,
    size_input: int = 32,
    size_label: int = 16,
    scale: int = 12,
    stride: int = 20,
    chunksz: int = 2,
    stream: RandStream | None = None,
    pattern: str | Sequence[str] = "*.bmp",
    gray: Gray = "error",
) -> Written:
    """Write the test file; parameters, return value and errors are those of `generate_train`."""
    return generate_train(
        folder,
        savepath,
        size_input=size_input,
        size_label=size_label,
        scale=scale,
        stride=stride,
        chunksz=chunksz,
        stream=stream,
        pattern=pattern,
        gray=gray,
    )
