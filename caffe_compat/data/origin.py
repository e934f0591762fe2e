"""Where a record or picture came from, for errors; and what the definitions of data layers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.data.source import find_input, looked_in
from caffe_compat.errors import DataError

if TYPE_CHECKING:
    from caffe_compat.schema.caffe_pb2 import LayerParameter


@dataclass(frozen=True)
class At:
    """A record or picture, as errors name it.

    Attributes
    ----------
    layer : name of the data layer.
    file : the database or list it is in.
    line : of the list, counted from 1.
    what : ``"record '00000012'"``, ``"picture 'a.jpg'"``.
    """

    layer: str
    file: Path | None = None
    line: int | None = None
    what: str = ""

    def error(
        self, problem: str, *, field: str | None = None, value: object = None, hint: str | None = None
    ) -> DataError:
        """Return an error that names it."""
        told = f"{self.what}: {problem}" if self.what else problem
        return DataError(
            told, file=self.file, line=self.line, layer=self.layer or None, field=field, value=value, hint=hint
        )


def batch_size(layer: LayerParameter, field: str, value: int) -> int:
    """Return the batch size of a layer.

    Raises
    ------
    DataError
        It is 0.
    """
    if value < 1:
        raise DataError("must be at least 1", layer=layer.name, field=f"{field}.batch_size", value=value)
    return value


def check_tops(layer: LayerParameter, low: int, high: int | None) -> None:
    """Raise DataError unless there are `low` to `high` tops."""
    count = len(layer.top)
    if count < low or (high is not None and count > high):
        told = str(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
        raise DataError(f"{layer.type} makes {told} tops", layer=layer.name, field="top", value=list(layer.top))


def find_source(layer: LayerParameter, field: str, source: str, base_dir: Path, what: str) -> Path:
    """Return the path of what a layer reads.

    Raises
    ------
    DataError
        There is nothing of that name.
    """
    found = find_input(source, base_dir) if source else None
    if found is None:
        raise DataError(
            f"no such {what}", layer=layer.name, field=f"{field}.source", value=source, hint=looked_in(base_dir)
        )
    return found


def read_list(layer: LayerParameter, field: str, source: str, base_dir: Path) -> tuple[Path, list[str]]:
    """Return the path and the lines of a text file; bytes that are not UTF-8 survive in names of files.

    Raises
    ------
    DataError
        There is no such file, or it is empty.
    """
    path = find_source(layer, field, source, base_dir, "file")
    if not path.is_file():
        raise DataError("is a folder, not a list", layer=layer.name, field=f"{field}.source", value=source)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if not text.strip():
        raise DataError("the list is empty", layer=layer.name, field=f"{field}.source", value=source)
    if "\0" in text:
        raise DataError("the list is not text", layer=layer.name, field=f"{field}.source", value=source)
    return path, text.removesuffix("\n").split("\n")
