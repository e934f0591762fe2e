"""Copy weights between files and nets by layer name, by Caffe's rules, bit for bit."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError, WeightsError, did_you_mean, raise_together
from caffe_compat.formats.blobs import BlobStore
from caffe_compat.formats.extras import plain
from caffe_compat.formats.files import is_hdf5, read_binary, read_weights_h5, write_binary, write_weights_h5
from caffe_compat.graph.graph import NetGraph
from caffe_compat.graph.sharing import Slot
from caffe_compat.schema import caffe_pb2 as pb

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]
Blobs = Mapping[str, Sequence[Array | None]]
Weights = PathLike | Blobs
_OTHER_NET = "pass the definition these weights belong to, or rename the layer"
Reader = Callable[[Slot], tuple[Array, Array]]


@dataclass(frozen=True)
class Mismatch:
    """A layer of the net that was skipped, and what does not fit, blob by blob."""

    layer: str
    problem: str


@dataclass(frozen=True)
class NotFinite:
    """A blob of `size` values, of which `nan` are NaN and `infinite` are infinite."""

    layer: str
    index: int
    nan: int
    infinite: int
    size: int

    def __str__(self) -> str:
        counts = [f"{count} {kind}" for count, kind in ((self.nan, "NaN"), (self.infinite, "infinite")) if count]
        return f"layer {self.layer!r}, blob {self.index}: {' and '.join(counts)} of {self.size} values"


def not_finite(blobs: Blobs) -> tuple[NotFinite, ...]:
    """Return the blobs, of arrays by layer, with NaN or infinite values."""
    records = []
    for layer, arrays in blobs.items():
        for index, array in enumerate(arrays):
            with np.errstate(invalid="ignore", over="ignore"):  # a sum shows them, and needs no memory
                finite = array is None or np.isfinite(np.sum(array, dtype=np.float64))
            if array is not None and not finite:
                nan, infinite = (int(np.count_nonzero(test(array))) for test in (np.isnan, np.isinf))
                if nan + infinite:
                    records.append(NotFinite(layer, index, nan, infinite, array.size))
    return tuple(records)


@dataclass(frozen=True)
class LoadReport:
    """The result of copying, blob by blob.

    Attributes
    ----------
    copied : state_dict keys with values from the file.
    ignored : layers of the file that the net does not have (Caffe ignores them), or that were renamed to nothing.
    left_at_filler : state_dict keys that the file does not have.
    renamed : (layer of the file, layer of the net) for those copied under another name.
    reshaped : state_dict keys whose values had another shape of the same count in the file.
    mismatched : layers skipped with `mismatched="skip"`.
    absent : every layer of the file that the net does not have, including those without blobs; Caffe logs them.
    not_finite : blobs of the net's layers with NaN or infinite values in the file; they are copied nevertheless.
    """

    copied: tuple[str, ...]
    ignored: tuple[str, ...]
    left_at_filler: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    reshaped: tuple[str, ...] = ()
    mismatched: tuple[Mismatch, ...] = ()
    absent: tuple[str, ...] = ()
    not_finite: tuple[NotFinite, ...] = ()

    def lines(self, file: PathLike) -> list[tuple[str, str]]:
        """Return the place in Caffe's source and the text of each line that it logs about the layers of a file."""
        place = "net.cpp:801" if os.fspath(file).endswith(".h5") else "net.cpp:746"
        return [(place, f"Ignoring source layer {name}") for name in self.absent]

    def warnings(self, file: object) -> list[str]:
        """Return warnings about a copied file of weights: one sentence for each blob."""
        return [f"{file}: {blob}" for blob in self.not_finite]

    def refuse_unrelated(self, file: PathLike, layers: Sequence[str]) -> None:
        """Raise WeightsError if nothing of a file went into a net with these learned layers."""
        if not layers or self.copied or self.mismatched or self.reshaped:
            return
        problem = f"shares no layer with the net: the file has {_few(self.ignored)}, the net has {_few(layers)}"
        hint = "pass the definition these weights belong to, or rename layers"
        raise WeightsError(problem, code="mismatch", file=file, hint=hint)

    def __str__(self) -> str:
        parts = [f"{len(self.copied)} blobs copied"]
        if self.renamed:
            parts.append(f"renamed: {', '.join(f'{old} to {new}' for old, new in self.renamed)}")
        if self.reshaped:
            parts.append(f"reshaped: {', '.join(self.reshaped)}")
        if self.ignored:
            parts.append(f"layers ignored: {', '.join(self.ignored)}")
        if self.mismatched:
            parts.append(f"left out: {', '.join(f'{m.layer} ({m.problem})' for m in self.mismatched)}")
        if self.left_at_filler:
            parts.append(f"left at their fillers: {', '.join(self.left_at_filler)}")
        return "; ".join(parts)


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])]) or "none"


def renamed_layers(
    blobs: Blobs, rename: Mapping[str, str] | None, layers: Mapping[str, object], file: PathLike | None
) -> tuple[Blobs, tuple[tuple[str, str], ...]]:
    """Return the file's layers under the net's names, and which were renamed."""
    if not rename:
        return blobs, ()
    problems: list[CaffeCompatError] = []
    for old, new in rename.items():
        where: Any = {"file": file, "field": "rename", "value": f"{old}={new}"}
        if old not in blobs:
            hint = did_you_mean(old, blobs)
            problems.append(WeightsError("the weights have no such layer", code="name-unknown", **where, hint=hint))
        elif new and new not in layers:
            hint = did_you_mean(new, layers)
            problems.append(WeightsError("the net has no such layer", code="name-unknown", **where, hint=hint))
        elif new in blobs and new not in rename:
            problem = f"the weights have a layer {new!r} too"
            problems.append(WeightsError(problem, code="conflict", **where, hint=f"rename {new}= to leave it out"))
    targets = [new for new in rename.values() if new]
    problems += [
        WeightsError("two layers are renamed to this layer", code="duplicate", file=file, field="rename", value=new)
        for new in sorted({new for new in targets if targets.count(new) > 1})
    ]
    raise_together(problems)
    taken = {rename.get(name, name): arrays for name, arrays in blobs.items() if rename.get(name, name)}
    return taken, tuple((old, new) for old, new in rename.items() if new)


def read_weights(path: PathLike) -> dict[str, list[Array | None]]:
    """Return the blobs of a .caffemodel (of any age) or .caffemodel.h5 by layer name.

    Of two layers of one name the last counts, as it is the last that Caffe copies.
    """
    if is_hdf5(path):
        return read_weights_h5(path)
    message, store = read_binary(path, pb.NetParameter)
    layers = upgrade_net(message).layer
    if not layers:
        raise WeightsError("has no layers", code="empty", file=path, hint="pass a .caffemodel or .caffemodel.h5")
    return {layer.name: [store.data(blob) for blob in layer.blobs] for layer in layers}


def copy_weights(
    net: fx.GraphModule,
    weights: Weights,
    *,
    rename: Mapping[str, str] | None = None,
    reshape: bool | Collection[str] = False,
    mismatched: Literal["refuse", "skip"] = "refuse",
    unrelated: Literal["refuse", "take"] = "refuse",
) -> LoadReport:
    """Copy blobs into a net by layer name.

    Parameters
    ----------
    net : a module made by :func:`caffe_compat.build.net.build_net` or load_net.
    weights : path of a .caffemodel or .caffemodel.h5, or arrays by layer name (None leaves a blob as it is).
    rename : layer of the file -> layer of the net; "" leaves the file's layer out.
    reshape : copy blobs of another shape and the same count value by value; True, or the layers of the net to do so
        for.
    mismatched : refuse the file if a layer's blobs do not fit, or skip that layer alone.
    unrelated : refuse a file that shares no layer with the net, or take it as Caffe does.

    Returns
    -------
    A report of what was copied, what was ignored, and which blobs keep their values.

    Raises
    ------
    WeightsError, ProblemsError
        A blob count or a shape does not fit, a layer to rename does not exist, or the file and the net share no layer;
        nothing has been copied then. A shape fits if it is the net's, or the net's with ones in front up to four axes
        (the form of old Caffe: (1, 1, 300, 6400) for a blob of (300, 6400)).
    """
    graph: NetGraph = net.meta["caffe"]
    copies, report = match_weights(graph, weights, rename=rename, reshape=reshape, mismatched=mismatched)
    if isinstance(weights, str | os.PathLike) and unrelated == "refuse":
        report.refuse_unrelated(weights, graph.learned())
    for slot, array in copies:
        place(net, slot, torch.from_numpy(array).float())
    return report


def match_weights(
    graph: NetGraph,
    weights: Weights,
    *,
    rename: Mapping[str, str] | None = None,
    reshape: bool | Collection[str] = False,
    mismatched: Literal["refuse", "skip"] = "refuse",
) -> tuple[list[tuple[Slot, Array]], LoadReport]:
    """Return the arrays that :func:`copy_weights` copies, in their slots' shapes, and the report; raises as it does."""
    file = weights if isinstance(weights, str | os.PathLike) else None
    layers: dict[str, list[Slot]] = {}
    for node in graph.nodes:  # of two layers of one name Caffe fills the first
        layers.setdefault(node.name, list(node.slots))
    blobs, renamed = renamed_layers(
        weights if isinstance(weights, Mapping) else read_weights(weights), rename, layers, file
    )
    may = layers if reshape is True else reshape or ()
    problems: list[CaffeCompatError] = []
    copies: list[tuple[Slot, Array]] = []
    skipped: list[Mismatch] = []
    for name, arrays in blobs.items():
        if name not in layers:
            continue
        layer_copies: list[tuple[Slot, Array]] = []
        mismatches = _fit(layers[name], arrays, layer_copies, file, reshape=name in may)
        if mismatches and mismatched == "skip":
            skipped.append(Mismatch(name, "; ".join(f"{error.field}: {error.problem}" for error in mismatches)))
        else:
            problems += mismatches
            copies += layer_copies
    raise_together(problems)
    copied = {slot.key for slot, _ in copies}
    report = LoadReport(
        copied=tuple(slot.key for slot, _ in copies),
        ignored=tuple(name for name, arrays in blobs.items() if name not in layers and arrays)
        + tuple(old for old, new in (rename or {}).items() if not new),
        left_at_filler=tuple(s.key for s in graph.slots if s.key not in copied and s.owner is None),
        renamed=renamed,
        reshaped=tuple(slot.key for slot, array in copies if not fits(array.shape, slot.blob.shape)),
        mismatched=tuple(skipped),
        absent=tuple(name for name in blobs if name not in layers),
        not_finite=not_finite({name: arrays for name, arrays in blobs.items() if name in layers}),
    )
    return [(slot, np.asarray(array, order="C").reshape(slot.blob.shape)) for slot, array in copies], report


def _fit(
    slots: Sequence[Slot],
    arrays: Sequence[Array | None],
    copies: list[tuple[Slot, Array]],
    file: PathLike | None,
    *,
    reshape: bool,
) -> list[CaffeCompatError]:
    """Append the arrays that fit to `copies`; return the problems of the others."""
    where: Any = {"file": file, "layer": slots[0].layer if slots else None}
    rest = slots[len(arrays) :]
    if rest and all(slot.owner is not None for slot in rest) and (file is None or is_hdf5(file)):
        arrays = [*arrays, *[None] * len(rest)]  # an HDF5 snapshot leaves out what another layer owns
    if len(slots) != len(arrays):
        problem = f"the weights have {len(arrays)} blobs, the net expects {len(slots)}"
        return [WeightsError(problem, code="wrong-count", **where, field="blobs", hint=_OTHER_NET)]
    problems: list[CaffeCompatError] = []
    for slot, array in zip(slots, arrays, strict=True):
        if array is None:
            continue
        same_count = array.size == math.prod(slot.blob.shape)
        if fits(array.shape, slot.blob.shape) or (reshape and same_count):
            copies.append((slot, array))
            continue
        problem = f"weights have shape {tuple(array.shape)}, the net expects {tuple(slot.blob.shape)}"
        hint = "pass reshape to copy the values in their order" if same_count else _OTHER_NET
        problems.append(WeightsError(problem, code="shape-mismatch", **where, field=f"blobs[{slot.index}]", hint=hint))
    return problems


def fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    """Tell whether a stored shape is the expected one, or its four-axis form with ones in front."""
    if tuple(shape) == tuple(expected):
        return True
    return len(shape) == 4 and len(expected) < 4 and tuple(shape) == (1,) * (4 - len(expected)) + tuple(expected)


def tensor_of(net: fx.GraphModule, key: str) -> torch.Tensor:
    """Return the parameter or buffer of a state_dict key."""
    module, _, name = key.rpartition(".")
    tensor: torch.Tensor = getattr(net.get_submodule(module), name)
    return tensor


def tie(net: fx.GraphModule, key: str, tensor: torch.Tensor) -> None:
    """Bind a state_dict key to an existing parameter or buffer."""
    module, _, name = key.rpartition(".")
    setattr(net.get_submodule(module), name, tensor)


def place(net: fx.GraphModule, slot: Slot, blob: torch.Tensor) -> None:
    """Set a slot's values: in place, or in new memory if it has none yet."""
    path, _, name = slot.key.rpartition(".")
    module = net.get_submodule(path)
    value = slot.stored.to_torch(blob)
    old: torch.Tensor = getattr(module, name)
    if not old.is_meta:
        with torch.no_grad():
            old.copy_(value)
        return
    if isinstance(module, nn.Conv2d) or value.dim() < 2:
        value = value.clone(memory_format=torch.contiguous_format)  # in torch's own memory, which can be guarded
    if slot.blob.buffer:
        module.register_buffer(name, value)
    else:
        value = value.contiguous() if slot.stored.transposed else value
        module.register_parameter(name, nn.Parameter(value, requires_grad=slot.lr_mult != 0))


def caffe_blobs(net: fx.GraphModule) -> dict[str, list[torch.Tensor]]:
    """Return every layer's blobs in Caffe's order, shape and layout; detached, on the CPU."""
    graph: NetGraph = net.meta["caffe"]
    out: dict[str, list[torch.Tensor]] = {}
    for node in graph.nodes:
        out.setdefault(node.name, [])
        for slot in node.slots:
            out[node.name].append(slot.stored.to_caffe(tensor_of(net, slot.key).detach()).cpu().contiguous())
    return out


def _message(graph: NetGraph, read: Reader, *, diffs: bool) -> tuple[pb.NetParameter, BlobStore]:
    """Return the net as Caffe's ToProto gives it: name, layers as set up, blobs (values in the store)."""
    message, store = pb.NetParameter(name=graph.name), BlobStore()
    for node in graph.nodes:
        layer = message.layer.add()
        layer.CopyFrom(plain(node.message))
        layer.ClearField("blobs")
        for slot in node.slots:
            value, grad = read(slot)
            store.attach(layer.blobs.add(), value, grad if diffs else None)
    return message, store


def save_weights(net: fx.GraphModule, path: PathLike, fmt: str = "BINARYPROTO", *, diffs: bool = False) -> None:
    """Write a .caffemodel ("BINARYPROTO") or .caffemodel.h5 ("HDF5"), complete or not at all; values bit for bit."""
    save_blobs(net.meta["caffe"], functools.partial(_value_and_grad, net), path, fmt, diffs=diffs)


def save_blobs(graph: NetGraph, read: Reader, path: PathLike, fmt: str = "BINARYPROTO", *, diffs: bool = False) -> None:
    """Write the file of :func:`save_weights`; `read` gives a slot's values and gradients in Caffe's shape."""
    if fmt not in ("BINARYPROTO", "HDF5"):
        raise WeightsError(
            "unknown format", code="name-unknown", field="fmt", value=fmt, hint="use BINARYPROTO or HDF5"
        )
    if fmt == "BINARYPROTO":
        message, store = _message(graph, read, diffs=diffs)
        write_binary(message, path, store)
        return
    values: dict[str, list[Array | None]] = {node.name: [] for node in graph.nodes}
    grads: dict[str, list[Array | None]] = {node.name: [] for node in graph.nodes}
    for node in graph.nodes:
        for slot in node.slots:
            value, grad = read(slot)
            values[node.name].append(value if slot.owner is None else None)
            grads[node.name].append(grad)  # of shared ones as well
    write_weights_h5(path, values, grads if diffs else None)


def share_weights(net: fx.GraphModule, source: fx.GraphModule) -> None:
    """Make `net` use the very tensors of `source` in layers of the same name."""
    mine: NetGraph = net.meta["caffe"]
    theirs: NetGraph = source.meta["caffe"]
    slots = {(slot.layer, slot.index): slot for slot in theirs.slots}
    problems: list[CaffeCompatError] = []
    for slot in mine.slots:
        other = slots.get((slot.layer, slot.index))
        if other is None:
            continue
        if other.blob.shape != slot.blob.shape or other.blob.transposed != slot.blob.transposed:
            problem = f"cannot be shared: shape {slot.blob.shape} in one net, {other.blob.shape} in the other"
            problems.append(
                WeightsError(problem, code="shape-mismatch", layer=slot.layer, field=f"blobs[{slot.index}]")
            )
            continue
        tie(net, slot.key, tensor_of(source, other.key))
    raise_together(problems)


def _value_and_grad(net: fx.GraphModule, slot: Slot) -> tuple[Array, Array]:
    tensor = tensor_of(net, slot.key)
    grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
    value, grad = (slot.stored.to_caffe(t.detach()).cpu().contiguous() for t in (tensor, grad))
    return value.numpy(), grad.numpy()
