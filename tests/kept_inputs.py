"""A file that a command reads, given again as the file to write, by its name or by a link."""

from contextlib import contextmanager
from pathlib import Path

import pytest

ALIASES = pytest.mark.parametrize("alias", ["name", "symbolic link", "hard link"])


@contextmanager
def kept(source, alias):
    """Yield the name of an output that is a file of the working directory; afterwards all files are as before."""
    out = source if alias == "name" else f"alias{Path(source).suffix}"
    if alias == "symbolic link":
        Path(out).symlink_to(source)
    elif alias == "hard link":
        Path(out).hardlink_to(source)
    before = contents()
    yield out
    assert contents() == before


def contents():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
