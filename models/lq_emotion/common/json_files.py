"""Read JSON files with errors that name them, and write them complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from caffe_compat.errors import FileError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.records import Record

_RecordT = TypeVar("_RecordT", bound=Record)


def read_json(path: Path) -> Any:
    """Return the object in a JSON file; None if there is no file."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"is not JSON: {error}", code="syntax", file=path, hint="remove it") from None
    if not isinstance(content, dict):
        problem = "contains no JSON object, as a command writes it"
        raise FileError(problem, code="wrong-format", file=path, hint="remove it")
    return content


@contextmanager
def contents_of(path: Path, hint: str = "remove it and run again", *, line: int | None = None) -> Iterator[None]:
    """Replace the errors of code that reads values of a file by an error that names the file, and the line."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        problem = f"unexpected contents ({type(error).__name__}: {error})"
        raise FileError(problem, code="damaged-file", file=path, line=line, hint=hint) from error


def read_record(path: Path, kind: type[_RecordT], hint: str = "remove it and run again") -> _RecordT:
    """Return the record in a JSON file; `hint` is what to do if it is missing or damaged."""
    record = find_record(path, kind, hint)
    if record is None:
        raise FileError("no such file", code="file-missing", file=path, hint=hint)
    return record


def find_record(path: Path, kind: type[_RecordT], hint: str = "remove it and run again") -> _RecordT | None:
    """Return the record in a JSON file; None if there is no file."""
    content = read_json(path)
    with contents_of(path, hint):
        return None if content is None else kind.from_json(content)


def write_json(value: Any, path: Path) -> None:
    """Write a JSON file, complete or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
