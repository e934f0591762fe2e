"""HDF5Output: two bottoms written to a file, as the datasets ``data`` and ``label``.

Facts from BVLC Caffe 9b89154, hdf5_output_layer.cpp and util/hdf5.cpp: both are written with four axes at every forward
pass; a second pass finds the datasets already there and ends the program. Here its rows are appended.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.files import grown_hdf5, new_hdf5
from caffe_compat.layers.base import Account, Layer, LayerSpec, Shape, exactly, register
from caffe_compat.layers.facts import Gradient

if TYPE_CHECKING:
    import h5py

_NAMES = ("data", "label")


@register
class HDF5Output(Layer):
    """Two bottoms of every pass in one HDF5 file."""

    type = "HDF5Output"
    summary = "writes two bottoms to an HDF5 file"
    gradient = Gradient.STOPS
    bottoms = exactly(2)
    tops = exactly(0)
    has_effect = True
    inference = False
    accounts = {"hdf5_output_param": Account(read=("file_name",))}

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        name, bottoms = spec.param.hdf5_output_param.file_name, spec.bottoms
        if not name:
            yield spec.fault("must be given", "hdf5_output_param.file_name", code="field-missing")
        for number, shape in enumerate(bottoms):
            if not 1 <= len(shape) <= 4:
                yield spec.misfit(f"bottom {number} has {len(shape)} axes, expected 1 to 4")
        if all(bottoms) and bottoms[0][0] != bottoms[1][0]:
            yield spec.misfit(f"the bottoms must have the same number of rows, got {bottoms[0][0]} and {bottoms[1][0]}")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ()

    def module(self, spec: LayerSpec) -> nn.Module:
        return HDF5OutputModule(spec.param.hdf5_output_param.file_name)


class HDF5OutputModule(nn.Module):
    """Writes its inputs to a path relative to the working directory, as in Caffe.

    The first call creates the file, complete or not at all, and replaces an existing one. Later calls append to it;
    if that fails, the file is removed.
    """

    _is_impure = True  # torch.fx keeps what is called for its effect

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        _leave_uncompiled()
        self.path = Path(path)
        self.rows = 0
        self.silent = False

    @torch.no_grad()
    def forward(self, data: torch.Tensor, label: torch.Tensor) -> None:
        """Write rows of both, (N, ...) each."""
        if not self.silent:
            self._write(data, label)

    def _write(self, data: torch.Tensor, label: torch.Tensor) -> None:
        batch = dict(zip(_NAMES, map(_four_axes, (data, label)), strict=True))
        try:
            if self.rows:
                self._append(batch)
            else:
                self._create(batch)
        except FileError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise FileError(f"cannot be written: {error}", code="file-unwritable", file=self.path) from None
        self.rows += len(batch["data"])

    def _create(self, batch: dict[str, npt.NDArray[np.float32]]) -> None:
        def create(file: h5py.File) -> None:
            for name, values in batch.items():
                file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))

        with new_hdf5(self.path) as writer:
            writer.do(create)

    def _append(self, batch: dict[str, npt.NDArray[np.float32]]) -> None:
        def append(file: h5py.File) -> None:
            for name, values in batch.items():
                file[name].resize(self.rows + len(values), axis=0)
                file[name][self.rows :] = values

        try:
            with grown_hdf5(self.path) as writer:
                writer.do(append)
        except FileError:
            self.path.unlink(missing_ok=True)  # the rows of some passes would look like those of all
            raise


@contextmanager
def nothing_written(*nets: nn.Module) -> Iterator[None]:
    """Run nets in this block without touching the files that their HDF5Output layers name."""
    modules = [module for net in nets for module in net.modules() if isinstance(module, HDF5OutputModule)]
    for module in modules:
        module.silent = True
    try:
        yield
    finally:
        for module in modules:
            module.silent = False


@functools.cache
def _leave_uncompiled() -> None:
    """Exclude `_write` from torch.compile; done late, because it imports the compiler."""
    HDF5OutputModule._write = torch.compiler.disable(HDF5OutputModule._write)  # type: ignore[method-assign, no-untyped-call]


def _four_axes(blob: torch.Tensor) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = blob.detach().cpu().numpy()
    return values.reshape(values.shape + (1,) * (4 - values.ndim))
