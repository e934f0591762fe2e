"""``pt2``: an exported program of torch.export, which runs with torch alone."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import logging
import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.export import Dim, ExportedProgram

from caffe_compat.build.executor import is_computed
from caffe_compat.build.net import CaffeNet
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import CaffeCompatError, NetError, raise_together
from caffe_compat.export.portable import (
    definition_of,
    forks_of,
    metadata,
    plain_module,
    portable_net,
    preprocessing_of_net,
    refusal,
    refuse_effects,
)
from caffe_compat.formats.files import atomic_path
from caffe_compat.graph.graph import NetGraph, build_graph
from caffe_compat.layers import Shape

_GROWTH = (0, 0, 160, 192)
"""Added to the definition's input for an example: unequal, and whole steps of strides up to 32."""
_OPTIONS: dict[str, Any] = {
    name: True
    for name in inspect.signature(torch.export.export).parameters
    if name == "prefer_deferred_runtime_asserts_over_guards"
}
"""Conditions on sizes are checked when the program runs, where torch can do so; older ones fix the size."""
_OWN = frozenset({"aten", "prims"})
"""The namespaces of torch's own operators."""

Shapes = Mapping[str, Shape]


def to_pt2(net: CaffeNet, file: str | os.PathLike[str], *, with_preprocessing: bool = False) -> None:
    """Write an exported program: ``torch.export.load(file).module()(data)``.

    The batch may have any size where every layer takes any. Height and width may, too, where the parameters and torch's
    tracing allow it. The definition, the preprocessing and the labels are among the file's extra files,
    ``definition.prototxt``, ``preprocessing.json`` and ``labels.txt``. With the preprocessing the program takes images,
    (N, C, H, W) in RGB with float32 values of 0 to 255.
    """
    refuse_effects(net, "pt2")
    module = portable_net(net, with_preprocessing=with_preprocessing)
    program = exported_program(net, module, _images(net) if with_preprocessing else _Images())
    content = io.BytesIO()
    with _quiet():
        torch.export.save(program, content, extra_files=metadata(net))
    with atomic_path(file) as partial:
        partial.write_bytes(content.getbuffer())


def exported_program(net: CaffeNet, module: fx.GraphModule, images: _Images) -> ExportedProgram:
    """Return the program of a net's portable `module`; `images` are what it takes in place of some inputs."""
    own = {blob: images.shapes.get(blob, net.caffe.shapes[blob]) for blob in net.inputs}
    several = {blob: (max(shape[0], 2), *shape[1:]) if shape else shape for blob, shape in own.items()}
    larger = None if images.shapes else _larger(net.caffe, several)
    if larger is not None:
        with contextlib.suppress(Exception):  # torch cannot follow every size; then the size is the definition's
            program = _traced(module, {blob: larger.shapes[blob] for blob in own}, own)
            if _runs(program, net, own) and _has_shapes(program, net, larger):
                return _without_foreign_operators(program, net)
    reason = ""
    for shapes in (several, own):  # an input's first axis need not be the batch
        try:
            program = _traced(module, shapes, images.free)
            if _runs(program, net, own):
                return _without_foreign_operators(program, net)
        except CaffeCompatError:
            raise
        except Exception as error:  # noqa: BLE001  (tracing runs any code of the layers)
            reason = _first_line(error)
    raise_together([*_refusals(net)])
    raise NetError(f"torch cannot export the net: {reason}", code="unsupported", field="to", value="pt2")


@dataclass(frozen=True)
class _Images:
    """The images that a program with preprocessing takes."""

    shapes: Shapes = field(default_factory=dict)
    """Input -> shape of its images, where it differs from the net's."""
    free: Collection[str] = ()
    """Inputs whose images may have any height and width."""


def _images(net: CaffeNet) -> _Images:
    """Return the images that go into a net's preprocessing."""
    preprocessing = preprocessing_of_net(net)
    blob, mean = preprocessing.input, preprocessing.mean
    front = net.caffe.shapes[blob][:2]
    if mean is not None and mean.ndim == 3:
        return _Images({blob: (*front, *mean.shape[1:])})
    if preprocessing.resize is not None:
        return _Images({blob: (*front, *preprocessing.resize)})
    if preprocessing.crop is None:
        return _Images()
    example = (size + growth for size, growth in zip(preprocessing.crop, _GROWTH[2:], strict=True))
    return _Images({blob: (*front, *example)}, {blob})


def _larger(graph: NetGraph, shapes: Shapes) -> NetGraph | None:
    """Return a fully convolutional net's graph for larger inputs, or None: its blobs are the same for every size."""
    if any(len(shape) != len(_GROWTH) for shape in shapes.values()):
        return None
    grown = {blob: tuple(map(sum, zip(shape, _GROWTH, strict=True))) for blob, shape in shapes.items()}
    try:
        larger = build_graph(prepare(definition_of(graph), fork=forks_of(graph)), input_shapes=grown)
    except CaffeCompatError:
        return None
    equal = all(a.blob.shape == b.blob.shape for a, b in zip(graph.slots, larger.slots, strict=True))
    return larger if equal else None


def _traced(module: fx.GraphModule, shapes: Shapes, free: Collection[str]) -> ExportedProgram:
    """Return the program of a module for inputs like these: any batch, in those of `free` any height and width."""
    dims = [dict.fromkeys((0, 2, 3) if blob in free else (0,) if shapes[blob] else (), Dim.AUTO) for blob in shapes]
    with torch.no_grad(), _quiet(), _sizes_of_one():
        return torch.export.export(
            module,
            tuple(torch.zeros(shape) for shape in shapes.values()),
            dynamic_shapes=tuple(dims),
            strict=False,
            **_OPTIONS,
        )


def _sizes_of_one() -> contextlib.AbstractContextManager[object]:
    """Let torch trace a size without excluding 1 (a batch of one image, a map of one pixel), where it can."""
    config = importlib.import_module("torch.fx.experimental._config")
    supported = hasattr(config, "backed_size_oblivious")  # from torch 2.7 on
    return config.patch(backed_size_oblivious=True) if supported else contextlib.nullcontext()


def _runs(program: ExportedProgram, net: CaffeNet, shapes: Shapes) -> dict[str, torch.Tensor]:
    """Return the outputs of a program by blob, on zeros."""
    with torch.no_grad():
        tops = program.module()(*(torch.zeros(shapes[blob]) for blob in net.inputs))
    return tops if isinstance(tops, dict) else {net.returns[0]: tops}


def _has_shapes(program: ExportedProgram, net: CaffeNet, graph: NetGraph) -> bool:
    """Tell whether a program's outputs have the shapes that the net has for larger inputs."""
    tops = _runs(program, net, graph.shapes)
    return all(tuple(top.shape) == graph.shapes[blob] for blob, top in tops.items())


def _refusals(net: CaffeNet) -> Iterator[CaffeCompatError]:
    """Yield an error for each layer that cannot be exported alone."""
    for node in net.caffe.nodes:
        if not is_computed(node):
            continue
        module = plain_module(net.get_submodule(node.key))
        bottoms = tuple(torch.zeros(shape) for shape in node.spec.bottoms)
        try:
            with torch.no_grad(), _quiet():
                torch.export.export(module, bottoms, strict=False)
        except Exception as error:  # noqa: BLE001  (tracing runs any code of the layer)
            yield refusal(node, "pt2", _first_line(error))


def _without_foreign_operators(program: ExportedProgram, net: CaffeNet) -> ExportedProgram:
    """Return the program, refusing operators that torch alone does not have."""
    foreign: dict[str, str] = {}
    for call in program.graph.nodes:
        operator = call.target
        if isinstance(operator, torch._ops.OpOverload) and operator.namespace not in _OWN:
            path = next(iter(reversed(call.meta.get("nn_module_stack", {"": ("", "")}).values())))[0]
            foreign[path.split(".")[0]] = str(operator)
    nodes = {node.key: node for node in net.caffe.nodes}
    raise_together(
        [refusal(nodes[key], "pt2", f"{name} is an operator of this package") for key, name in foreign.items()]
    )
    return program


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's notes about its own workings from the user."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
