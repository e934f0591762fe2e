"""What a report is made from: the files that the other commands left below ROOT."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError, FileError
from caffe_compat.models.robust_lq_emotion.avec.layout import natural
from caffe_compat.models.robust_lq_emotion.report.document import is_png

Results = dict[str, Any]


class Absent(Exception):  # noqa: N818 (nothing is wrong)
    """A part has nothing to be made from; its one argument tells in a line what would leave something."""


@dataclass(frozen=True)
class Store:
    """A folder ROOT.

    Attributes
    ----------
    root : the folder.
    """

    root: Path

    def find(self, path: Path) -> Results | None:
        """Return what a JSON file holds; None where there is none.

        Raises
        ------
        FileError, DataError
            It is damaged, or something else.
        """
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError, OSError) as error:
            raise FileError(f"cannot be read as JSON: {error}", file=path) from None
        if not isinstance(found, dict):
            raise DataError("does not hold what is expected there", file=path)
        return found

    @cached_property
    def table(self) -> Results | None:
        """Return the experiment, as `table` documents it."""
        return self.find(self.root / "table" / "table.json")

    @cached_property
    def prepared(self) -> list[Results]:
        """Return what became of each recording."""
        found = self.find(self.root / "data" / "prepare.json")
        return [] if found is None else list(found["recordings"])

    @cached_property
    def maker(self) -> Results | None:
        """Return the settings of synthetic recordings, where these are."""
        places = [self.root / "recordings", self.root]
        if self.table is not None:
            places.insert(0, Path(self.table["recordings"]))
        for place in places:
            if (found := self.find(place / "synthetic.json")) is not None:
                return found
        return None

    @property
    def synthetic(self) -> bool | None:
        """Tell whether nobody was filmed; None where nothing tells."""
        if self.maker is not None:
            return True
        return None if self.table is None else bool(self.table["synthetic"])

    @property
    def dimension(self) -> str:
        """Return what the labels are of."""
        told = [one.get("labels") for one in self.scores.values()] + ["valence"]
        return str((self.table or {}).get("dimension") or next(filter(None, told)))

    @cached_property
    def scores(self) -> dict[str, Results]:
        """Return all evaluations by folder."""
        return self._each("scores", "scores.json")

    @cached_property
    def runs(self) -> dict[str, Results]:
        """Return all trainings by folder."""
        return self._each("runs", "train.json")

    @cached_property
    def sweeps(self) -> dict[Path, Results]:
        """Return all sweeps over codecs by folder."""
        places = [self.root / "rd", *sorted((self.root / "rd").glob("*/"))]
        found = {place: self.find(place / "rd.json") for place in places}
        return {place: results for place, results in found.items() if results is not None}

    @property
    def scales(self) -> list[int]:
        """Return the factors of the experiment, or those of Table 1."""
        from caffe_compat.models.robust_lq_emotion.published import FACTORS

        return list(FACTORS if self.table is None else self.table["scales"])

    def _each(self, folder: str, name: str) -> dict[str, Results]:
        paths = sorted((self.root / folder).glob(f"*/{name}"), key=lambda path: natural(path.parent.name))
        found = {path.parent.name: self.find(path) for path in paths}
        return {key: results for key, results in found.items() if results is not None}


def read_png(path: Path) -> bytes | None:
    """Return a picture's file; None where there is no whole one."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if is_png(data) else None
