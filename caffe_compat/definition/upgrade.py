"""Upgrade old nets and solvers to the current form.

In Caffe's order: V0 -> V1, data transformation, V1 -> V2, inputs, batch norm.
Every step is a pair: ``needs_x(message) -> bool`` and ``upgrade_x(message) -> new message``. References to blob values,
notes of where a layer was written and unknown fields of forks go along.
Source of the rules: BVLC Caffe 9b89154, src/caffe/util/upgrade_proto.cpp.
"""

from __future__ import annotations

from pathlib import Path

from caffe_compat.definition.carry import copied, keep_marks, layer_error, set_field
from caffe_compat.definition.v0 import needs_v0_upgrade, upgrade_v0, upgrade_v0_padding
from caffe_compat.errors import NetError, SolverError
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter, SolverParameter, V1LayerParameter
from caffe_compat.schema.old_names import SOLVER_TYPES, V1_TYPES

__all__ = [
    "needs_batch_norm_upgrade",
    "needs_data_upgrade",
    "needs_input_upgrade",
    "needs_solver_type_upgrade",
    "needs_upgrade",
    "needs_v0_upgrade",
    "needs_v1_upgrade",
    "upgrade_batch_norm",
    "upgrade_data",
    "upgrade_input",
    "upgrade_net",
    "upgrade_snapshot_prefix",
    "upgrade_solver",
    "upgrade_solver_type",
    "upgrade_v0",
    "upgrade_v0_padding",
    "upgrade_v1",
]

_DATA_LAYERS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORMATIONS = ("scale", "mean_file", "crop_size", "mirror")


def needs_upgrade(net: NetParameter) -> bool:
    """Tell whether any step applies."""
    return any(needs(net) for needs, _ in _STEPS)


def upgrade_net(net: NetParameter) -> NetParameter:
    """Return the net in its current (V2) form.

    Raises
    ------
    NetError, ProblemsError
        Everything that Caffe cannot upgrade either, in one error.
    """
    for needs, step in _STEPS:
        if needs(net):
            net = step(net)
    return copied(net)


# Data transformation, in V1.


def needs_data_upgrade(net: NetParameter) -> bool:
    """Tell whether a V1 data layer has its transformation in its own parameters."""
    return any(
        getattr(layer, param).HasField(name)
        for layer in net.layers
        if (param := _data_param(layer)) is not None
        for name in _TRANSFORMATIONS
    )


def upgrade_data(net: NetParameter) -> NetParameter:
    """Return the net with the transformations of its V1 data layers in ``transform_param``."""
    out = copied(net)
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
    """Tell whether the net has ``layers``, whose types are identifiers."""
    return len(net.layers) > 0


def upgrade_v1(net: NetParameter) -> NetParameter:
    """Return a V2 net: types become strings, `blobs_lr` and the like become ``param``."""
    if net.layer:
        raise layer_error(
            net.layers[0],
            "the net has both `layer` and `layers`",
            "layers",
            hint="write all as `layer`, with types in quotes",
            code="conflict",
        )
    out = copied(net)
    out.ClearField("layers")
    for layer in net.layers:
        _upgrade_v1_layer(layer, out.layer.add())
    return out


def _upgrade_v1_layer(old: V1LayerParameter, new: LayerParameter) -> None:
    new_fields = new.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        target = new_fields.get(field.name)
        if field.name not in ("type", "param") and target is not None:
            set_field(new, field.name, value, whole=True)
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
    keep_marks(old, new)


# Inputs, in V2.


def needs_input_upgrade(net: NetParameter) -> bool:
    """Tell whether the net names its inputs outside of layers."""
    return len(net.input) > 0


def upgrade_input(net: NetParameter) -> NetParameter:
    """Return the net with an Input layer first in place of ``input``, ``input_shape`` and ``input_dim``.

    Inputs without any shape, as old caffemodels have them, are dropped.
    """
    out = copied(net)
    for name in ("input", "input_shape", "input_dim", "layer"):
        out.ClearField(name)
    if net.input_shape or net.input_dim:
        layer = out.layer.add(name="input", type="Input", top=net.input)
        if net.input_shape:
            if len(net.input_shape) < len(net.input):
                problem = f"needs one shape per input ({len(net.input)}), got {len(net.input_shape)}"
                raise NetError(problem, code="wrong-count", field="input_shape")
            for shape in net.input_shape[: len(net.input)]:
                layer.input_param.shape.add().CopyFrom(shape)
        else:
            if len(net.input_dim) < 4 * len(net.input):
                problem = f"needs four values per input ({4 * len(net.input)}), got {len(net.input_dim)}"
                raise NetError(problem, code="wrong-count", field="input_dim")
            for index in range(len(net.input)):
                layer.input_param.shape.add(dim=net.input_dim[4 * index : 4 * index + 4])
    for old in net.layer:
        out.layer.add().CopyFrom(old)
    return out


# Batch norm, in V2.


def needs_batch_norm_upgrade(net: NetParameter) -> bool:
    """Tell whether a BatchNorm layer declares three parameters, as was once needed, without zero multipliers."""
    return any(
        layer.type == "BatchNorm" and len(layer.param) == 3 and any(p.lr_mult or p.decay_mult for p in layer.param)
        for layer in net.layer
    )


def upgrade_batch_norm(net: NetParameter) -> NetParameter:
    """Return the net with the multipliers of such layers set to zero."""
    out = copied(net)
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
    """Tell whether the solver's type is given by the old identifier."""
    return solver.HasField("solver_type")


def upgrade_solver_type(solver: SolverParameter) -> SolverParameter:
    """Return the solver with its type as a string."""
    if solver.HasField("type"):
        raise SolverError(
            "conflicts with `type`", code="conflict", field="solver_type", hint="keep `type`, the current form"
        )
    out = copied(solver)
    out.ClearField("solver_type")
    out.type = SOLVER_TYPES[SolverParameter.SolverType.Name(solver.solver_type)]
    return out


def upgrade_solver(solver: SolverParameter) -> SolverParameter:
    """Return the solver in its current form."""
    return upgrade_solver_type(solver) if needs_solver_type_upgrade(solver) else copied(solver)


def upgrade_snapshot_prefix(solver: SolverParameter, file: str | Path) -> SolverParameter:
    """Return the solver with the snapshot prefix Caffe gives it: its file's name, by default and within a folder."""
    out = copied(solver)
    if not solver.HasField("snapshot_prefix"):
        out.snapshot_prefix = str(Path(file).with_suffix(""))
    elif Path(solver.snapshot_prefix).is_dir():
        out.snapshot_prefix = str(Path(solver.snapshot_prefix) / Path(file).stem)
    return out
