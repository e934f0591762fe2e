"""Data sources, which feed data layers: one module per Caffe data layer type."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike

from caffe_compat.data import annotated as _annotated  # noqa: F401  (importing registers)
from caffe_compat.data import datum as _datum  # noqa: F401
from caffe_compat.data import dummy as _dummy  # noqa: F401
from caffe_compat.data import hdf5 as _hdf5  # noqa: F401
from caffe_compat.data import images as _images  # noqa: F401
from caffe_compat.data import label_maps as _label_maps  # noqa: F401
from caffe_compat.data import video as _video  # noqa: F401
from caffe_compat.data import window_data as _windows  # noqa: F401
from caffe_compat.data.c_random import CRand, shuffle
from caffe_compat.data.memory import MemorySource
from caffe_compat.data.prefetch import Prefetch, ahead
from caffe_compat.data.source import DATA_LAYER_TYPES, DataSource, open_source, register
from caffe_compat.errors import CaffeCompatError, raise_together
from caffe_compat.formats.extras import copied
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter

__all__ = [
    "DATA_LAYER_TYPES",
    "CRand",
    "DataSource",
    "MemorySource",
    "Prefetch",
    "ahead",
    "in_phase",
    "open_layers",
    "open_source",
    "open_sources",
    "register",
    "shuffle",
]


def open_layers(
    layers: Iterable[LayerParameter], *, base_dir: str | PathLike[str] = ".", rng: CRand | None = None
) -> list[DataSource]:
    """Open the source of each data layer, in order; all problems are reported in one error."""
    stream = CRand() if rng is None else rng
    opened: list[DataSource] = []
    problems: list[CaffeCompatError] = []
    for layer in layers:
        try:
            opened.append(open_source(layer, base_dir=base_dir, rng=stream))
        except CaffeCompatError as error:
            problems.append(error)
    if problems:
        for source in opened:
            source.close()
    raise_together(problems)
    return opened


def open_sources(
    net: NetParameter, *, base_dir: str | PathLike[str] = ".", rng: CRand | None = None
) -> list[DataSource]:
    """Open the source of each data layer of a net that is upgraded and filtered for its phase, in its order."""
    layers = (in_phase(layer, net) for layer in net.layer if layer.type in DATA_LAYER_TYPES)
    return open_layers(layers, base_dir=base_dir, rng=rng)


def in_phase(layer: LayerParameter, net: NetParameter) -> LayerParameter:
    """Return a layer with the phase of its net, which decides crops, unless it has its own."""
    if layer.HasField("phase"):
        return layer
    out = copied(layer)
    out.phase = net.state.phase
    return out
