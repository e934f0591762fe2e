"""Refuse paths that are no files or whose reading might never end, and outputs that would replace an input."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from caffe_compat.errors import FileError
from caffe_compat_base.input_files import CONFLICT, inputs_of, named_files, protecting

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a device, and a named pipe, whose writer may never come.

    An open pipe (``/dev/stdin``, ``<(...)``) is accepted, and so is a missing file, which fails when it is opened.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    if stat.S_ISFIFO(mode) and not Path(os.path.realpath(path)).exists():
        return
    kind = _KINDS.get(stat.S_IFMT(mode), "a device")
    raise FileError(f"is {kind}, expected a file", code="wrong-format", file=path)


def require_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is missing, or is not a file that can be read several times: a folder, a pipe, a device."""
    file = Path(path)
    if not file.exists():
        raise FileError("file does not exist", code="file-missing", file=path)
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "a pipe or a device"
        raise FileError(f"is {kind}, expected a file", code="wrong-format", file=path)


def require_other_file(out: str | os.PathLike[str], *sources: str | os.PathLike[str] | None) -> None:
    """Refuse to write over a file that is read, by whatever name or link."""
    target = Path(out)
    for source in sources:
        if source and target.exists() and Path(source).exists() and target.samefile(source):
            raise FileError(CONFLICT, code="conflict", file=out, hint="choose another name")


@contextmanager
def protected_inputs(arguments: Mapping[str, object], outputs: Collection[str]) -> Iterator[None]:
    """Run a command that replaces none of its input files, by name or by a link.

    The `arguments` named in `outputs` are output files: they are checked first, other files when they are written.
    """
    inputs = inputs_of(arguments, outputs)
    for name in outputs:
        for out in named_files(arguments.get(name)):
            require_other_file(out, *inputs)
    with protecting(inputs):
        yield
