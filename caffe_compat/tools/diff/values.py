"""Two files of weights, two logs, or two nets on one input, compared number by number."""

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
    """Compare the blobs of two caffemodels or HDF5 snapshots, by layer name.

    Parameters
    ----------
    tolerance : times the largest magnitude of a blob, what a difference may be.
    """
    first, second = (side if isinstance(side, Mapping) else read_weights(side) for side in (a, b))
    found = Comparison("blobs")
    for name in dict.fromkeys([*first, *second]):
        if not (first.get(name) or second.get(name)):
            continue
        where = f"layer {name!r}"
        if name not in first or name not in second:
            found.differences.append(Difference(where, f"is only in the {'first' if name in first else 'second'}"))
            continue
        mine, others = first[name], second[name]
        if len(mine) != len(others):
            found.differences.append(Difference(where, f"{len(mine)} blobs and {len(others)}"))
        for index, (one, two) in enumerate(zip(mine, others, strict=False)):
            if one is not None and two is not None:
                found.array(f"{where}: blobs[{index}]", one, two, tolerance)
    return found


def diff_states(a: str | PathLike[str], b: str | PathLike[str], *, tolerance: float = 0.0) -> Comparison:
    """Compare two solver states: iteration, step and history, array by array.

    Parameters
    ----------
    tolerance : times the largest magnitude of an array, what a difference may be.
    """
    first, second = read_solverstate(a), read_solverstate(b)
    found = Comparison("arrays")
    for name in ("iter", "current_step"):
        one, two = getattr(first, name), getattr(second, name)
        if one != two:
            found.differences.append(Difference(name, f"{one} and {two}"))
    if len(first.history) != len(second.history):
        found.differences.append(Difference("history", f"{len(first.history)} arrays and {len(second.history)}"))
    for index, (one, two) in enumerate(zip(first.history, second.history, strict=False)):
        found.array(f"history[{index}]", one, two, tolerance)
    return found


def diff_logs(a: str | PathLike[str], b: str | PathLike[str], *, tolerance: float = 0.0) -> Comparison:
    """Compare two training logs number by number; times are left aside.

    Parameters
    ----------
    tolerance : times the larger magnitude, what a difference may be. Logs carry six digits.
    """
    first, second = read_log(a), read_log(b)
    others = {entry.key: entry for entry in second}
    found = Comparison("numbers")
    for entry in first:
        other = others.get(entry.key)
        if other is not None:
            found.array(entry.told, np.array(entry.value), np.array(other.value), tolerance)
    keys = {entry.key for entry in first}
    for name, alone in (
        ("first", [e for e in first if e.key not in others]),
        ("second", [e for e in second if e.key not in keys]),
    ):
        if alone:
            told = (
                f"only in the {name}, with {len(alone) - 1} more numbers" if len(alone) > 1 else f"only in the {name}"
            )
            found.differences.append(Difference(alone[0].told, told))
    return found


def seeded_inputs(net: CaffeNet, seed: int) -> dict[str, torch.Tensor]:
    """Return normally distributed values for every input, by name: those of one name and shape are always the same."""
    whole = whole_number_blobs(net.caffe)
    found = {}
    for blob in net.caffe.inputs:
        shape = net.caffe.shapes[blob]
        generator = torch.Generator().manual_seed(seed)
        found[blob] = torch.zeros(shape) if blob in whole else torch.randn(shape, generator=generator)
    return found


def diff_nets_on_input(
    a: CaffeNet, b: CaffeNet, *, inputs: Mapping[str, torch.Tensor] | None = None, seed: int = 0, tolerance: float = 0.0
) -> Comparison:
    """Run two nets on one input and compare every blob, in the order the first net makes them.

    Parameters
    ----------
    a, b : their inputs must have the same names and shapes; blobs are matched by name.
    inputs : by blob; by default drawn from `seed`, labels and indices 0.
    seed : also of Dropout, in nets built for TRAIN.
    tolerance : times the largest magnitude of a blob, what a difference may be.

    Notes
    -----
    HDF5Output layers write nothing.

    Raises
    ------
    NetError
        The nets take different inputs.
    """
    for blob in dict.fromkeys([*a.caffe.inputs, *b.caffe.inputs]):
        shapes = [net.caffe.shapes.get(blob) if blob in net.caffe.inputs else None for net in (a, b)]
        if shapes[0] != shapes[1]:
            told = f"{shapes[0] or 'none'} and {shapes[1] or 'none'}"
            raise NetError(f"the nets' inputs differ: {told}", field="inputs", value=blob, hint="--input gives a shape")
    values = dict(seeded_inputs(a, seed) if inputs is None else inputs)
    blobs = []
    for net in (a, b):
        torch.manual_seed(seed)
        with torch.no_grad(), nothing_written(net):
            blobs.append(net.every_blob({name: values[name].clone() for name in net.caffe.inputs}))
    splits = {top for net in (a, b) for node in net.caffe.nodes if node.type == "Split" for top in node.tops}
    found = Comparison("blobs")
    made_by = {top: node for net in (b, a) for node in net.caffe.nodes for top in node.tops}
    for name in dict.fromkeys([*blobs[0], *blobs[1]]):
        if name in splits or name in values:
            continue
        where = f"blob {name!r} of layer {made_by[name].name!r} ({made_by[name].type})"
        if name not in blobs[0] or name not in blobs[1]:
            found.differences.append(Difference(where, f"is only in the {'first' if name in blobs[0] else 'second'}"))
            continue
        found.array(where, blobs[0][name].numpy(), blobs[1][name].numpy(), tolerance)
    return found
