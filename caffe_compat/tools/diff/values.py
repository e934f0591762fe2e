"""Compare two files of weights, two logs, or two nets on one input number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.build.weights import read_weights
from caffe_compat.errors import NetError
from caffe_compat.formats.files import read_solverstate
from caffe_compat.layers.hdf5_output import nothing_written
from caffe_compat.tools.diff.comparison import Comparison, Difference
from caffe_compat.tools.feeds import whole_number_blobs
from caffe_compat.tools.logs import read_log

Blobs = Mapping[str, Sequence["npt.NDArray[Any] | None"]]


def diff_weights(
    a: str | PathLike[str] | Blobs, b: str | PathLike[str] | Blobs, *, tolerance: float = 0.0
) -> Comparison:
    """Compare two files of weights by layer name; `tolerance` is relative to the largest magnitude of a blob."""
    first, second = (side if isinstance(side, Mapping) else read_weights(side) for side in (a, b))
    comparison = Comparison("blobs")
    for name in dict.fromkeys([*first, *second]):
        if not (first.get(name) or second.get(name)):
            continue
        where = f"layer {name!r}"
        if name not in first or name not in second:
            comparison.differences.append(Difference(where, f"is only in the {'first' if name in first else 'second'}"))
            continue
        mine, others = first[name], second[name]
        if len(mine) != len(others):
            comparison.differences.append(Difference(where, f"{len(mine)} blobs and {len(others)}"))
        for index, (value, other) in enumerate(zip(mine, others, strict=False)):
            if value is not None and other is not None:
                comparison.array(f"{where}: blobs[{index}]", value, other, tolerance)
    return comparison


def diff_states(a: str | PathLike[str], b: str | PathLike[str], *, tolerance: float = 0.0) -> Comparison:
    """Compare two solver states; `tolerance` is relative to the largest magnitude of an array."""
    first, second = read_solverstate(a), read_solverstate(b)
    comparison = Comparison("arrays")
    for name in ("iter", "current_step"):
        value, other = getattr(first, name), getattr(second, name)
        if value != other:
            comparison.differences.append(Difference(name, f"{value} and {other}"))
    if len(first.history) != len(second.history):
        comparison.differences.append(Difference("history", f"{len(first.history)} arrays and {len(second.history)}"))
    for index, (value, other) in enumerate(zip(first.history, second.history, strict=False)):
        comparison.array(f"history[{index}]", value, other, tolerance)
    return comparison


def diff_logs(a: str | PathLike[str], b: str | PathLike[str], *, tolerance: float = 0.0) -> Comparison:
    """Compare the numbers of two training logs, which have six digits, but for times."""
    first, second = read_log(a), read_log(b)
    others = {entry.key: entry for entry in second}
    comparison = Comparison("numbers")
    for entry in first:
        other = others.get(entry.key)
        if other is not None:
            comparison.array(entry.description, np.array(entry.value), np.array(other.value), tolerance)
    keys = {entry.key for entry in first}
    for name, alone in (
        ("first", [e for e in first if e.key not in others]),
        ("second", [e for e in second if e.key not in keys]),
    ):
        if alone:
            problem = (
                f"only in the {name}, with {len(alone) - 1} more numbers" if len(alone) > 1 else f"only in the {name}"
            )
            comparison.differences.append(Difference(alone[0].description, problem))
    return comparison


def seeded_inputs(net: CaffeNet, seed: int) -> dict[str, torch.Tensor]:
    """Return normally distributed values for every input, determined by its shape and the seed."""
    whole = whole_number_blobs(net.caffe)
    values = {}
    for blob in net.caffe.inputs:
        shape = net.caffe.shapes[blob]
        generator = torch.Generator().manual_seed(seed)
        values[blob] = torch.zeros(shape) if blob in whole else torch.randn(shape, generator=generator)
    return values


def diff_nets_on_input(
    a: CaffeNet, b: CaffeNet, *, inputs: Mapping[str, torch.Tensor] | None = None, seed: int = 0, tolerance: float = 0.0
) -> Comparison:
    """Run two nets on one input, by default drawn from `seed` with labels and indices 0, and compare every blob.

    `tolerance` is relative to the largest magnitude of a blob. HDF5Output layers write nothing.
    """
    for blob in dict.fromkeys([*a.caffe.inputs, *b.caffe.inputs]):
        shapes = [net.caffe.shapes.get(blob) if blob in net.caffe.inputs else None for net in (a, b)]
        if shapes[0] != shapes[1]:
            problem = f"input has shape {shapes[0]} in the first net and {shapes[1]} in the second"
            hint = "set the shape with --input"
            raise NetError(problem, code="shape-mismatch", field="inputs", value=blob, hint=hint)
    values = dict(seeded_inputs(a, seed) if inputs is None else inputs)
    blobs = []
    for net in (a, b):
        torch.manual_seed(seed)
        with torch.no_grad(), nothing_written(net):
            blobs.append(net.every_blob({name: values[name].clone() for name in net.caffe.inputs}))
    splits = {top for net in (a, b) for node in net.caffe.nodes if node.is_split for top in node.tops}
    comparison = Comparison("blobs")
    made_by = {top: node for net in (b, a) for node in net.caffe.nodes for top in node.tops}
    for name in dict.fromkeys([*blobs[0], *blobs[1]]):
        if name in splits or name in values:
            continue
        where = f"blob {name!r} of layer {made_by[name].name!r} ({made_by[name].type})"
        if name not in blobs[0] or name not in blobs[1]:
            comparison.differences.append(
                Difference(where, f"is only in the {'first' if name in blobs[0] else 'second'}")
            )
            continue
        comparison.array(where, blobs[0][name].numpy(), blobs[1][name].numpy(), tolerance)
    return comparison
