"""Net: a Caffe net that runs layer by layer on blobs that scripts read and write.

The behaviour is that of _caffe.cpp and pycaffe.py in BVLC Caffe 9b89154.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import first_values
from caffe_compat.build.weights import LoadReport, match_weights, save_blobs
from caffe_compat.data import DataSource, MemorySource, ahead, open_sources
from caffe_compat.definition.prepare import PreparedNet, prepare
from caffe_compat.errors import raise_together
from caffe_compat.formats.extras import copied
from caffe_compat.formats.files import read_net
from caffe_compat.graph.backward import backward_problem, loss_weight_problems, needs
from caffe_compat.graph.costs import work
from caffe_compat.graph.graph import LayerNode, build_graph
from caffe_compat.graph.sharing import Slot
from caffe_compat.layers.python import python_layers
from caffe_compat.pycaffe import mode
from caffe_compat.pycaffe.blob import Array, Blob, BlobVec
from caffe_compat.pycaffe.debug_log import DebugWriter
from caffe_compat.pycaffe.layer import Layer, PythonLayers
from caffe_compat.pycaffe.mode import CaffeError
from caffe_compat.pycaffe.steps import DataStep, Step, make_step
from caffe_compat.runtime.threads import threads_for
from caffe_compat.schema import caffe_pb2 as pb

Arrays = dict[str, Array]
PathLike = str | os.PathLike[str]
_PHASES = (pb.TRAIN, pb.TEST)


class Net:
    """A net in one phase.

    ``Net(network_file, phase, level=0, stages=None, weights=None)``, or, in older scripts,
    ``Net(network_file, weights_file, phase)``. Opens the data layers and
    draws the parameters from their fillers.

    Attributes
    ----------
    blobs, params, layer_dict, top_names, bottom_names : ordered dicts: blobs by name; each layer's parameters, its
        object, its tops' and its bottoms' names by the layer's name.
    layers : the layers, Split layers included.
    graph : the graph the net was built from.
    blobs_by_name : the blobs by their names in the graph, where automatic tops have unique names.
    sources : the sources that feed the data layers.
    watch : writer of the lines of debug_info.
    inputs, outputs : names of the blobs to fill, and of the blobs that no layer reads.

    Raises
    ------
    CaffeError
        A file does not exist.
    CaffeCompatError
        The net cannot be built; the error lists every problem at once.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        file, phase, level, stages, weights = _arguments(*args, **named)
        message = read_net(existing(file))
        state = copied(message.state)
        state.phase, state.level = phase, level
        state.stage.extend(stages)
        self._init(prepare(message, state, base_dir=Path(file).parent, fork=mode.forks()))
        if weights is not None:
            self.copy_from(existing(weights))

    @classmethod
    def of(cls, prepared: PreparedNet) -> Net:
        """Build the net of a prepared definition, as a solver does."""
        net = cls.__new__(cls)
        net._init(prepared)
        return net

    def _init(self, prepared: PreparedNet) -> None:
        opened = open_sources(prepared.message, base_dir=prepared.base_dir, rng=mode.randomness())
        self.sources: list[DataSource] = [ahead(source, pin=False) for source in opened]
        makers = PythonLayers()
        with python_layers(makers):
            shapes = {top: source.shapes[top] for source in self.sources for top in source.tops}
            graph = self.graph = build_graph(prepared, input_shapes=shapes)
        self._declared = work(graph)
        raise_together([error for node in graph.nodes for error in loss_weight_problems(node)])
        blobs = self.blobs_by_name = {
            name: makers.blobs_made.get(name) or Blob(shape) for name, shape in graph.shapes.items()
        }
        self._index = {name: number for number, name in enumerate(blobs)}
        self._blobs = list(blobs.values())
        self._owners: dict[str, Blob] = {}
        needed = needs(graph.nodes, force=prepared.message.force_backward)
        self._steps: list[Step] = []
        for node, need in zip(graph.nodes, needed, strict=True):
            layer = makers.find(node.spec.param) if node.type == "Python" else Layer(node.message)
            self._connect(layer, node)
            bottoms, tops = ([blobs[name] for name in names] for names in (node.bottoms, node.tops))
            self._steps.append(make_step(node, layer, bottoms, tops, need, exact=mode.exact()))
        self._prepare()
        if prepared.message.debug_info:
            self.watch.write_to(mode.make_log().line)

    def _connect(self, layer: Layer, node: LayerNode) -> None:
        """Set a layer's parameters: shared by name, or drawn from their fillers."""
        for slot in node.slots:
            if slot.index < len(layer.blobs):
                blob = layer.blobs[slot.index]  # of a Python layer
            else:
                blob = Blob(slot.blob.shape)
                layer.blobs.append(blob)
                if slot.owner is None:
                    blob.values().copy_(first_values(node, slot, None))
            if slot.owner is None:
                self._owners[slot.key] = blob
            else:
                blob.share_data(self._owners[slot.owner])
                blob.share_diff(self._owners[slot.owner])

    def _prepare(self) -> None:
        """Connect the sources, share memory between blobs, and set the loss weights."""
        sources = iter(self.sources)
        for step in self._steps:
            if isinstance(step, DataStep):
                step.prepare(next(sources))
            else:
                step.reshape()
            for top, weight in zip(step.tops, step.node.loss_weights, strict=True):
                if weight:
                    top.gradients().fill_(weight)
        self.watch = DebugWriter(self.graph, self._steps)
        self._callbacks: dict[str, list[Callable[[int], object]]] = {
            "after_forward": [self.watch.forward],
            "after_backward": [self.watch.backward],
        }

    def parameters(self) -> list[tuple[Slot, Blob]]:
        """Return every parameter with its slot, in Caffe's order."""
        return [pair for s in self._steps for pair in zip(s.node.slots, s.layer.blobs, strict=False)]

    @property
    def layers(self) -> list[Layer]:
        """The layers in order; those written in Python are the scripts' own objects."""
        return [step.layer for step in self._steps]

    @property
    def _layer_names(self) -> list[str]:
        return [step.node.name for step in self._steps]

    @property
    def _blob_names(self) -> list[str]:
        automatic = {t for s in self._steps for t in s.node.tops[len(s.node.message.top) :]}
        return ["(automatic)" if name in automatic else name for name in self._index]

    @property
    def _blob_loss_weights(self) -> list[float]:
        weights = dict(self.graph.losses)
        return [weights.get(name, 0.0) for name in self._index]

    def _bottom_ids(self, layer: int) -> list[int]:
        return [self._index[name] for name in self._steps[layer].node.bottoms]

    def _top_ids(self, layer: int) -> list[int]:
        return [self._index[name] for name in self._steps[layer].node.tops]

    @property
    def _inputs(self) -> list[int]:
        return [self._index[top] for step in self._steps if step.node.type == "Input" for top in step.node.tops]

    @property
    def _outputs(self) -> list[int]:
        return [self._index[name] for name in self.graph.outputs]

    @property
    def params(self) -> OrderedDict[str, BlobVec]:
        """The parameters by layer name, for the layers that have parameters."""
        return OrderedDict((step.node.name, step.layer.blobs) for step in self._steps if step.layer.blobs)

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
        """Names of the blobs that no layer reads, in alphabetical order."""
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
        blobs : names of blobs to return besides the outputs.
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
            self._fill(kwargs, self.inputs, "data", "Input blob arguments do not match net inputs")
        self._forward(first, last)
        return {name: self.blobs[name].data for name in outputs}

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> Arrays:
        """Run the net backward, or the layers from `start` down to `end` (included).

        Parameters
        ----------
        diffs : names of blobs whose gradients to return besides the inputs'.
        start, end : names of layers.
        kwargs : gradients for the outputs by name; all of them, or none to use the loss weights.

        Returns
        -------
        Gradients by blob; they alias the blobs.
        """
        first = len(self.layers) - 1 if start is None else self._number(start)
        last = 0 if end is None else self._number(end)
        outputs = {*(self.inputs if end is None else self.bottom_names[end]), *(diffs or [])}
        if kwargs:
            self._fill(kwargs, self.outputs, "diff", "Top diff arguments do not match net outputs")
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in outputs}

    def _fill(self, given: Mapping[str, npt.NDArray[Any]], names: Sequence[str], kind: str, problem: str) -> None:
        if set(given) != set(names):
            hint = f"the net has: {', '.join(names) or 'none'}"
            raise CaffeError(problem, code="mismatch", value=sorted(given), hint=hint)
        for name, values in given.items():
            target: Array = getattr(self.blobs[name], kind)
            if np.shape(values)[:1] != target.shape[:1]:
                problem, shape = f"{'Input' if kind == 'data' else 'Diff'} is not batch sized", np.shape(values)
                hint = f"the net has {target.shape}"
                raise CaffeError(problem, code="shape-mismatch", field=name, value=shape, hint=hint)
            target[...] = values

    def _number(self, layer: str) -> int:
        return self._layer_names.index(layer)

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> Arrays:
        """Run the net on inputs of any length, batch by batch; pads the last batch with zeros.

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
        input_batches = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        seed_batches = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        nothing: dict[str, Any] = {}
        for inputs, seeds in zip_longest(input_batches, seed_batches, fillvalue=nothing):
            for name, rows in self.forward(blobs=blobs, **inputs).items():
                values[name].extend(rows.copy())
            for name, rows in self.backward(diffs=diffs, **seeds).items():
                gradients[name].extend(rows.copy())
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
        first = self._steps[0]
        source = first.source if isinstance(first, DataStep) else None
        if not isinstance(source, MemorySource):
            problem = "set_input_arrays may only be called if the first layer is a MemoryDataLayer"
            raise CaffeError(problem, code="wrong-type", layer=first.node.name, field="type", value=first.node.type)
        source.set_arrays(data, labels, copy=False)

    def _forward(self, start: int, end: int) -> float:
        """Run layers `start` to `end`, both included; return their share of the loss."""
        total = np.float32(0)
        steps = self._range(start, end, 1)
        with threads_for(self._work()):
            for number, step in steps:
                self._call("before_forward", number)
                step.forward()
                total += np.float32(step.loss())
                self._call("after_forward", number)
        return float(total)

    def _backward(self, start: int, end: int) -> None:
        """Run layers `start` down to `end` backward, both included, those that need it."""
        steps = self._range(start, end, -1)
        with threads_for(self._work()):
            for number, step in steps:
                self._call("before_backward", number)
                if step.need.layer:
                    if error := backward_problem(step.node, step.need):
                        raise error
                    step.backward()
                self._call("after_backward", number)

    def _work(self) -> float:
        """Return the cost of a pass in multiply-accumulates, at the current shape of the first blob."""
        first, *_ = (*self.graph.shapes.values(), ())
        return self._declared * (self._blobs[0].count if self._blobs else 1) / (math.prod(first) or 1)

    def _range(self, start: int, end: int, stride: int) -> list[tuple[int, Step]]:
        last = len(self._steps) - 1
        if not (min(start, end) >= 0 and max(start, end) <= last):
            raise CaffeError(f"the net has layers 0 to {last}", code="out-of-range", field="layers", value=(start, end))
        return [(number, self._steps[number]) for number in range(start, end + stride, stride)]

    def _call(self, when: str, number: int) -> None:
        for callback in self._callbacks.get(when, ()):
            callback(number)

    def before_forward(self, run: Callable[[int], object]) -> None:
        """Call `run` with the layer's number before each layer's forward pass."""
        self._callbacks.setdefault("before_forward", []).append(run)

    def after_forward(self, run: Callable[[int], object]) -> None:
        """Call `run` with the layer's number after each layer's forward pass."""
        self._callbacks.setdefault("after_forward", []).append(run)

    def before_backward(self, run: Callable[[int], object]) -> None:
        """Call `run` with the layer's number before each layer's backward pass."""
        self._callbacks.setdefault("before_backward", []).append(run)

    def after_backward(self, run: Callable[[int], object]) -> None:
        """Call `run` with the layer's number after each layer's backward pass."""
        self._callbacks.setdefault("after_backward", []).append(run)

    def reshape(self) -> None:
        """Give every blob the shape that follows from the inputs' shapes; parameters stay."""
        for step in self._steps:
            step.reshape()

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        for blob in self._owners.values():
            blob.gradients(mode.device()).zero_()

    def copy_from(self, weights_file: PathLike) -> None:
        """Copy parameters by layer name from a .caffemodel or .caffemodel.h5.

        Raises
        ------
        CaffeError, WeightsError, ProblemsError
            The file does not exist, or a layer's parameters differ in number or shape; nothing is copied then.
        """
        self.load(existing(weights_file))

    def load(self, weights: PathLike) -> LoadReport:
        """Copy parameters as `copy_from` does; return a report of the copied and the skipped layers."""
        blobs = {slot.key: blob for slot, blob in self.parameters()}
        copies, report = match_weights(self.graph, weights)
        for slot, array in copies:
            blobs[slot.key].values().copy_(torch.from_numpy(array))
        return report

    def load_hdf5(self, filename: PathLike) -> None:
        """Copy parameters from a .caffemodel.h5."""
        self.copy_from(filename)

    def save(self, filename: PathLike) -> None:
        """Write the net and its parameters as a .caffemodel, complete or not at all."""
        self.write(filename, "BINARYPROTO")

    def save_hdf5(self, filename: PathLike) -> None:
        """Write the parameters as a .caffemodel.h5, complete or not at all."""
        self.write(filename, "HDF5")

    def write(self, filename: PathLike, fmt: str, *, diffs: bool = False) -> None:
        """Write the parameters as "BINARYPROTO" or "HDF5", optionally with their gradients."""
        blobs = {slot.key: blob for slot, blob in self.parameters()}
        save_blobs(self.graph, lambda s: (blobs[s.key].data, blobs[s.key].diff), filename, fmt, diffs=diffs)

    def share_with(self, other: Net) -> None:
        """Share the parameters of another net's layers of the same names, which must have the same shapes."""
        mine = {step.node.name: step.layer for step in reversed(self._steps)}
        for step in other._steps:
            layer = mine.get(step.node.name)
            if layer is None:
                continue
            shapes = [b.shape for b in layer.blobs]
            if shapes != [b.shape for b in step.layer.blobs]:
                problem = f"the other net's parameters have shapes {[b.shape for b in step.layer.blobs]}"
                raise CaffeError(problem, code="shape-mismatch", layer=step.node.name, field="blobs", value=shapes)
            for target, source in zip(layer.blobs, step.layer.blobs, strict=True):
                target.share_data(source)


def existing(file: PathLike) -> PathLike:
    """Return the path of a file that a script reads; CaffeError if there is none."""
    if not Path(file).is_file():
        raise CaffeError("Could not open file", code="file-missing", file=file)
    return file


def _arguments(*args: Any, **named: Any) -> tuple[PathLike, Any, int, list[str], PathLike | None]:
    """Return file, phase, level, stages and weights of either form of Net's constructor."""
    names = ("network_file", "phase", "level", "stages", "weights")
    if len(args) == 3 and not named and isinstance(args[1], str | os.PathLike):
        named = {"network_file": args[0], "weights": args[1], "phase": args[2]}
        args = ()
    given = dict(zip(names, args, strict=False)) | named
    if len(args) > len(names) or set(given) - set(names) or len(given) != len(args) + len(named):
        raise TypeError(f"Net takes {', '.join(names)}")
    if not {"network_file", "phase"} <= set(given):
        raise TypeError("Net needs network_file and phase")
    if given["phase"] not in _PHASES:
        raise TypeError(f"phase is caffe.TRAIN (0) or caffe.TEST (1), not {given['phase']!r}")
    stages = [str(stage) for stage in given.get("stages") or ()]
    return given["network_file"], given["phase"], int(given.get("level") or 0), stages, given.get("weights")


def _length(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(arrays.values())))


def _packed(rows: Mapping[str, list[Array]], length: int) -> Arrays:
    return {name: np.asarray(values)[:length] for name, values in rows.items()}
