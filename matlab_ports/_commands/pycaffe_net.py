"""A net of pycaffe, Caffe's Python package or one of its interface, for `eval_video` and `run_eval`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports.eval_video import FEATURE

MODULE = "caffe_compat.pycaffe"
"""The package that comes with these ports; they know it by this name alone."""


class PycaffeNet:
    """``caffe.Net(model, weights, 'test')``.

    Parameters
    ----------
    single_model, single_weights
        The deploy definition and its weights.
    module
        The package to import: ``caffe`` for BVLC's own.
    save_feature
        Return blob fc4 as well.

    Raises
    ------
    PortError
        There is no such package or file, or the net cannot be built.
    """

    def __init__(
        self,
        single_model: str | Path,
        single_weights: str | Path,
        *,
        module: str = MODULE,
        save_feature: bool = False,
    ) -> None:
        for name, path in (("single_model", single_model), ("single_weights", single_weights)):
            if not Path(path).is_file():  # Caffe's own package ends the process
                raise PortError("no such file", where=f"{name} {path}")
        try:
            caffe = importlib.import_module(module)
        except ImportError as error:
            raise PortError(f"cannot be imported ({error})", where=f"caffe {module}", hint=f"use {MODULE}") from None
        self._where = str(single_model)
        try:
            self._net: Any = caffe.Net(str(single_model), str(single_weights), caffe.TEST)
        except Exception as error:  # of whichever package this is
            raise PortError(f"{module} cannot build it: {error}", where=self._where) from error
        self._input, self._output = self._net.inputs[0], self._net.outputs[0]
        if save_feature and FEATURE not in self._net.blobs:
            raise PortError(f"has no blob {FEATURE}", where=self._where)
        self._wanted = (self._output, FEATURE) if save_feature else (self._output,)

    def forward(self, batch: npt.NDArray[np.float32], /) -> dict[str, npt.NDArray[Any]]:
        """See `matlab_ports.eval_video.Net`."""
        blob = self._net.blobs[self._input]
        expected = tuple(blob.data.shape[1:])
        if batch.shape[1:] != expected:
            raise PortError(f"takes {_sides(expected)}, the frames are {_sides(batch.shape[1:])}", where=self._where)
        blob.reshape(*batch.shape)
        blob.data[...] = batch
        self._net.forward()
        return {name: np.array(self._net.blobs[name].data) for name in self._wanted}


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
