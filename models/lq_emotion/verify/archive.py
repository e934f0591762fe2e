"""Weights in a zip archive, as Dropbox sends a folder: each is inflated to a temporary file, which is then removed.

Names in the archive never decide where files are written; they only serve as names in the result.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from caffe_compat.errors import FileError

Opener = Callable[[], AbstractContextManager[Path]]
"""Opens a context that gives the path of a file, which exists within the context."""
LARGEST = 1 << 30
"""Bytes allowed for a file of an archive; the authors' nets have 12 MB."""
_PIECE = 1 << 20
_ENCRYPTED = 1  # flag bit


def archived(path: Path, suffixes: tuple[str, ...]) -> list[tuple[str, Opener]]:
    """Return name and opener of every file of weights in an archive; other files, also archives, are ignored.

    Files with an unsafe name, kind or size are refused.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise FileError(
            f"cannot be read as a zip archive: {error}", code="damaged-file", file=path, hint="download it again"
        ) from None
    openers: dict[str, Opener] = {}
    for member in members:
        name = member.filename
        if not name.lower().endswith(suffixes) or _is_of_macos(name):
            continue
        problem = "appears twice" if name in openers else _problem(member)
        if problem:
            hint = "unpack the archive and inspect the file"
            raise FileError(f"{name!r} in this archive {problem}", code="unsafe", file=path, value=name, hint=hint)
        openers[name] = partial(_inflated, path, member)
    if not openers:
        others = [member.filename for member in members if not member.is_dir()][:3]
        hint = f"it has {', '.join(map(repr, others))}" if others else "it is empty"
        raise FileError(f"has no {' or '.join(suffixes)}", code="empty", file=path, hint=hint)
    return list(openers.items())


def _is_of_macos(name: str) -> bool:
    """Return whether this is metadata that macOS adds to archives."""
    place = PurePosixPath(name)
    return place.parts[0] == "__MACOSX" or place.name.startswith("._")


def _problem(member: zipfile.ZipInfo) -> str | None:
    place = PurePosixPath(member.filename)
    if place.is_absolute() or ".." in place.parts or "\\" in member.filename or ":" in place.parts[0]:
        return "is outside of it"
    if not member.filename.isprintable():
        return "has a name that cannot be printed"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    return f"has {member.file_size} bytes; {LARGEST} are allowed" if member.file_size > LARGEST else None


@contextmanager
def _inflated(path: Path, member: zipfile.ZipInfo) -> Iterator[Path]:
    """Yield the path of an inflated file of an archive, within the context; refuse one longer than declared."""
    suffix = ".caffemodel.h5" if member.filename.lower().endswith(".h5") else ".caffemodel"
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"weights{suffix}"
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as source, file.open("wb") as target:
                _copy(source.read, target.write, member.file_size)
        except (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
            hint = "download it again"
            problem = f"cannot be inflated: {error}"
            raise FileError(problem, code="damaged-file", file=member.filename, hint=hint) from None
        yield file


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object], size: int) -> None:
    remaining = size
    while piece := read(_PIECE):
        remaining -= len(piece)
        if remaining < 0:
            raise ValueError(f"it has more than the {size} bytes that it declares")
        write(piece)
    if remaining:
        raise ValueError(f"{remaining} of {size} bytes are missing")
