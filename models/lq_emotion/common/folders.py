"""Check folders of results before hours of work."""

from __future__ import annotations

import os
from pathlib import Path

from caffe_compat.errors import FileError


def require_writable(out: Path) -> None:
    """Refuse a folder that can neither be written nor be created."""
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise FileError("not a folder", code="file-unwritable", file=existing, hint="choose another --out")
    if not os.access(existing, os.W_OK):
        raise FileError("no write permission", code="file-unwritable", file=existing, hint="choose another --out")
