"""Check folders of results before hours of work."""

from __future__ import annotations

import os
from pathlib import Path

from caffe_compat.errors import FileError

_HINT = "choose another --out"


def require_folder(out: Path) -> None:
    """Refuse a file in the place of a folder, and a folder that can neither be written nor be created."""
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        problem = "this is a file; a folder is expected"
        raise FileError(problem, code="wrong-type", file=existing, field="--out", hint=_HINT)
    if not os.access(existing, os.W_OK):
        raise FileError("no write permission", code="file-unwritable", file=existing, field="--out", hint=_HINT)
