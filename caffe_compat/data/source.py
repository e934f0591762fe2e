"""The base classes and the registry of data sources (one class per data layer type), and the origin of records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data.c_random import NO_NUMBERS, CRand, Mersenne, is_state
from caffe_compat.errors import Code, DataError, raise_together
from caffe_compat.formats.regular_file import require_regular
from caffe_compat.layers import LayerSpec, Source, every_layer, facts, resolve_type
from caffe_compat.runtime.closing import Closing
from caffe_compat.schema.caffe_pb2 import LayerParameter

Cursor = Mapping[str, npt.NDArray[np.int64]]

DATA_LAYER_TYPES = frozenset(layer.type for layer in every_layer() if layer.source not in (Source.NONE, Source.CALLER))
"""The layers whose tops come from outside the net, but for Input, which the caller fills."""


class DataSource(Closing, ABC):
    """An endless stream of batches for the tops of a data layer, until it is closed."""

    type: ClassVar[str]
    prefetch: int = 0
    """Batches to prepare ahead; 0 to prepare each on request."""
    tops: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of a batch by top; with a batch size of 1, later images may have another size."""

    @abstractmethod
    def __init__(self, layer: LayerParameter, *, base_dir: Path, rng: CRand) -> None:
        """Open the data and check the definition and the first file."""

    @abstractmethod
    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch: a new float32 tensor per top."""

    @abstractmethod
    def reset(self) -> None:
        """Start again from the first row; the random numbers continue."""

    @abstractmethod
    def cursor(self) -> Cursor:
        """Return the position of the next batch, for `seek` in a later run."""

    @abstractmethod
    def fits(self, cursor: Cursor) -> bool:
        """Return whether these data have the position of a cursor."""

    @abstractmethod
    def seek(self, cursor: Cursor) -> None:
        """Go to a cursor that fits; the caller restores the shared random stream afterwards."""


class RandomSource(DataSource):
    """A source whose cursor is its position in the data and the states of its random numbers."""

    @property
    @abstractmethod
    def _generators(self) -> Mapping[str, Mersenne | None]:
        """The generators by their names in a cursor; None where nothing is drawn."""

    @abstractmethod
    def _position(self) -> Cursor:
        """Return the position in the data."""

    @abstractmethod
    def _has_position(self, cursor: Cursor) -> bool:
        """Tell whether the data have the position of a cursor."""

    @abstractmethod
    def _go_to(self, cursor: Cursor) -> None:
        """Go to a position that the data have."""

    def cursor(self) -> Cursor:
        """Return the position of the next batch and the states of the random numbers."""
        states = {name: NO_NUMBERS if rng is None else rng.state for name, rng in self._generators.items()}
        return {**self._position(), **states}

    def fits(self, cursor: Cursor) -> bool:
        """Return whether these data have the position of a cursor, and draw the same numbers."""
        states = [(rng, cursor.get(name, NO_NUMBERS)) for name, rng in self._generators.items()]
        return self._has_position(cursor) and all(
            state.size == 0 if rng is None else is_state(state) for rng, state in states
        )

    def seek(self, cursor: Cursor) -> None:
        """Go to a cursor that fits."""
        self._go_to(cursor)
        for name, rng in self._generators.items():
            if rng is not None:
                rng.state = cursor[name]


_Source = TypeVar("_Source", bound=type[DataSource])
_registry: dict[str, type[DataSource]] = {}


def register(cls: _Source) -> _Source:
    """Register a data source under its Caffe layer type."""
    assert cls.type in DATA_LAYER_TYPES, cls.type
    assert cls.type not in _registry, cls.type
    _registry[cls.type] = cls
    return cls


def spec_of(layer: LayerParameter) -> LayerSpec:
    """Return a layer with what a fork added to its messages."""
    chosen = resolve_type(LayerSpec(layer, ()))
    raise_together(chosen if isinstance(chosen, list) else [])
    assert isinstance(chosen, tuple)
    return chosen[1]


def find_input(name: str, base_dir: Path) -> Path | None:
    """Find a file in the working directory (Caffe's rule), else in `base_dir`; return None if it is in neither."""
    for candidate in (Path(name), base_dir / name):
        if candidate.exists():
            require_regular(candidate)
            return candidate
    return None


def looked_in(base_dir: Path) -> str:
    """Describe where :func:`find_input` looks for a relative name."""
    folders = dict.fromkeys(str(folder) for folder in (Path.cwd(), base_dir.absolute()))
    return f"looked in {' and '.join(folders)}"


def open_source(layer: LayerParameter, *, base_dir: str | PathLike[str] = ".", rng: CRand) -> DataSource:
    """Open the source of an upgraded data layer; the sources of a run share `rng`, as in Caffe."""
    cls = _registry.get(layer.type)
    if cls is None:
        problem = "this data layer type is not supported"
        hint = f"use one of {', '.join(sorted(_registry))}, or feed its tops yourself"
        raise DataError(problem, code="unsupported", layer=layer.name, field="type", value=layer.type, hint=hint)
    arity = facts(layer.type).tops
    if not arity.allows(len(layer.top)):
        problem = f"{layer.type} has {arity} tops, got {len(layer.top)}"
        raise DataError(problem, code="wrong-count", layer=layer.name, field="top", value=list(layer.top))
    return cls(layer, base_dir=Path(base_dir), rng=rng)


@dataclass(frozen=True)
class Origin:
    """The origin of a record or image, which errors name: a database, or a line (from 1) of a list."""

    layer: str
    file: Path | None = None
    line: int | None = None
    what: str = ""
    """``"record '00000012'"``, ``"image 'a.jpg'"``."""

    def error(
        self, problem: str, *, code: Code, field: str | None = None, value: object = None, hint: str | None = None
    ) -> DataError:
        """Return an error about this record or image."""
        text = f"{self.what}: {problem}" if self.what else problem
        return DataError(
            text, code=code, file=self.file, line=self.line, layer=self.layer or None, field=field, value=value,
            hint=hint,
        )  # fmt: skip


def positive(layer: LayerParameter, field: str, value: int) -> int:
    """Return the value of a field; refuse one below 1."""
    if value < 1:
        raise DataError("must be at least 1", code="out-of-range", layer=layer.name, field=field, value=value)
    return value


def find_source(layer: LayerParameter, field: str, source: str, base_dir: Path, what: str) -> Path:
    """Return the path of a source that a field of a layer names; refuse one that does not exist."""
    path = find_input(source, base_dir) if source else None
    if path is None:
        raise DataError(
            f"no such {what}", code="file-missing", layer=layer.name, field=field, value=source,
            hint=looked_in(base_dir),
        )  # fmt: skip
    return path


def read_list(layer: LayerParameter, field: str, source: str, base_dir: Path) -> tuple[Path, list[str]]:
    """Read a list: its path and its lines; file names may contain bytes that are not UTF-8."""
    field = f"{field}.source"
    path = find_source(layer, field, source, base_dir, "file")
    if not path.is_file():
        problem = "expected a list, got a folder"
        raise DataError(problem, code="wrong-format", layer=layer.name, field=field, value=source)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if not text.strip():
        raise DataError("the list is empty", code="empty", layer=layer.name, field=field, value=source)
    if "\0" in text:
        raise DataError("the list is not text", code="wrong-format", layer=layer.name, field=field, value=source)
    return path, text.removesuffix("\n").split("\n")
