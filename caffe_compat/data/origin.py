"""The origin of a record or image, for errors, and fields that data layers share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.data.source import find_input, looked_in
from caffe_compat.errors import Code, DataError

if TYPE_CHECKING:
    from caffe_compat.schema.caffe_pb2 import LayerParameter


@dataclass(frozen=True)
class Origin:
    """The origin of a record or image, which errors name.

    Attributes
    ----------
    layer : name of the data layer.
    file : the database or list.
    line : of the list, from 1.
    what : ``"record '00000012'"``, ``"image 'a.jpg'"``.
    """

    layer: str
    file: Path | None = None
    line: int | None = None
    what: str = ""

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
    """Return the path of a layer's source; refuse one that does not exist."""
    path = find_input(source, base_dir) if source else None
    if path is None:
        raise DataError(
            f"no such {what}", code="file-missing", layer=layer.name, field=f"{field}.source", value=source,
            hint=looked_in(base_dir),
        )  # fmt: skip
    return path


def read_list(layer: LayerParameter, field: str, source: str, base_dir: Path) -> tuple[Path, list[str]]:
    """Read a list: its path and its lines; file names may hold bytes that are not UTF-8."""
    path = find_source(layer, field, source, base_dir, "file")
    if not path.is_file():
        problem = "expected a list, got a folder"
        raise DataError(problem, code="wrong-format", layer=layer.name, field=f"{field}.source", value=source)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if not text.strip():
        raise DataError("the list is empty", code="empty", layer=layer.name, field=f"{field}.source", value=source)
    if "\0" in text:
        raise DataError(
            "the list is not text", code="wrong-format", layer=layer.name, field=f"{field}.source", value=source
        )
    return path, text.removesuffix("\n").split("\n")
