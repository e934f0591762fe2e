"""Which recordings are trained with and which are scored: what AVEC's names say, or what a user says instead.

RECOLA's participants have no partition, so its users name them: a few names, or a table ``name,partition``. What they
name when they prepare recordings is kept beside the crops, in ``ROOT/data/partitions.csv``, and holds from there on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from caffe_compat.errors import DataError, FileError, ParseError, did_you_mean
from lq_emotion.common.lists import write_lines
from lq_emotion.datasets.avec.layout import PARTITIONS, RECOLA_TEST, natural, partition_of
from lq_emotion.datasets.avec.tables import read_csv

FILE = "partitions.csv"


@dataclass(frozen=True)
class Partitions:
    """The partition of each recording.

    Attributes
    ----------
    named : recording -> train, dev or test, or "" for none of them, where a user says so.
    complete : partitions that consist of the recordings in `named` alone; in the others AVEC's names count too.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    complete: frozenset[str] = frozenset()

    def of(self, name: str) -> str | None:
        """Return the partition of a recording; None where nothing tells it."""
        if name in self.named:
            return self.named[name] or None
        partition = partition_of(name)
        return None if partition in self.complete else partition

    def members(self, partition: str, names: Iterable[str]) -> list[str]:
        """Return those of some recordings that are in a partition, in natural order."""
        return sorted((name for name in names if self.of(name) == partition), key=natural)

    def require_known(self, names: Sequence[str], where: Path, *partitions: str) -> None:
        """Refuse names in some partitions that no recording has.

        Raises
        ------
        DataError
        """
        for name, partition in self.named.items():
            if partition in partitions and name not in names:
                hint = did_you_mean(name, names) or f"there are {', '.join(names)}"
                raise DataError("there is no such recording", file=where, field=partition, value=name, hint=hint)


def avec_name(name: str) -> str:
    """Return a recording's name: AVEC's for those of RECOLA's participants whose place there is known."""
    return RECOLA_TEST.get(name, name)


def named_partitions(
    train: Sequence[str] = (), dev: Sequence[str] = (), table: Path | None = None
) -> Partitions | None:
    """Return what a user names; None where nothing is named. Names stand above the table.

    Parameters
    ----------
    train, dev : recordings, by AVEC's or RECOLA's name.
    table : a CSV with the columns name and partition.

    Raises
    ------
    CaffeCompatError
        The table cannot be read, or a recording has two partitions.
    """
    named = dict(read_partitions(table)) if table else {}
    complete = set(PARTITIONS) if table else set()
    given = {"train": [avec_name(name) for name in train], "dev": [avec_name(name) for name in dev]}
    for name in given["train"]:
        if name in given["dev"]:
            raise DataError("is to be both trained with and scored", field="--dev", value=name)
    for partition, names in given.items():
        if names:
            named = {name: one for name, one in named.items() if one != partition}
            complete.add(partition)
    named |= {name: partition for partition, names in given.items() for name in names}
    return Partitions(named, frozenset(complete)) if complete else None


def read_partitions(path: Path) -> dict[str, str]:
    """Read a CSV with the columns name and partition (train, dev, test, or nothing).

    Raises
    ------
    CaffeCompatError
        A column is missing, a partition is unknown, or a recording stands there with two.
    """
    table = read_csv(path)
    places = [table.position(column) for column in ("name", "partition")]
    if None in places:
        raise ParseError("has no columns name and partition", file=path, line=1, hint="name,partition")
    named: dict[str, str] = {}
    for line, row in table.rows:
        name, partition = (row[place or 0] for place in places)
        if partition not in (*PARTITIONS, ""):
            hint = did_you_mean(partition, PARTITIONS) or ", ".join(PARTITIONS)
            raise ParseError("is no partition", file=path, line=line, field="partition", value=partition, hint=hint)
        if named.setdefault(avec_name(name), partition) != partition:
            raise ParseError("has two partitions", file=path, line=line, field="name", value=name)
    return named


def write_partitions(partitions: Partitions, names: Iterable[str], folder: Path) -> None:
    """Keep the partitions of some recordings in a folder of prepared data."""
    rows = (f"{name},{partitions.of(name) or ''}" for name in sorted(names, key=natural))
    write_lines(["name,partition", *rows], folder / FILE)


def kept_partitions(folder: Path) -> Partitions:
    """Return the partitions that are kept in a folder of prepared data, ``ROOT/data``; AVEC's names tell the others."""
    path = folder / FILE
    return Partitions(read_partitions(path)) if path.is_file() else Partitions()


def crops_of(data: Path, partition: str, partitions: Partitions | None = None) -> list[str]:
    """Return the recordings of a partition in a folder of crops, ``ROOT/data/raw_data/HQ``, in natural order.

    Raises
    ------
    CaffeCompatError
        There are none, or one that is named is not there.
    """
    present = sorted((path.stem for path in data.glob("*.mat")), key=natural)
    if partitions is not None:
        partitions.require_known(present, data, partition)
    else:
        partitions = kept_partitions(data.absolute().parent.parent)
    names = partitions.members(partition, present)
    if not names:
        hint = (
            f"name them: --{partition} takes from {', '.join(present)}" if present else "lq-emotion prepare makes them"
        )
        raise FileError(f"holds no recording of the partition {partition}", file=data, hint=hint)
    return names
