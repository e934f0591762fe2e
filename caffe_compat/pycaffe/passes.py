"""What pycaffe's Net offers in Python: blobs by name, passes with arguments by name, passes in batches.

The behaviour is that of pycaffe.py in BVLC Caffe 9b89154.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.pycaffe.blob import Array, Blob
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.mode import CaffeError

Arrays = dict[str, Array]


class Passes:
    """The part of :class:`caffe_compat.pycaffe.Net` that works through names; the rest is the net's own."""

    _blobs: list[Blob]

    @property
    def _blob_names(self) -> list[str]:
        raise NotImplementedError

    @property
    def _blob_loss_weights(self) -> list[float]:
        raise NotImplementedError

    @property
    def _layer_names(self) -> list[str]:
        raise NotImplementedError

    @property
    def _inputs(self) -> list[int]:
        raise NotImplementedError

    @property
    def _outputs(self) -> list[int]:
        raise NotImplementedError

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        raise NotImplementedError

    def _bottom_ids(self, layer: int) -> list[int]:
        raise NotImplementedError

    def _top_ids(self, layer: int) -> list[int]:
        raise NotImplementedError

    def _forward(self, start: int, end: int) -> float:
        raise NotImplementedError

    def _backward(self, start: int, end: int) -> None:
        raise NotImplementedError

    def _set_input_arrays(self, data: Array, labels: Array) -> None:
        raise NotImplementedError

    @cached_property
    def blobs(self) -> OrderedDict[str, Blob]:
        """The blobs by name, from input to output."""
        return OrderedDict(zip(self._blob_names, self._blobs, strict=True))

    @cached_property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Each blob's weight in the loss, by name."""
        return OrderedDict(zip(self._blob_names, self._blob_loss_weights, strict=True))

    @cached_property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """The layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @cached_property
    def inputs(self) -> list[str]:
        """Names of the blobs of Input layers."""
        return [self._blob_names[i] for i in self._inputs]

    @cached_property
    def outputs(self) -> list[str]:
        """Names of the blobs nobody reads, in alphabetical order."""
        return [self._blob_names[i] for i in self._outputs]

    @cached_property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Each layer's tops, by the layer's name."""
        return OrderedDict(
            (name, [self._blob_names[j] for j in self._top_ids(i)]) for i, name in enumerate(self._layer_names)
        )

    @cached_property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Each layer's bottoms, by the layer's name."""
        return OrderedDict(
            (name, [self._blob_names[j] for j in self._bottom_ids(i)]) for i, name in enumerate(self._layer_names)
        )

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> Arrays:
        """Run the net, or the layers from `start` to `end` (included).

        Parameters
        ----------
        blobs : names of blobs to return beside the outputs.
        start, end : names of layers.
        kwargs : arrays for the inputs by name; all of them or none.

        Returns
        -------
        Arrays by blob; they alias the blobs.
        """
        first = 0 if start is None else self._number(start)
        last = len(self.layers) - 1 if end is None else self._number(end)
        outputs = {*(self.outputs if end is None else self.top_names[end]), *(blobs or [])}
        if kwargs:
            self._fill(kwargs, self.inputs, "data", "Input blob arguments do not match net inputs.")
        self._forward(first, last)
        return {name: self._blob(name).data for name in outputs}

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> Arrays:
        """Run the net backward, or the layers from `start` down to `end` (included).

        Parameters
        ----------
        diffs : names of blobs whose gradients to return beside the inputs'.
        start, end : names of layers.
        kwargs : gradients for the outputs by name; all of them or none, which leaves the loss's.

        Returns
        -------
        Gradients by blob; they alias the blobs.
        """
        first = len(self.layers) - 1 if start is None else self._number(start)
        last = 0 if end is None else self._number(end)
        outputs = {*(self.inputs if end is None else self.bottom_names[end]), *(diffs or [])}
        if kwargs:
            self._fill(kwargs, self.outputs, "diff", "Top diff arguments do not match net outputs.")
        self._backward(first, last)
        return {name: self._blob(name).diff for name in outputs}

    def _fill(self, given: Mapping[str, npt.NDArray[Any]], names: Sequence[str], kind: str, problem: str) -> None:
        if set(given) != set(names):
            raise CaffeError(f"{problem} Given: {', '.join(sorted(given))}; the net has: {', '.join(names) or 'none'}.")
        for name, values in given.items():
            target: Array = getattr(self._blob(name), kind)
            if np.shape(values)[:1] != target.shape[:1]:
                what = "Input" if kind == "data" else "Diff"
                raise CaffeError(f"{what} is not batch sized: {name} has {np.shape(values)}, the net {target.shape}")
            target[...] = values

    def _blob(self, name: str) -> Blob:
        found = self.blobs
        if name not in found:
            raise KeyError(name)
        return found[name]

    def _number(self, layer: str) -> int:
        return self._layer_names.index(layer)

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> Arrays:
        """Run the net on inputs of any length, batch by batch; the last batch is filled up with zeros.

        Returns
        -------
        Arrays by blob, one row per row of the inputs.
        """
        rows: dict[str, list[Array]] = {name: [] for name in {*self.outputs, *(blobs or [])}}
        for batch in self._batch(kwargs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                rows[name].extend(values.copy())
        return _packed(rows, _length(kwargs))

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **kwargs: Any
    ) -> tuple[Arrays, Arrays]:
        """Run the net forward and backward on inputs (and gradients of outputs) of any length, batch by batch.

        Returns
        -------
        Values and gradients by blob.
        """
        values: dict[str, list[Array]] = {name: [] for name in {*self.outputs, *(blobs or [])}}
        gradients: dict[str, list[Array]] = {name: [] for name in {*self.inputs, *(diffs or [])}}
        there = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        back = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        nothing: dict[str, Any] = {}
        for inputs, seeds in zip_longest(there, back, fillvalue=nothing):
            for name, found in self.forward(blobs=blobs, **inputs).items():
                values[name].extend(found.copy())
            for name, found in self.backward(diffs=diffs, **seeds).items():
                gradients[name].extend(found.copy())
        return _packed(values, _length(kwargs)), _packed(gradients, _length(kwargs))

    def _batch(self, blobs: Mapping[str, npt.NDArray[Any]]) -> Iterator[dict[str, Any]]:
        if not blobs:
            return
        total, size = _length(blobs), self._blobs[0].shape[0]
        for first in range(0, total, size):
            batch = {name: np.asarray(values)[first : first + size] for name, values in blobs.items()}
            missing = first + size - total
            if missing > 0:
                batch = {
                    name: np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)])
                    for name, values in batch.items()
                }
            yield batch

    def set_input_arrays(self, data: Array, labels: Array) -> None:
        """Give the net's MemoryData layer the arrays to take batches from.

        Parameters
        ----------
        data : (N, channels, height, width) float32; N is a multiple of the batch size.
        labels : (N,) or (N, 1, 1, 1) float32.
        """
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        self._set_input_arrays(data, labels)


def _length(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(arrays.values())))


def _packed(rows: Mapping[str, list[Array]], length: int) -> Arrays:
    return {name: np.asarray(found)[:length] for name, found in rows.items()}
