"""``caffe.coord_map``: map the coordinates of one blob to another, and build the Crop layer that aligns them.

A map is ``(axis, scale, shift)``: coordinate ``x`` of the first blob corresponds to ``scale * x + shift`` of the
second, on all axes after ``axis`` (None: any axis); scale and shift are numbers, or arrays with one entry per axis.
Source: pycaffe's coord_map, BVLC Caffe 9b89154.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from caffe_compat.definition.netspec import Function, Top
from caffe_compat.definition.netspec import layers as L
from caffe_compat.layers import REGISTRY, Coordinates, facts
from caffe_compat.pycaffe.mode import CaffeError

PASS_THROUGH_LAYERS = [name for name, layer in REGISTRY.items() if layer.coordinates is Coordinates.SAME]
_LEGACY = ("pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w")
Map: TypeAlias = tuple[int | None, Any, Any]


class UndefinedMapException(Exception):  # noqa: N818  (the name scripts catch)
    """A layer that does not preserve coordinates, such as InnerProduct or a loss."""


class AxisMismatchException(Exception):  # noqa: N818
    """Two maps with different axes."""


def conv_params(fn: Function) -> tuple[int, Any, Any, Any]:
    """Return axis, stride, extent of the dilated kernel and padding of a convolution or pooling layer."""
    params = fn.params.get("convolution_param", fn.params.get("pooling_param", fn.params))
    legacy = [name for name in _LEGACY if name in params or name in fn.params]
    if legacy:
        raise AssertionError(f"{fn.type_name}: {', '.join(legacy)} are not supported, use kernel_size, stride and pad")
    if "kernel_size" not in params:
        raise UndefinedMapException(f"{fn.type_name} without kernel_size")
    kernel = np.array(params["kernel_size"], ndmin=1)
    dilation = np.array(params.get("dilation", 1), ndmin=1)
    return (
        params.get("axis", 1),
        np.array(params.get("stride", 1), ndmin=1),
        (kernel - 1) * dilation + 1,
        np.array(params.get("pad", 0), ndmin=1),
    )


def crop_params(fn: Function) -> tuple[int, Any]:
    """Return the axis and offset of a Crop layer."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """Return the map of a layer, from its bottoms to its tops; without one, raise UndefinedMapException."""
    kind = facts(fn.type_name).coordinates
    if kind is Coordinates.WINDOW:
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if kind is Coordinates.TRANSPOSED_WINDOW:
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if kind is Coordinates.SAME:
        return None, 1, 0
    if kind is Coordinates.OFFSET:
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # a map's axis is the one before the first that is cropped
    raise UndefinedMapException(f"{fn.type_name} does not preserve coordinates")


def compose(base_map: Map, next_map: Map) -> Map:
    """Return the map that applies `next_map` first, then `base_map`."""
    (ax1, a1, b1), (ax2, a2, b2) = base_map, next_map
    if ax1 is not None and ax2 is not None and ax1 != ax2:
        raise AxisMismatchException(f"axis {ax1} and axis {ax2}")
    return ax2 if ax1 is None else ax1, a1 * a2, a1 * b2 + b1


def inverse(coord_map: Map) -> Map:
    """Return the inverse of a map."""
    ax, a, b = coord_map
    return ax, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """Return the map from one top to another, through a common ancestor; layers between must preserve coordinates."""
    from_maps: dict[Top, Map] = {top_from: (None, 1, 0)}
    _walk(from_maps, [top_from])
    to_maps: dict[Top, Map] = {top_to: (None, 1, 0)}
    common = _walk(to_maps, [top_to], until=from_maps)
    if common is None:
        raise CaffeError("Could not compute map between tops; are they connected by spatial layers?", code="mismatch")
    return compose(to_maps[common], inverse(from_maps[common]))


def _walk(maps: dict[Top, Map], frontier: list[Top], until: dict[Top, Map] | None = None) -> Top | None:
    """Extend `maps` from the frontier to its ancestors; stop at the first top in `until` and return it."""
    while frontier:
        top = frontier.pop(0)
        if until is not None and top in until:
            return top
        try:
            step = coord_map(top.fn)
        except UndefinedMapException:
            continue
        crops = facts(top.fn.type_name).coordinates is Coordinates.OFFSET  # only the first bottom has a map then
        for bottom in top.fn.inputs[:1] if crops else top.fn.inputs:
            if bottom not in maps:  # every path to it gives the same map
                maps[bottom] = compose(maps[top], step)
                frontier.append(bottom)
    return None


def crop(top_from: Top, top_to: Top) -> Top:
    """Return a Crop layer that crops `top_from` to the size and position of `top_to`.

    AssertionError is raised if the scales differ, or the offset is negative or not an integer.
    """
    ax, a, b = coord_map_from_to(top_from, top_to)
    if np.any(np.not_equal(a, 1)):
        raise AssertionError(f"scale mismatch on crop (a = {a})")
    if np.any(np.greater(b, 0)):
        raise AssertionError(f"cannot crop negative offset (b = {b})")
    if np.any(np.round(b) != b):
        raise AssertionError(f"cannot crop noninteger offset (b = {b})")
    if ax is None:
        raise CaffeError("no layer between the tops defines which axes are spatial", code="ambiguous")
    offset = [int(v) for v in np.atleast_1d(-np.round(b))]
    cropped: Top = L.Crop(top_from, top_to, crop_param={"axis": ax + 1, "offset": offset})
    return cropped
