"""The authors' network and solver definitions, under the authors' folder and file names, and other published nets.

Each file is our own writing of a published definition. The authors' parse to the same messages, placeholders such as
``PATH/TO/train.txt`` included; the other nets, in ``known``, to what Caffe's upgrade makes of the published files.
``importlib.resources.files("lq_emotion.prototxt")`` sees the same files.
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
    """Return the path of the definition ``name``.

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
