"""Run a net with pycaffe, or a package with its interface, for `eval_video` and `run_eval`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports.eval_video import FEATURE

MODULE = "caffe_compat.pycaffe"
"""The engine's pycaffe, which the ports know by name only."""


class PycaffeNet:
    """A net as ``caffe.Net(model, weights, 'test')`` builds it.

    Parameters
    ----------
    single_model, single_weights
        The deploy definition and its weights.
    module
        The package to import: ``caffe`` for BVLC's own.
    save_feature
        Return blob fc4 too.

    Raises
    ------
    PortError
        The package or a file is missing, or the net cannot be built.
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
                raise PortError("no such file", code="file-missing", file=path, field=name)
        try:
            caffe = importlib.import_module(module)
        except ImportError as error:
            problem, hint = f"cannot be imported: {error}", f"use {MODULE}"
            raise PortError(problem, code="dependency-missing", field="caffe", value=module, hint=hint) from None
        self._model = Path(single_model)
        try:
            self._net: Any = caffe.Net(str(single_model), str(single_weights), caffe.TEST)
        except Exception as error:  # its types depend on the package
            raise PortError(f"{module} cannot build the net: {error}", code="invalid", file=self._model) from error
        self._input, self._output = self._net.inputs[0], self._net.outputs[0]
        if save_feature and FEATURE not in self._net.blobs:
            raise PortError("the net has no such blob", code="field-missing", file=self._model, field=FEATURE)
        self._outputs = (self._output, FEATURE) if save_feature else (self._output,)

    def forward(self, batch: npt.NDArray[np.float32], /) -> dict[str, npt.NDArray[Any]]:
        """See `matlab_ports.eval_video.Net`."""
        blob = self._net.blobs[self._input]
        expected = tuple(blob.data.shape[1:])
        if batch.shape[1:] != expected:
            problem = f"frames have shape {_format_shape(batch.shape[1:])}, the net expects {_format_shape(expected)}"
            raise PortError(problem, code="shape-mismatch", file=self._model, field=self._input)
        blob.reshape(*batch.shape)
        blob.data[...] = batch
        self._net.forward()
        return {name: np.array(self._net.blobs[name].data) for name in self._outputs}


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
