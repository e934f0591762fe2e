"""Upgrade old nets and solvers to the current form.

In Caffe's order: V0 -> V1, data transformation, V1 -> V2, inputs, batch norm. A step returns a net unchanged that
does not need it. References to blob values, notes of where a layer was written and unknown fields of forks go along.
Source of the rules: BVLC Caffe 9b89154, src/caffe/util/upgrade_proto.cpp.
"""

from __future__ import annotations

from pathlib import Path

from caffe_compat.definition.carry import keep_marks, layer_error, set_field
from caffe_compat.definition.v0 import upgrade_v0
from caffe_compat.errors import NetError, SolverError
from caffe_compat.formats.extras import copied
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter, SolverParameter, V1LayerParameter
from caffe_compat.schema.old_names import SOLVER_TYPES, V1_TYPES

_DATA_LAYERS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORMATIONS = ("scale", "mean_file", "crop_size", "mirror")


def upgrade_net(net: NetParameter) -> NetParameter:
    """Return the net in its current (V2) form; raise one error with everything that Caffe cannot upgrade either."""
    for step in (upgrade_v0, upgrade_data, upgrade_v1, upgrade_input, upgrade_batch_norm):
        net = step(net)
    return copied(net)


# Data transformation, in V1.


def upgrade_data(net: NetParameter) -> NetParameter:
    """Return the net with the transformations of its V1 data layers in ``transform_param``."""
    out = copied(net)
    data = [(layer, getattr(layer, param)) for layer in out.layers if (param := _data_param(layer)) is not None]
    if not any(old.HasField(name) for _, old in data for name in _TRANSFORMATIONS):
        return net
    for layer, old in data:
        new = layer.transform_param
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


def upgrade_v1(net: NetParameter) -> NetParameter:
    """Return a V2 net: types become strings, `blobs_lr` and the like become ``param``."""
    if not net.layers:
        return net
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


def upgrade_input(net: NetParameter) -> NetParameter:
    """Return the net with an Input layer first in place of ``input``, ``input_shape`` and ``input_dim``.

    Inputs without any shape, as old caffemodels have them, are dropped.
    """
    if not net.input:
        return net
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


def upgrade_batch_norm(net: NetParameter) -> NetParameter:
    """Return the net with multipliers of zero where a BatchNorm layer declares three parameters, as was once needed."""
    out = copied(net)
    for layer in out.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for param in layer.param:
                param.lr_mult = 0
                param.decay_mult = 0
    return out


# Solvers.


def upgrade_solver(solver: SolverParameter) -> SolverParameter:
    """Return the solver in its current form, its type as a string."""
    out = copied(solver)
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            hint = "keep `type`, the current form"
            raise SolverError("conflicts with `type`", code="conflict", field="solver_type", hint=hint)
        out.ClearField("solver_type")
        out.type = SOLVER_TYPES[SolverParameter.SolverType.Name(solver.solver_type)]
    return out


def upgrade_snapshot_prefix(solver: SolverParameter, file: str | Path) -> SolverParameter:
    """Return the solver with the snapshot prefix Caffe gives it: its file's name, by default and within a folder."""
    out = copied(solver)
    if not solver.HasField("snapshot_prefix"):
        out.snapshot_prefix = str(Path(file).with_suffix(""))
    elif Path(solver.snapshot_prefix).is_dir():
        out.snapshot_prefix = str(Path(solver.snapshot_prefix) / Path(file).stem)
    return out
