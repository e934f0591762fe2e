"""Build a torch GraphModule from a graph; its code reads like the net, its state_dict keys are ``<layer>.<blob>``."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import fx, nn

from caffe_compat.build.exact import sum_as_caffe
from caffe_compat.build.executor import Executor, call_layers, identifier, is_computed, ordered_inputs
from caffe_compat.build.fast import FastNet
from caffe_compat.build.inference import inference_net
from caffe_compat.build.operators import innermost, plan_of
from caffe_compat.build.optimise import optimise
from caffe_compat.build.preprocess import load_preprocessing
from caffe_compat.build.watch import calls_forward
from caffe_compat.build.weights import Weights, copy_weights, place, tensor_of, tie
from caffe_compat.definition.carry import layer_error
from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import PreparedNet, prepare
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError, NetError
from caffe_compat.formats.blobs import BlobStore
from caffe_compat.formats.files import read_net
from caffe_compat.graph.costs import work
from caffe_compat.graph.graph import InputShapes, LayerNode, NetGraph, build_graph
from caffe_compat.graph.sharing import Slot, show_views
from caffe_compat.layers import LayerSpec, Source, facts
from caffe_compat.layers.base import count
from caffe_compat.layers.fillers import fill
from caffe_compat.runtime.memory import physical_memory
from caffe_compat.runtime.tensors import is_observed
from caffe_compat.runtime.threads import threads_for
from caffe_compat.schema import caffe_pb2 as pb

_log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class LearnableParam(Slot):
    """One blob the solver keeps a history for: owners only, in Caffe's order, BatchNorm's statistics included."""

    tensor: torch.Tensor = field(kw_only=True)
    """The torch parameter or buffer itself."""

    @property
    def propagate(self) -> bool:
        """Tell whether a gradient is computed."""
        return self.lr_mult != 0 and not self.blob.buffer


class CaffeNet(fx.GraphModule):
    """A net as a torch module.

    ``forward`` takes the inputs in the order of `inputs` and returns the output, or a dict of them by blob
    where there are several. The module is in ``train()`` mode when built for TRAIN and in ``eval()`` mode when
    built for TEST.
    """

    # torch.fx gives each net a class of its own: with attributes that are neither copied nor pickled.
    _fast: ClassVar[FastNet | None] = None
    _plan: ClassVar[fx.GraphModule | None] = None
    _generated: ClassVar[Any] = None

    @property
    def caffe(self) -> NetGraph:
        """Return the graph the module was built from."""
        graph: NetGraph = self.meta["caffe"]
        return graph

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the blobs that forward takes, in order."""
        return self.caffe.inputs

    @property
    def returns(self) -> tuple[str, ...]:
        """Return the blobs that forward returns: the net's outputs, then losses that another layer takes."""
        return _returns(self.caffe)

    @property
    def losses(self) -> tuple[tuple[str, float], ...]:
        """Return (blob, weight) of everything the total loss adds up."""
        return self.caffe.losses

    @property
    def params(self) -> tuple[LearnableParam, ...]:
        """Return the parameter blobs in the order of Caffe's learnable_params."""
        return tuple(
            LearnableParam(**vars(slot), tensor=tensor_of(self, slot.key))
            for slot in self.caffe.slots
            if slot.owner is None
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward``; what is small on one thread (see :mod:`caffe_compat.runtime.threads`)."""
        if torch.compiler.is_compiling():
            return super().__call__(*args, **kwargs)
        fast = type(self)._fast
        if fast is not None and not kwargs and fast.ready(args):
            return self._named(fast(*args))
        first = next(iter((*args, *kwargs.values())), None)
        if not isinstance(first, torch.Tensor) or is_observed():
            return super().__call__(*args, **kwargs)
        if self.meta.get("fast") and not kwargs and self._fast_net().suits(self, args):
            return self._named(self._fast_net()(*args))
        with threads_for(_work(self, first)):
            plan = self._plan_of_modules()
            return super().__call__(*map(innermost, args), **kwargs) if plan is None else plan.forward(*args, **kwargs)

    def _named(self, results: tuple[torch.Tensor, ...]) -> Any:
        return results[0] if len(results) == 1 else dict(zip(self.returns, results, strict=True))

    def _fast_net(self) -> FastNet:
        """Return what runs the net for inference, made at its first pass."""
        own = type(self)
        if own._fast is None:
            own._fast = FastNet(self.caffe, self.returns, _is_as_built)
        return own._fast

    def _plan_of_modules(self) -> fx.GraphModule | None:
        """Return what runs the modules, made at the first such pass; None where a call does more than the graph."""
        own = type(self)
        if not calls_forward(self) or own.forward is not own._generated:
            return None
        if own._plan is None:
            own._plan = plan_of(self, compiled=bool(self.meta.get("fast")))
        return own._plan

    def recompile(self) -> fx.graph.PythonCode:
        """Generate ``forward`` from the graph."""
        code = super().recompile()
        own = type(self)
        own._generated, own._plan = own.forward, None
        return code

    def forward_dict(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run on inputs by blob and return everything in `returns` by blob."""
        result = self(*ordered_inputs(self.caffe, inputs))
        return result if isinstance(result, dict) else {self.returns[0]: result}

    def total_loss(self, outputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of the losses among `outputs`."""
        terms = [outputs[blob].sum() * weight for blob, weight in self.losses]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def every_blob(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run and return every blob of the net as in Caffe after the pass (in-place layers done).

        Nothing is fused or overwritten on the way, so that the gradient of each value is defined.
        """
        ordered_inputs(self.caffe, inputs)
        return Executor(self, tuple(self.caffe.shapes)).forward(inputs)

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, args = super().__reduce__()  # torch's own forgets the class and the graph
        return _unpickled, (rebuild, args)


def _is_as_built(net: fx.GraphModule) -> bool:
    """Tell whether a net's ``forward`` is the one generated from the graph that it was built with."""
    assert isinstance(net, CaffeNet)
    own = type(net)
    return calls_forward(net) and own.forward is own._generated and net.code == net.meta.get("code")


def _work(net: CaffeNet, first: torch.Tensor) -> float:
    """Return the cost of a pass in multiply-accumulates, where `first` goes into the first input."""
    declared = [math.prod(net.caffe.shapes[blob]) for blob in net.inputs[:1]]
    return float(net.meta["work"]) * math.prod(first.shape) / (math.prod(declared) or 1)


def _unpickled(rebuild: Callable[..., fx.GraphModule], args: tuple[Any, ...]) -> CaffeNet:
    plain = rebuild(*args)
    net = CaffeNet(plain, plain.graph, class_name="CaffeNet")
    net._modules = args[0]["_modules"]  # torch brings back only those that its calls name
    net.meta = args[0]["meta"]
    if args[0]["_code"] == net.meta.get("code"):
        net.meta["code"] = net.code  # torch traces the calls anew, which can change names
    return net


def load_net(
    prototxt: PathLike | pb.NetParameter,
    weights: Weights | None = None,
    *,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: InputShapes | PathLike | None = None,
    losses: bool | None = None,
    exact: bool = False,
    fast: bool = True,
    seed: int | None = None,
    fork: str | Sequence[str] | None = None,
) -> CaffeNet:
    """Build a net from a prototxt and, if given, a caffemodel.

    Parameters
    ----------
    prototxt : path of a definition of any age, training or deploy form, or the message itself.
    weights : path of a .caffemodel or .caffemodel.h5, or arrays by layer; copied by layer name as Caffe does. Blobs
        that it does not have are drawn from their fillers.
    phase, stages, level : the state to build in; the net's own ``state`` can add stages.
    input_shapes : blob -> shape, or a deploy definition whose inputs have shapes. By default a data layer's shape is
        that of its data.
    losses : keep losses, Accuracy and Silence (and the label inputs). By default only in TRAIN: a TEST net is for
        inference.
    exact : add up convolutions in genuine Caffe's order: its very bits, slower (see :mod:`caffe_compat.build.exact`).
    fast : run on compiled kernels that fuse layers and convolve by tiles, in TEST without gradients
        (:mod:`caffe_compat.build.fast`) and in training (:mod:`caffe_compat.build.operators`); their rounding differs
        from torch's. Writes to weights, hooks and other modules have their effect all the same; only a write by a raw
        pointer (``data_ptr()``) that was taken before the last pass is not seen.
    seed : seed of the fillers alone.
    fork : the fork of Caffe that the definition is for (or several), where forks give one name two meanings:
        "ssd", "segnet", "pspnet" ... (docs/forks.md).

    Returns
    -------
    A torch module; ``net.inputs`` names the inputs of forward, ``net.meta["report"]`` is the :class:`LoadReport` of the
    weights, ``net.meta["preprocessing"]`` the preprocessing kept in NAME.preprocess.json next to them, or None.

    Raises
    ------
    CaffeCompatError
        The file, the net or the weights cannot be used; one error lists every problem of the net.

    Examples
    --------
    >>> net = load_net("deploy.prototxt", "HQ.caffemodel")  # doctest: +SKIP
    """
    prepared = prepare(prototxt, net_state(phase, stages=stages, level=level), fork=fork)
    full = prepared.message
    if not (phase == "TRAIN" if losses is None else losses):
        prepared = replace(prepared, message=inference_net(full))
    removed = {top for layer in full.layer for top in layer.top}
    removed -= {top for layer in prepared.message.layer for top in layer.top}
    shapes = {blob: shape for blob, shape in _input_shapes(input_shapes).items() if blob not in removed}
    shapes |= _data_shapes(full, prepared, shapes)
    net = build_net(build_graph(prepared, input_shapes=shapes), empty=True, exact=exact, fast=fast)
    report = net.meta["report"] = None if weights is None else copy_weights(net, weights)
    if report is not None:
        for name in report.absent:
            _log.info("Ignoring source layer %s", name)
        for text in report.warnings(weights if isinstance(weights, str | os.PathLike) else "weights"):
            _log.warning(text)
    net.meta["preprocessing"] = load_preprocessing(weights) if isinstance(weights, str | os.PathLike) else None
    fill_net(net, seed=seed)
    return net


def build_net(
    graph: NetGraph, *, seed: int | None = None, empty: bool = False, exact: bool = False, fast: bool = True
) -> CaffeNet:
    """Return the torch module of a graph, its blobs drawn from their fillers.

    `exact` and `fast` are those of :func:`load_net`.

    With `empty` the blobs have no memory yet: :func:`copy_weights` and :func:`fill_net` give them theirs.
    """
    root = nn.Module()
    with torch.device("meta"):
        for node in graph.nodes:
            if is_computed(node):
                module = node.layer.module(node.spec)
                show_views(module, (slot.view for slot in node.slots if slot.view))
                root.add_module(node.key, module)
    net = CaffeNet(root, _assemble(graph), class_name="CaffeNet")
    net.meta["caffe"], net.meta["work"] = graph, work(graph)
    net.meta["fast"] = fast and not exact
    net.train(graph.phase == "TRAIN")
    optimise(net)
    if exact:
        sum_as_caffe(net)
    net.meta["code"] = net.code
    if not empty:
        fill_net(net, seed=seed)
    return net


def fill_net(net: CaffeNet, *, seed: int | None = None) -> None:
    """Give every empty blob the values in the prototxt, or draws from its filler; then tie shared parameters."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    graph = net.caffe
    _refuse_beyond_memory(net)
    for node in graph.nodes:
        for slot in node.slots:
            if slot.owner is not None or not tensor_of(net, slot.key).is_meta:
                continue
            place(net, slot, first_values(node, slot, generator))
    for slot in graph.slots:
        if slot.owner is not None:
            tie(net, slot.key, tensor_of(net, slot.owner))


def _refuse_beyond_memory(net: CaffeNet) -> None:
    """Refuse parameters that do not fit into this machine's memory, before any is allocated."""
    empty = [s for s in net.caffe.slots if s.owner is None and tensor_of(net, s.key).is_meta]
    needed, available = 4 * sum(count(slot.blob.shape) for slot in empty), physical_memory()
    if needed > available:
        largest = max(empty, key=lambda slot: count(slot.blob.shape))
        raise NetError(
            f"the parameters need {needed / 2**30:.1f} GiB, this machine has {available / 2**30:.1f} GiB",
            code="too-large",
            layer=largest.layer,
            field=f"blobs[{largest.index}]",
            value=largest.blob.shape,
            hint="the largest of them; build_net(graph, empty=True) makes a net without values",
        )


def first_values(node: LayerNode, slot: Slot, generator: torch.Generator | None) -> torch.Tensor:
    """Return a blob's values in the prototxt, or draws from its filler, in Caffe's shape."""
    written = node.spec.param.blobs
    if slot.index < len(written):
        values = torch.from_numpy(BlobStore().data(written[slot.index])).float()
        if values.shape != slot.blob.shape:
            problem = f"the definition has shape {tuple(values.shape)}, the net expects {slot.blob.shape}"
            raise node.spec.error(problem, f"blobs[{slot.index}]", code="shape-mismatch")
        return values
    try:
        return fill(torch.empty(slot.blob.shape), slot.blob.filler, generator)
    except CaffeCompatError as error:
        field = f"{slot.blob.name}_{error.field}"
        raise node.spec.error(error.problem, field, error.value, error.hint, code=error.code) from None


def _returns(graph: NetGraph) -> tuple[str, ...]:
    return (*graph.outputs, *(blob for blob, _ in graph.losses if blob not in graph.outputs))


def _assemble(graph: NetGraph) -> fx.Graph:
    """Return the calls that compute what a net returns from its inputs."""
    calls = fx.Graph()
    names = zip(graph.inputs, _identifiers(graph.inputs), strict=True)
    values = {blob: calls.placeholder(name) for blob, name in names}
    call_layers(calls, graph, values)
    returns = _returns(graph)
    calls.output(values[returns[0]] if len(returns) == 1 else {blob: values[blob] for blob in returns})
    return calls


def _identifiers(names: Sequence[str]) -> list[str]:
    """Return distinct Python names for the inputs."""
    out: list[str] = []
    for name in map(identifier, names):
        safe = name if name.isidentifier() and name not in {"self", "input"} else f"{name}_"
        while safe in out:
            safe += "_"
        out.append(safe)
    return out


def _input_shapes(source: InputShapes | PathLike | None) -> dict[str, tuple[int, ...]]:
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return {blob: tuple(shape) for blob, shape in source.items()}
    declared: dict[str, tuple[int, ...]] = {}
    for layer in upgrade_net(read_net(source)).layer:
        if facts(layer.type).source is Source.CALLER:
            declared |= zip(layer.top, facts(layer.type).top_shapes(LayerSpec(layer, ())), strict=False)
    if not declared:
        problem, hint = "has no Input layer with a shape", "pass a deploy definition"
        raise NetError(problem, code="field-missing", file=source, field="input_shapes", hint=hint)
    return declared


def _data_shapes(
    full: pb.NetParameter, prepared: PreparedNet, given: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of fed blobs that are still unknown, from the first file of each data layer of `full`."""
    data = [layer for layer in prepared.message.layer if facts(layer.type).is_data]
    fed = {top for layer in data for top in layer.top}
    shapes: dict[str, tuple[int, ...]] = {}
    if all(facts(layer.type).source in (Source.NONE, Source.CALLER) for layer in full.layer):
        return shapes
    from caffe_compat.data import DATA_LAYER_TYPES, CRand, open_source

    for layer in full.layer:
        tops = [top for top in layer.top if top in fed and top not in given]
        if layer.type not in DATA_LAYER_TYPES or not tops:
            continue
        try:
            with open_source(layer, base_dir=prepared.base_dir, rng=CRand()) as source:
                source_shapes = source.shapes
        except CaffeCompatError as error:
            problem = f"the shape is unknown, and the data cannot be read: {error}"
            hint = f"pass input_shapes={{{tops[0]!r}: (N, ...)}} or a deploy definition"
            raise layer_error(layer, problem, "top", tops[0], hint, code=error.code) from None
        shapes |= {top: tuple(source_shapes[top]) for top in tops}
    return shapes
