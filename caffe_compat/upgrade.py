"""Bring old nets and solvers to the current form.

In Caffe's order: V0 -> V1, data transformation, V1 -> V2, inputs, batch norm.
Every step is a pair: ``needs_x(message) -> bool`` and ``upgrade_x(message) -> new message``. References to blob values,
notes of where a layer was written and unknown fields of forks go along.
Source of the rules: BVLC Caffe 9b89154, src/caffe/util/upgrade_proto.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from caffe_compat.errors import CaffeCompatError, NetError, SolverError, did_you_mean, raise_together
from caffe_compat.proto.caffe_pb2 import (
    LayerParameter,
    NetParameter,
    SolverParameter,
    V0LayerParameter,
    V1LayerParameter,
)
from caffe_compat.proto.marks import add_fork, add_where, copy_unknown, forks, repeated, where
from caffe_compat.proto.old_names import (
    SOLVER_TYPES,
    V0_FIELDS,
    V0_PARAMS,
    V0_TRANSFORMATIONS,
    V0_TYPES,
    V1_TYPES,
)

M = TypeVar("M", bound=Message)

_DATA_LAYERS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORMATIONS = ("scale", "mean_file", "crop_size", "mirror")


def needs_upgrade(net: NetParameter) -> bool:
    """Whether any step has something to do."""
    return any(needs(net) for needs, _ in _STEPS)


def upgrade_net(net: NetParameter) -> NetParameter:
    """Return the net in its current (V2) form.

    Raises
    ------
    NetError, ProblemsError
        What Caffe cannot carry over either; all of it in one error.
    """
    for needs, step in _STEPS:
        if needs(net):
            net = step(net)
    return _copy(net)


# V0 -> V1.


def needs_v0_upgrade(net: NetParameter) -> bool:
    """Whether any layer is of the oldest form, ``layers { layer { ... } }``."""
    return any(layer.HasField("layer") for layer in net.layers)


def upgrade_v0(net: NetParameter) -> NetParameter:
    """Return a V1 net: padding layers become the pad of what they feed, parameters are grouped by type."""
    padded = upgrade_v0_padding(net)
    out = NetParameter()
    for name in ("name", "force_backward"):
        if padded.HasField(name):
            setattr(out, name, getattr(padded, name))
    out.input.extend(padded.input)
    out.input_dim.extend(padded.input_dim)
    copy_unknown(padded, out)
    problems: list[CaffeCompatError] = []
    for layer in padded.layers:
        problems += _upgrade_v0_layer(layer, out.layers.add())
    raise_together(problems)
    return out


def upgrade_v0_padding(net: NetParameter) -> NetParameter:
    """Return the net without its ``padding`` layers, their pad given to the convolution or pooling that follows."""
    out = _copy(net)
    out.ClearField("layers")
    makers: dict[str, V1LayerParameter | None] = dict.fromkeys(net.input)
    problems: list[CaffeCompatError] = []
    for layer in net.layers:
        kind = layer.layer.type
        kept = None
        if kind != "padding":
            kept = out.layers.add()
            kept.CopyFrom(layer)
        for index, bottom in enumerate(layer.bottom):
            if bottom not in makers:
                hint = did_you_mean(bottom, makers)
                problems.append(_v0_error(layer, "no layer before it makes this blob", "bottom", bottom, hint))
                continue
            maker = makers[bottom]
            if maker is None or maker.layer.type != "padding":
                continue
            problem = _padding_problem(layer, maker)
            if problem:
                problems.append(_v0_error(layer, problem, "bottom", bottom))
            elif kept is not None:
                kept.layer.pad = maker.layer.pad
                kept.bottom[index] = maker.bottom[0]
        makers.update(dict.fromkeys(layer.top, layer))
    raise_together(problems)
    return out


def _padding_problem(layer: V1LayerParameter, padding: V1LayerParameter) -> str | None:
    if layer.layer.type not in ("conv", "pool"):
        return f"padding before a layer of type {layer.layer.type!r}; only conv and pool can take it"
    if len(layer.bottom) != 1:
        return f"{len(layer.bottom)} bottoms; a padded layer has one"
    if len(padding.bottom) != 1 or len(padding.top) != 1:
        return f"padding layer {padding.layer.name!r} must have one bottom and one top"
    return None


def _upgrade_v0_layer(old: V1LayerParameter, new: V1LayerParameter) -> list[CaffeCompatError]:
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    copy_unknown(old, new)
    problems: list[CaffeCompatError] = []
    # Caffe drops these without a word.
    for field, _ in old.ListFields():
        if field.name not in ("bottom", "top", "layer"):
            problems.append(_v0_error(old, "beside the V0 form's inner `layer`, Caffe would drop this", field.name))
    layer = old.layer
    kind = layer.type
    if layer.HasField("name"):
        new.name = layer.name
    if layer.HasField("type"):
        if kind in V0_TYPES:
            new.type = V1LayerParameter.LayerType.Value(V0_TYPES[kind])  # type: ignore[assignment]
        else:
            problems.append(_v0_error(old, "no V0 layer type", "type", kind, did_you_mean(kind, V0_TYPES)))
            return problems
    for blob in layer.blobs:
        new.blobs.add().CopyFrom(blob)
    new.blobs_lr.extend(layer.blobs_lr)
    new.weight_decay.extend(layer.weight_decay)
    for source, target in V0_TRANSFORMATIONS.items():
        if layer.HasField(source):
            setattr(new.transform_param, target, getattr(layer, source))
    for source, (kinds, target) in V0_FIELDS.items():
        if layer.HasField(source):
            if kind in kinds:
                _set(getattr(new, V0_PARAMS[kind]), target, getattr(layer, source))
            else:
                problems.append(_misplaced(old, source, kinds))
    if layer.HasField("hdf5_output_param"):
        if kind == "hdf5_output":
            new.hdf5_output_param.CopyFrom(layer.hdf5_output_param)
        else:
            problems.append(_misplaced(old, "hdf5_output_param", ("hdf5_output",)))
    _keep_marks(layer, new)
    return problems


def _misplaced(layer: V1LayerParameter, field: str, kinds: Sequence[str]) -> CaffeCompatError:
    return _v0_error(
        layer, f"a layer of type {layer.layer.type!r} has no such parameter", field, hint=" or ".join(kinds)
    )


def _v0_error(
    layer: V1LayerParameter, problem: str, field: str, value: object = None, hint: str | None = None
) -> CaffeCompatError:
    return _error(layer, layer.layer.name, problem, field, value, hint)


def _error(
    layer: Message, name: str, problem: str, field: str, value: object = None, hint: str | None = None
) -> CaffeCompatError:
    place = where(layer)
    file, line = (place.file, place.line) if place else (None, None)
    return NetError(problem, file=file, line=line, layer=name, field=field, value=value, hint=hint)


# Data transformation, in V1.


def needs_data_upgrade(net: NetParameter) -> bool:
    """Whether a V1 data layer has its transformation in its own parameters."""
    return any(
        getattr(layer, param).HasField(name)
        for layer in net.layers
        if (param := _data_param(layer)) is not None
        for name in _TRANSFORMATIONS
    )


def upgrade_data(net: NetParameter) -> NetParameter:
    """Return the net with the transformations of its V1 data layers in ``transform_param``."""
    out = _copy(net)
    for layer in out.layers:
        param = _data_param(layer)
        if param is None:
            continue
        old, new = getattr(layer, param), layer.transform_param
        old.SetInParent()
        new.SetInParent()
        for name in _TRANSFORMATIONS:
            if old.HasField(name):
                setattr(new, name, getattr(old, name))
                old.ClearField(name)
    return out


def _data_param(layer: V1LayerParameter) -> str | None:
    return _DATA_LAYERS.get(V1LayerParameter.LayerType.Name(layer.type)) if layer.HasField("type") else None


# V1 -> V2.


def needs_v1_upgrade(net: NetParameter) -> bool:
    """Whether the net has ``layers``, whose types are identifiers."""
    return len(net.layers) > 0


def upgrade_v1(net: NetParameter) -> NetParameter:
    """Return a V2 net: types become strings, `blobs_lr` and the like become ``param``."""
    if net.layer:
        raise _error(
            net.layers[0],
            net.layers[0].name,
            "the net has both `layer` and `layers`",
            "layers",
            hint="write all as `layer`, with types in quotes",
        )
    out = _copy(net)
    out.ClearField("layers")
    for layer in net.layers:
        _upgrade_v1_layer(layer, out.layer.add())
    return out


def _upgrade_v1_layer(old: V1LayerParameter, new: LayerParameter) -> None:
    new_fields = new.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        target = new_fields.get(field.name)
        if field.name not in ("type", "param") and target is not None:
            _set(new, field.name, value, whole=True)
    if old.HasField("type"):
        new.type = V1_TYPES[V1LayerParameter.LayerType.Name(old.type)]
    for source, target_name in (
        ("param", "name"),
        ("blob_share_mode", "share_mode"),
        ("blobs_lr", "lr_mult"),
        ("weight_decay", "decay_mult"),
    ):
        for index, value in enumerate(getattr(old, source)):
            while len(new.param) <= index:
                new.param.add()
            setattr(new.param[index], target_name, value)
    _keep_marks(old, new)


# Inputs, in V2.


def needs_input_upgrade(net: NetParameter) -> bool:
    """Whether the net names its inputs outside of layers."""
    return len(net.input) > 0


def upgrade_input(net: NetParameter) -> NetParameter:
    """Return the net with an Input layer first in place of ``input``, ``input_shape`` and ``input_dim``.

    Inputs without any shape, as old caffemodels have them, are dropped.
    """
    out = _copy(net)
    for name in ("input", "input_shape", "input_dim", "layer"):
        out.ClearField(name)
    if net.input_shape or net.input_dim:
        layer = out.layer.add(name="input", type="Input", top=net.input)
        if net.input_shape:
            if len(net.input_shape) < len(net.input):
                raise NetError(f"{len(net.input)} inputs, but {len(net.input_shape)} shapes", field="input_shape")
            for shape in net.input_shape[: len(net.input)]:
                layer.input_param.shape.add().CopyFrom(shape)
        else:
            if len(net.input_dim) < 4 * len(net.input):
                problem = (
                    f"{len(net.input)} inputs need {4 * len(net.input)} extents, but {len(net.input_dim)} are given"
                )
                raise NetError(problem, field="input_dim")
            for index in range(len(net.input)):
                layer.input_param.shape.add(dim=net.input_dim[4 * index : 4 * index + 4])
    for old in net.layer:
        out.layer.add().CopyFrom(old)
    return out


# Batch norm, in V2.


def needs_batch_norm_upgrade(net: NetParameter) -> bool:
    """Whether a BatchNorm layer declares three parameters, whose multipliers once had to be zeroed by hand."""
    return any(layer.type == "BatchNorm" and len(layer.param) == 3 for layer in net.layer)


def upgrade_batch_norm(net: NetParameter) -> NetParameter:
    """Return the net with the multipliers of such layers set to zero."""
    out = _copy(net)
    for layer in out.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for param in layer.param:
                param.lr_mult = 0
                param.decay_mult = 0
    return out


_STEPS = (
    (needs_v0_upgrade, upgrade_v0),
    (needs_data_upgrade, upgrade_data),
    (needs_v1_upgrade, upgrade_v1),
    (needs_input_upgrade, upgrade_input),
    (needs_batch_norm_upgrade, upgrade_batch_norm),
)


# Solvers.


def needs_solver_type_upgrade(solver: SolverParameter) -> bool:
    """Whether the solver's type is given by the identifier of old."""
    return solver.HasField("solver_type")


def upgrade_solver_type(solver: SolverParameter) -> SolverParameter:
    """Return the solver with its type as a string."""
    if solver.HasField("type"):
        raise SolverError("given beside `type`", field="solver_type", hint="keep `type`, the current form")
    out = _copy(solver)
    out.ClearField("solver_type")
    out.type = SOLVER_TYPES[SolverParameter.SolverType.Name(solver.solver_type)]
    return out


def upgrade_solver(solver: SolverParameter) -> SolverParameter:
    """Return the solver in its current form."""
    return upgrade_solver_type(solver) if needs_solver_type_upgrade(solver) else _copy(solver)


def upgrade_snapshot_prefix(solver: SolverParameter, file: str | Path) -> SolverParameter:
    """Return the solver with the snapshot prefix Caffe gives it: its file's name, by default and within a folder."""
    out = _copy(solver)
    if not solver.HasField("snapshot_prefix"):
        out.snapshot_prefix = str(Path(file).with_suffix(""))
    elif Path(solver.snapshot_prefix).is_dir():
        out.snapshot_prefix = str(Path(solver.snapshot_prefix) / Path(file).stem)
    return out


# Fields.


def _copy(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _set(message: Message, name: str, value: Any, *, whole: bool = False) -> None:
    """Give a field its value; a repeated one gets all of it, or one more."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if repeated(field):
        getattr(message, name).extend(value if whole else [value])
    elif field.message_type is not None:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _keep_marks(old: Message, new: V1LayerParameter | LayerParameter) -> None:
    """Carry over the place and what is unknown to a message of another type.

    The identifier of an unknown V1 type becomes the string it stands for. A number means another field in another
    message: of the unknown fields of binary files only the account stays.
    """
    place = where(old)
    if place is not None:
        add_where(new, place.file, place.line)
    for fork in forks(old):
        known_value = fork.value is not None
        if isinstance(new, LayerParameter) and fork.field == "type" and known_value:
            new.type = fork.value or ""
            continue
        target = (
            new.pooling_param if isinstance(old, V0LayerParameter) and fork.field == "pool" and known_value else new
        )
        add_fork(target, fork.file or "", fork.line or 0, fork.column or 0, fork.field, fork.text)
