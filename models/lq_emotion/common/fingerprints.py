"""Fingerprints of what results depend on: files, settings, and the versions of the packages that compute."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError
from caffe_compat.formats.regular_file import require_regular

_PACKAGES = ("caffe-compat", "torch", "numpy", "scipy", "h5py", "opencv-python", "av")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents, which a process reads once unless the file was written again."""
    require_regular(path)
    try:
        status = path.stat()
        return _sha256(path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except FileNotFoundError:
        raise FileError("no such file", code="file-missing", file=path) from None
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror or error}", code="file-unreadable", file=path) from None


@functools.lru_cache(maxsize=1 << 16)
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named_hashes(paths: Iterable[Path | None]) -> list[list[str]]:
    """Return name and SHA-256 of those paths that name a file, which identify it wherever it is moved."""
    return [[path.name, file_sha256(path)] for path in paths if path is not None and path.is_file()]


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value, written with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of these packages; None for a package that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
