"""What was made of each recording, and from what: one small JSON file a recording, beside the results.

A recording is done if its journal says so for the same inputs and settings, and the files it names are there unchanged.
Files are told apart by size and time of change, not by reading them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lq_emotion.common.json_files import contents_of, read_json, write_json

FOLDER = Path("data") / "journal"
Identity = list[Any]


def identity(path: Path) -> Identity:
    """Return what tells a file from another without reading it, wherever its folder is moved to."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def identities(paths: Iterable[Path | None]) -> list[Identity]:
    """Return the identities of those paths that name a file."""
    return [identity(path) for path in paths if path is not None and path.is_file()]


def read_journal(path: Path) -> dict[str, Any]:
    """Return what a journal holds; nothing where there is none.

    Raises
    ------
    FileError
        It is damaged.
    """
    held: dict[str, Any] = read_json(path) or {}
    with contents_of(path):
        held["files"] = {**held.get("files", {})}
        for entry, texts in (("outcome", ("name", "status")), ("boxes", ("source",))):
            if entry in held and not all(isinstance(held[entry][name], str) for name in texts):
                raise TypeError(f"{entry} = {held[entry]}")
        if "boxes" in held:
            held["boxes"] |= {"from": held["boxes"]["from"], "held": int(held["boxes"]["held"])}
    return held


class Journal:
    """The journal of one recording.

    Parameters
    ----------
    out : the folder of all results.
    name : the recording's.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._out = out
        self.path = out / FOLDER / f"{name}.json"
        self.held = read_journal(self.path)

    def wrote(self, path: Path) -> bool:
        """Whether a file is there as an earlier run wrote it."""
        return path.is_file() and identity(path) == self._files.get(self._name(path))

    def done(self, fingerprint: Any) -> bool:
        """Whether everything was made from these inputs and settings, and is still there."""
        if self.held.get("fingerprint") != fingerprint or self.held.get("outcome", {}).get("status") != "done":
            return False
        return all(self.wrote(self._out / name) for name in self._files)

    def note(self, written: Iterable[Path] = (), **entries: Any) -> None:
        """Keep entries, and files as written by us; on the disk before it returns."""
        new = {self._name(path): identity(path) for path in written}
        self.held = {**self.held, **entries, "files": {**self._files, **new}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.held, self.path)

    @property
    def _files(self) -> dict[str, Identity]:
        found: dict[str, Identity] = self.held["files"]
        return found

    def _name(self, path: Path) -> str:
        return path.relative_to(self._out).as_posix()
