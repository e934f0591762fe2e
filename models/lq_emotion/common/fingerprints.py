"""Fingerprints of files and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError
from caffe_compat.formats.regular_file import require_regular


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents.

    Raises
    ------
    FileError
        The file is missing or cannot be read, or is a device or a named pipe.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise FileError("no such file", code="file-missing", file=path) from None
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror or error}", code="file-unreadable", file=path) from None


def stamp(path: Path) -> list[Any]:
    """Return name, size and time of change, which identify a file without reading it, wherever it is moved."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def stamps(paths: Iterable[Path | None]) -> list[list[Any]]:
    """Return the stamps of those paths that name a file."""
    return [stamp(path) for path in paths if path is not None and path.is_file()]


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value, written with sorted keys and no spaces.

    Raises
    ------
    TypeError, ValueError
        The value cannot be written as JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class FileHashes:
    """SHA-256 of files, each read again only if its size or time of change differ.

    Parameters
    ----------
    stored : what `to_json` returned earlier.

    Raises
    ------
    AttributeError, TypeError, ValueError
        `stored` is of another shape.
    """

    def __init__(self, stored: Mapping[str, Any] | None = None) -> None:
        self._hashes = {
            name: (int(size), int(changed), str(sha256)) for name, (size, changed, sha256) in (stored or {}).items()
        }

    def __call__(self, path: Path) -> str:
        """Return the SHA-256 of a file.

        Raises
        ------
        FileError
            The file is missing or cannot be read.
        """
        try:
            status = path.stat()
        except OSError:
            raise FileError("no such file", code="file-missing", file=path) from None
        size, changed = status.st_size, status.st_mtime_ns
        stored = self._hashes.get(str(path))
        if stored is None or stored[:2] != (size, changed):
            stored = self._hashes[str(path)] = (size, changed, file_sha256(path))
        return stored[2]

    def to_json(self) -> dict[str, list[Any]]:
        """Return the hashes with the sizes and times of change that they hold for."""
        return {name: list(stored) for name, stored in self._hashes.items()}
