"""What feeds a net's data layers: one class per Caffe data layer type, registered once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeVar

from caffe_compat.data.c_random import Randomness
from caffe_compat.errors import DataError
from caffe_compat.layers import REGISTRY, Source
from caffe_compat.runtime.closing import Closing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from caffe_compat.schema.caffe_pb2 import LayerParameter

    Cursor = Mapping[str, npt.NDArray[np.int64]]

DATA_LAYER_TYPES = frozenset(
    name for name, layer in REGISTRY.items() if layer.source not in (Source.NONE, Source.CALLER)
)
"""Caffe 1.0's layers whose tops come from outside the net, but for Input, which the caller fills."""


class DataSource(Closing, ABC):
    """An endless stream of batches for the tops of one data layer; closed, it gives no more.

    Attributes
    ----------
    tops : blob names, in the layer's order.
    shapes : the shape of a batch of each top; where a batch is one picture, others may have another size.
    prefetch : how many batches are kept ready; 0 where each is made when it is asked for.
    """

    type: ClassVar[str]
    prefetch: int = 0
    tops: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]

    @abstractmethod
    def __init__(self, layer: LayerParameter, *, base_dir: Path, rng: Randomness) -> None:
        """Open the data; everything about the definition and the first file is checked here."""

    @abstractmethod
    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch: a float32 tensor of its own for each top."""

    @abstractmethod
    def reset(self) -> None:
        """Start again from the first row; the shuffle goes on with the random stream where it stands."""

    @abstractmethod
    def cursor(self) -> Cursor:
        """Return where the next batch begins, for a later run's `seek`."""

    @abstractmethod
    def fits(self, cursor: Cursor) -> bool:
        """Tell whether this data has the place a cursor names."""

    @abstractmethod
    def seek(self, cursor: Cursor) -> None:
        """Go to a cursor that fits. What the random stream gives meanwhile does not matter: it is set afterwards."""


_Source = TypeVar("_Source", bound=type[DataSource])
_registry: dict[str, type[DataSource]] = {}


def register(cls: _Source) -> _Source:
    """Make a data source known under its Caffe layer type."""
    assert cls.type in DATA_LAYER_TYPES, cls.type
    assert cls.type not in _registry, cls.type
    _registry[cls.type] = cls
    return cls


def sources() -> Mapping[str, type[DataSource]]:
    """Return the data sources by layer type."""
    return MappingProxyType(_registry)


def find_input(name: str, base_dir: Path) -> Path | None:
    """Return the file a name means: in the working directory (Caffe's rule), else in `base_dir`; None if in neither."""
    for candidate in (Path(name), base_dir / name):
        if candidate.exists():
            return candidate
    return None


def looked_in(base_dir: Path) -> str:
    """Tell where :func:`find_input` looks for a relative name."""
    folders = dict.fromkeys(str(folder) for folder in (Path.cwd(), base_dir.absolute()))
    return f"looked in {' and '.join(folders)}"


def open_source(layer: LayerParameter, *, base_dir: str | PathLike[str] = ".", rng: Randomness) -> DataSource:
    """Open what feeds one data layer.

    Parameters
    ----------
    layer : its definition, upgraded; its phase is the net's (TRAIN where it has none).
    base_dir : folder where the source is looked for if it is not in the working directory.
    rng : what it draws from; Caffe has one for a whole process, so share it between the sources of a run.

    Raises
    ------
    DataError
        naming the layer type if there is no source for it, or the file, dataset and value that cannot be used.
    """
    cls = _registry.get(layer.type)
    if cls is None:
        raise DataError(
            "this data layer type is not supported",
            layer=layer.name,
            field="type",
            value=layer.type,
            hint=f"supported: {', '.join(sorted(_registry))}; or feed its tops yourself",
        )
    return cls(layer, base_dir=Path(base_dir), rng=rng)
