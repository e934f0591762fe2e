"""The authors' network and solver definitions, under the authors' folder and file names.

Each file is our own writing of a published definition and parses to the same message, placeholders such as
``PATH/TO/train.txt`` included. ``importlib.resources.files("lq_emotion.prototxt")`` sees the same files.
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath

__all__ = ["available", "path"]

_FOLDER = Path(__file__).resolve().parent


def available() -> tuple[str, ...]:
    """Return the name of every definition: its path below this folder, with ``/`` between the parts, sorted."""
    return tuple(sorted(file.relative_to(_FOLDER).as_posix() for file in _FOLDER.rglob("*.prototxt")))


def path(name: str) -> Path:
    """Return where the definition ``name`` lies.

    Parameters
    ----------
    name : one of :func:`available`, such as ``"pretrain/Pretrain_net.prototxt"``.

    Raises
    ------
    FileNotFoundError
        If there is no such definition; the message names the nearest one.
    """
    names = available()
    if name in names:
        return _FOLDER / name
    near = [known for known in names if PurePosixPath(known).name == PurePosixPath(name).name]
    near = near or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"available: {', '.join(names)}"
    raise FileNotFoundError(f"no definition is called {name!r} ({hint})")
