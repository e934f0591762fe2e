"""A journal of finished work: a JSON file next to the results records their inputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import contents_of, read_json, write_json


class Journal:
    """A JSON file that records which pieces of work are done, from what, and which files they wrote.

    The file contains ``{.., "done": {NAME: {"fingerprint": .., "files": {FILE: SHA256, ..}, ..}, ..}}``; it need not
    exist. A piece of work is done if its fingerprint is that of the present inputs and settings, and its files, which
    each process reads once, contain what was written. Their names are relative to `root`, absolute without one; `hint`
    is what to do about a damaged journal. `details` are the contents other than ``done``.
    """

    def __init__(self, path: Path, *, root: Path | None = None, hint: str = "remove it and run again") -> None:
        self.path = path
        self._root = root
        content = read_json(path)
        self.exists = content is not None
        self.details: dict[str, Any] = content or {}
        self._done: dict[str, dict[str, Any]] = {}
        if self.exists:
            with contents_of(path, hint):
                for name, entry in self.details.pop("done").items():
                    self._done[name] = {**entry, "fingerprint": entry["fingerprint"], "files": {**entry["files"]}}
                    outside = [] if root is None else [file for file in entry["files"] if not _is_below(file)]
                    if outside:
                        problem = "lists a file outside of its folder"
                        raise FileError(problem, code="unsafe", file=path, field=name, value=outside[0], hint=hint)

    def entry(self, name: str) -> dict[str, Any]:
        """Return the entry of a piece of work; empty if it was never done."""
        return self._done.get(name, {})

    def is_done(self, name: str, fingerprint: str) -> bool:
        """Tell whether a piece of work is done with this fingerprint, and its files are unchanged."""
        entry = self._done.get(name)
        if entry is None or entry["fingerprint"] != fingerprint:
            return False
        return all(self._is_unchanged(file, sha256) for file, sha256 in entry["files"].items())

    def wrote(self, path: Path) -> bool:
        """Tell whether a file is as a piece of work wrote it."""
        name = self._name(path)
        hashes = [entry["files"][name] for entry in self._done.values() if name in entry["files"]]
        return any(self._is_unchanged(name, sha256) for sha256 in hashes)

    def note(self, name: str, fingerprint: str, files: Iterable[Path] = (), **values: Any) -> None:
        """Write down that a piece of work is done; on the disk before it returns."""
        hashes = {self._name(path): file_sha256(path) for path in files}
        self._done[name] = {"fingerprint": fingerprint, "files": hashes, **values}
        self.write()

    def write(self) -> None:
        """Write the journal with its details, complete or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json({**self.details, "done": dict(sorted(self._done.items()))}, self.path)
        self.exists = True

    def require_own(self, paths: Iterable[Path], maker: str) -> None:
        """Refuse files without a journal: someone else wrote them."""
        foreign = next((path for path in paths if path.exists()), None)
        if foreign is not None and not self.exists:
            problem = f"contains {foreign.name}, which no {maker} wrote"
            hint = "choose another folder: --out"
            raise FileError(problem, code="foreign-files", file=self.path.parent, hint=hint)

    def claim(self, paths: Iterable[Path], maker: str) -> None:
        """Note which files will be written, and write the journal; refuse files that exist and were not claimed.

        Without a root, files have their last names only: the journal may be moved with them.
        """
        chosen = {path.name if self._root is None else self._name(path): path for path in paths}
        written = [name for entry in self._done.values() for name in entry["files"]]
        with contents_of(self.path):
            earlier = [*written, *self.details.get("claimed", [])]
            claimed = {Path(name).name if self._root is None else name for name in earlier}
        foreign = next((path for name, path in chosen.items() if path.exists() and name not in claimed), None)
        if foreign is not None:
            hint = "move it away, or choose another folder: --out"
            raise FileError(f"exists, and no {maker} wrote it", code="foreign-files", file=foreign, hint=hint)
        self.details["claimed"] = sorted(claimed | chosen.keys())
        self.write()

    def clear(self, paths: Iterable[Path] = ()) -> None:
        """Remove the files of all pieces of work, other paths, and the journal last: a killed clearing begins again."""
        files = [self._path(name) for entry in self._done.values() for name in entry["files"]]
        for path in (*files, *paths, self.path):
            path.unlink(missing_ok=True)
        self._done, self.details, self.exists = {}, {}, False

    def _is_unchanged(self, name: str, sha256: Any) -> bool:
        path = self._path(name)
        return path.is_file() and bool(file_sha256(path) == sha256)

    def _name(self, path: Path) -> str:
        return str(path) if self._root is None else path.relative_to(self._root).as_posix()

    def _path(self, name: str) -> Path:
        return Path(name) if self._root is None else self._root / name


def _is_below(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts
