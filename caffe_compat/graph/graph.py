"""Build a frozen graph from a prepared net: layers resolved, blobs shaped, all problems in one error.

Source of the rules: Caffe 1.0, Net::Init, AppendTop, AppendBottom and AppendParam.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from keyword import iskeyword

from torch import fx

from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.definition.splits import insert_splits
from caffe_compat.errors import CaffeCompatError, Code, NetError, did_you_mean, raise_together
from caffe_compat.formats.extras import all_unknown_fields, copied
from caffe_compat.graph.sharing import Sharing, Slot
from caffe_compat.layers import Layer, LayerSpec, Shape, View, resolve_type
from caffe_compat.layers.base import count, rejections
from caffe_compat.schema import caffe_pb2 as pb

RESERVED = frozenset(
    "training graph meta code caffe inputs returns losses params forward_dict total_loss every_blob".split()  # noqa: SIM905
)
"""Names a layer's module cannot have, in addition to those of torch.fx.GraphModule: they are CaffeNet's own."""

LARGEST = 2**31 - 1
"""Most values a blob may have: Caffe counts them in an int."""

InputShapes = Mapping[str, Sequence[int]]


_UNQUOTABLE = re.compile(r"""[."'\\\x00-\x1f\x7f-\x9f]""")


@dataclass(frozen=True)
class LayerNode:
    """One layer in its place, with the names of its blobs."""

    key: str
    """The layer's name as an attribute of the torch module."""
    layer: Layer
    spec: LayerSpec
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    loss_weights: tuple[float, ...]
    """One per top."""
    slots: tuple[Slot, ...]
    written: pb.LayerParameter
    """The layer as written in the definition, with Caffe's split blobs."""
    message: pb.LayerParameter
    """The layer as in a snapshot."""

    @property
    def name(self) -> str:
        """Return the layer's name."""
        return self.spec.param.name

    @property
    def type(self) -> str:
        """Return the layer's type."""
        return self.layer.type

    @property
    def is_split(self) -> bool:
        """Tell whether the tops are the bottom under other names."""
        return self.layer.top_view(self.spec.param) is View.VALUES


@dataclass(frozen=True)
class NetGraph:
    """A net in one phase, checked and shaped."""

    name: str
    phase: str
    nodes: tuple[LayerNode, ...]
    """The layers in order, with the Split layers that Caffe inserts."""
    inputs: tuple[str, ...]
    """Blobs to feed: the tops of Input layers and of data layers, in order."""
    outputs: tuple[str, ...]
    """Tops that no layer takes, in Caffe's (alphabetical) order."""
    shapes: Mapping[str, Shape]
    """By blob, in the order the blobs are made."""
    losses: tuple[tuple[str, float], ...]
    """(blob, weight) of every top with a loss weight."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Return every parameter blob in Caffe's order."""
        return tuple(slot for node in self.nodes for slot in node.slots)

    def learned(self) -> list[str]:
        """Return the names of the layers that have parameter blobs."""
        return [node.name for node in self.nodes if node.slots]

    def parameter_count(self) -> int:
        """Return the number of parameters, shared ones once."""
        return sum(count(slot.blob.shape) for slot in self.slots if slot.owner is None)


def build_graph(net: PreparedNet, *, input_shapes: InputShapes | None = None) -> NetGraph:
    """Check a net and give every blob its shape, or raise one error with all problems.

    `input_shapes` has those of blobs that are fed; data layers need them, and they replace the shapes of Input layers.
    """
    return _Builder(insert_splits(net.message), net.phase, dict(input_shapes or {}), net.forks).graph()


@dataclass
class _Builder:
    net: pb.NetParameter
    phase: str
    input_shapes: dict[str, Sequence[int]]
    forks: tuple[str, ...] = ()
    problems: list[CaffeCompatError] = field(default_factory=list)
    nodes: list[LayerNode] = field(default_factory=list)
    shapes: dict[str, Shape | None] = field(default_factory=dict)
    available: set[str] = field(default_factory=set)
    sharing: Sharing = field(default_factory=Sharing)
    keys: set[str] = field(default_factory=set)

    def graph(self) -> NetGraph:
        unknown_fields = all_unknown_fields(self.net)
        self.problems += [field.error(NetError) for path, field in unknown_fields if not path.startswith("layer")]
        for param in self.net.layer:
            self._add(param)
        fed = {top for node in self.nodes if node.layer.is_data for top in node.tops}
        for blob in self.input_shapes.keys() - fed:
            hint = did_you_mean(blob, fed) or f"its inputs are {', '.join(sorted(fed)) or 'none'}"
            self.problems.append(
                NetError("the net has no such input", code="name-unknown", field="input_shapes", value=blob, hint=hint)
            )
        raise_together(self.problems)
        return NetGraph(
            name=self.net.name,
            phase=self.phase,
            nodes=tuple(replace(n, slots=tuple(map(self.sharing.settled, n.slots))) for n in self.nodes),
            inputs=tuple(top for node in self.nodes if node.layer.is_data for top in node.tops),
            outputs=tuple(sorted(self.available)),
            shapes={blob: shape for blob, shape in self.shapes.items() if shape is not None},
            losses=tuple(
                (top, weight)
                for node in self.nodes
                for top, weight in zip(node.tops, node.loss_weights, strict=True)
                if weight
            ),
        )

    def _add(self, param: pb.LayerParameter) -> None:
        spec, layer, faults = LayerSpec(param, (), self.phase), None, list[CaffeCompatError]()
        chosen = resolve_type(spec, self.forks)
        if isinstance(chosen, tuple):
            layer, spec = chosen
        else:
            faults += chosen
        shapes = [self._bottom(spec, blob, faults) for blob in param.bottom]
        node = None
        if layer is not None and not faults and None not in shapes:
            try:
                node = self._node(layer, replace(spec, bottoms=tuple(s for s in shapes if s is not None)), faults)
            except CaffeCompatError as error:
                faults.append(error)
        self.problems += faults
        tops = node.tops if node else tuple(param.top)
        made = dict.fromkeys(tops) if node is None else dict(zip(tops, self._checked_shapes(node), strict=True))
        for index, top in enumerate(tops):
            self._top(spec, index, top, made[top])
        if node:
            self.nodes.append(node)

    def _bottom(self, spec: LayerSpec, blob: str, faults: list[CaffeCompatError]) -> Shape | None:
        if blob not in self.available:
            taken = blob in self.shapes
            problem = "another layer in place has taken this blob" if taken else "no layer above makes this blob"
            hint = None if taken else did_you_mean(blob, self.shapes)
            faults.append(spec.error(problem, "bottom", blob, hint, code="name-unknown"))
        self.available.discard(blob)
        return self.shapes.get(blob)

    def _top(self, spec: LayerSpec, index: int, top: str, shape: Shape | None) -> None:
        in_place = index < len(spec.param.bottom) and spec.param.bottom[index] == top
        if top in self.shapes and not in_place:
            self.problems.append(
                spec.error(
                    "another layer makes a blob of this name",
                    "top",
                    top,
                    "rename the top; a layer in place needs it as its bottom too",
                    code="duplicate",
                )
            )
        self.shapes[top] = shape
        if top in spec.param.top:  # an automatic top is no output
            self.available.add(top)

    def _node(self, layer: Layer, spec: LayerSpec, faults: list[CaffeCompatError]) -> LayerNode | None:
        param, message = spec.param, copied(spec.param)
        if not message.HasField("phase"):
            message.phase = pb.TRAIN if self.phase == "TRAIN" else pb.TEST
        layer.complete(replace(spec, param=message))
        full = message
        if layer.is_loss and not param.top:
            full = copied(message)
            full.top.append(f"{param.name} (automatic)")
        spec = replace(spec, param=full)
        faults += self._arity(layer, spec)
        if not faults:
            faults += [*rejections(layer, spec), *layer.check(spec)]
        if faults:
            return None
        key = self._key(param.name)
        weights = [*full.loss_weight, *[0.0] * (len(full.top) - len(full.loss_weight))]
        slots = tuple(self._slots(layer, spec, key))
        return LayerNode(key, layer, spec, tuple(full.bottom), tuple(full.top), tuple(weights), slots, param, message)

    def _arity(self, layer: Layer, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        param = spec.param
        if not layer.bottoms.allows(len(param.bottom)):
            problem = f"{layer.type} takes {layer.bottoms} bottoms, got {len(param.bottom)}"
            yield spec.error(problem, "bottom", list(param.bottom), code="wrong-count")
        if not layer.tops.allows(len(param.top)):
            problem = f"{layer.type} makes {layer.tops} tops, got {len(param.top)}"
            yield spec.error(problem, "top", list(param.top), code="wrong-count")
        if len(param.loss_weight) > len(param.top):
            problem = f"needs at most one loss weight per top ({len(param.top)}), got {len(param.loss_weight)}"
            yield spec.error(problem, "loss_weight", list(param.loss_weight), code="wrong-count")
        if len(param.propagate_down) not in (0, len(param.bottom)):
            problem = f"needs one value per bottom ({len(param.bottom)}), got {len(param.propagate_down)}"
            yield spec.error(problem, "propagate_down", list(param.propagate_down), code="wrong-count")

    def _key(self, name: str) -> str:
        """Return a name that a torch module accepts: no dot, no keyword, none of its own attributes, unique.

        torch.fx writes the name between quotes into the module's code, so nothing in it may end the string.
        """
        key = _UNQUOTABLE.sub("_", name) or "layer"
        while hasattr(fx.GraphModule, key) or key in RESERVED or iskeyword(key):
            key += "_"
        first, number = key, 1
        while key in self.keys:
            number += 1
            key = f"{first}_{number}"
        self.keys.add(key)
        return key

    def _slots(self, layer: Layer, spec: LayerSpec, key: str) -> Iterator[Slot]:
        blobs, params = layer.blobs(spec), spec.param.param
        if len(params) > len(blobs):
            problem = f"the layer has {len(blobs)} parameter blobs, got {len(params)} param messages"
            raise spec.error(problem, "param", code="wrong-count")
        for index, blob in enumerate(blobs):
            given = params[index] if index < len(params) else pb.ParamSpec()
            slot = Slot(spec.param.name, index, f"{key}.{blob.name}", blob, given.lr_mult, given.decay_mult)
            yield self.sharing.placed(spec, slot, given)

    def _checked_shapes(self, node: LayerNode) -> Iterator[Shape | None]:
        """Yield the shapes of a layer's tops, None for one that is larger than a blob can be."""
        for slot in node.slots:
            self._fits(node.spec, f"blobs[{slot.index}]", slot.blob.shape)
        for top, shape in zip(node.tops, self._top_shapes(node), strict=True):
            yield shape if shape is None or self._fits(node.spec, f"top {top!r}", shape) else None

    def _fits(self, spec: LayerSpec, what: str, shape: Shape) -> bool:
        negative = any(dim < 0 for dim in shape)
        if negative or count(shape) > LARGEST:
            problem = "dimensions must not be negative" if negative else f"a blob has at most {LARGEST} values"
            code: Code = "out-of-range" if negative else "too-large"
            self.problems.append(spec.error(problem, what, shape, code=code))
            return False
        return True

    def _top_shapes(self, node: LayerNode) -> tuple[Shape | None, ...]:
        if not node.layer.is_data:
            return node.layer.top_shapes(node.spec)
        own: tuple[Shape | None, ...] = node.layer.top_shapes(node.spec) or (None,) * len(node.tops)
        return tuple(self._fed_shape(node.spec, top, shape) for top, shape in zip(node.tops, own, strict=True))

    def _fed_shape(self, spec: LayerSpec, top: str, own: Shape | None) -> Shape | None:
        if top in self.input_shapes:
            own = tuple(int(dim) for dim in self.input_shapes[top])
            if any(dim < 1 for dim in own):
                problem = "dimensions must be positive"
                self.problems.append(spec.error(problem, f"input_shapes[{top!r}]", own, code="out-of-range"))
        elif own is None:
            hint = f"pass input_shapes={{{top!r}: (N, ...)}}"
            problem = "the shape of this input is unknown"
            self.problems.append(spec.error(problem, "top", top, hint, code="shape-unknown"))
        return own
