"""An ONNX graph in the making: nodes, constants and the names of values, without the package onnx."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.export.sizes import LayerSizes, free
from caffe_compat.layers.facts import Operand, Sizes

Array = npt.NDArray[Any]


class FreeSizeError(Exception):
    """A layer can be exported only for a size that is fixed."""


@dataclass
class Node:
    """A node of an ONNX graph."""

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any]


@dataclass
class OnnxGraph:
    """Nodes and constants in order; every value, constant and node has a name of its own."""

    names: set[str]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    _by_content: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """Return a name as close to `name` as is free, and take it."""
        out, number = name, 1
        while out in self.names:
            number += 1
            out = f"{name}.{number}"
        self.names.add(out)
        return out

    def constant(self, value: Array, name: str) -> str:
        """Return the name of a constant; equal ones are kept once."""
        value = np.asarray(value, order="C")
        key = value.dtype.str, value.shape, hashlib.blake2b(value.tobytes()).digest()
        if key not in self._by_content:
            self._by_content[key] = self.unique(name)
            self.constants[self._by_content[key]] = value
        return self._by_content[key]

    def rename(self, old: str, new: str, since: int) -> None:
        """Rename a value made by the nodes from number `since` on."""
        for node in self.nodes[since:]:
            node.inputs = [new if value == old else value for value in node.inputs]
            node.outputs = [new if value == old else value for value in node.outputs]


@dataclass
class LayerWriter:
    """The part of a graph that one layer writes: see :class:`caffe_compat.layers.facts.OnnxWriter`."""

    graph: OnnxGraph
    name: str
    bottoms: Sequence[str]
    parameters: Mapping[str, Array]
    sizes: LayerSizes

    @property
    def blobs(self) -> list[Array]:
        """Return the parameter blobs in Caffe's order and shape."""
        return list(self.parameters.values())

    @property
    def bottom_shapes(self) -> list[Sizes]:
        """Return the shapes of the bottoms."""
        return [free(sizes) for sizes in self.sizes.bottoms]

    @property
    def top_shapes(self) -> list[Sizes]:
        """Return the shapes of the tops."""
        return [free(sizes) for sizes in self.sizes.tops]

    def node(self, operator: str, *inputs: Operand, **attributes: Any) -> str:
        """Append a node with one output; return the output."""
        return self.nodes(operator, *inputs, outputs=1, **attributes)[0]

    def nodes(self, operator: str, *inputs: Operand, outputs: int, **attributes: Any) -> list[str]:
        """Append a node with several outputs; return them."""
        values = [self.graph.unique(f"{self.name}:{operator}") for _ in range(outputs)]
        names = [self._operand(operand, f"{self.name}:{operator}.{i}") for i, operand in enumerate(inputs)]
        self.graph.nodes.append(Node(operator, values[0], names, values, attributes))
        return list(values)

    def fixed(self, sizes: Sizes) -> tuple[int, ...]:
        """Return sizes that are fixed; raise FreeSizeError where one is not."""
        fixed = tuple(size for size in sizes if size is not None)
        if len(fixed) < len(sizes):
            raise FreeSizeError
        return fixed

    def as_top(self, value: str, index: int = 0) -> str:
        """Return `value` in the shape of a top."""
        top, bottom = self.sizes.tops[index], self.sizes.bottoms[0]
        same = [value == self.bottoms[0] and i < len(bottom) and bottom[i] == size for i, size in enumerate(top)]
        dims = [size if size is not None else 0 if copied else -1 for size, copied in zip(free(top), same, strict=True)]
        if dims.count(-1) <= 1:
            return self.node("Reshape", value, dims)
        if top == bottom:
            return self.node("Reshape", value, self.node("Shape", self.bottoms[0]))
        raise FreeSizeError

    def _operand(self, operand: Operand, name: str) -> str:
        if isinstance(operand, str):
            return operand
        if isinstance(operand, float):
            return self.graph.constant(np.array(operand, np.float32), name)
        if not isinstance(operand, np.ndarray):
            return self.graph.constant(np.array(operand, np.int64), name)
        mine = (blob for blob, array in self.parameters.items() if array is operand)
        return self.graph.constant(operand, next((f"{self.name}.{blob}" for blob in mine), name))
