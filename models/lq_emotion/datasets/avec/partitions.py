"""Partition recordings into train, dev and test: by AVEC's names, or as the user chooses.

RECOLA's participants have no partitions; its users choose them by name or in a table ``name,partition``. The choice
made when recordings are prepared is stored next to the crops, in ``ROOT/data/partitions.csv``, for later commands.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from caffe_compat.errors import DataError, FileError, did_you_mean
from lq_emotion.common.lists import write_lines
from lq_emotion.common.records import Record
from lq_emotion.common.text_table import Row, Table
from lq_emotion.datasets.avec.layout import PARTITIONS, avec_name, natural_order, partition_of

FILE = "partitions.csv"


@dataclass(frozen=True)
class Partitions(Record):
    """The partition of each recording."""

    chosen: Mapping[str, str] = field(default_factory=dict)
    """Recording -> train, dev, test, or "" for none, as the user chose."""
    complete: frozenset[str] = frozenset()
    """Partitions without other recordings than those in `chosen`; the others include AVEC's names too."""

    def of(self, name: str) -> str | None:
        """Return the partition of a recording, or None."""
        if name in self.chosen:
            return self.chosen[name] or None
        partition = partition_of(name)
        return None if partition in self.complete else partition

    def members(self, partition: str, names: Iterable[str]) -> list[str]:
        """Return the recordings in a partition, in natural order."""
        return sorted((name for name in names if self.of(name) == partition), key=natural_order)

    def tested_on(self, names: Iterable[str]) -> Partitions:
        """Return these partitions with `names` as the only recordings of dev."""
        others = {name: partition for name, partition in self.chosen.items() if partition != "dev"}
        return Partitions({**others, **dict.fromkeys(names, "dev")}, self.complete | {"dev"})

    def require_known(self, names: Sequence[str], where: Path, *partitions: str) -> None:
        """Refuse chosen names in these partitions that no recording has."""
        for name, partition in self.chosen.items():
            if partition in partitions and name not in names:
                hint = did_you_mean(name, names) or f"the recordings are {', '.join(names)}"
                raise DataError(
                    "no such recording", code="name-unknown", file=where, field=partition, value=name, hint=hint
                )


def chosen_partitions(
    train: Sequence[str] = (), dev: Sequence[str] = (), table: Path | None = None
) -> Partitions | None:
    """Return the partitions that a user chose, or None; names, AVEC's or RECOLA's, take precedence over the table."""
    chosen = dict(read_partitions(table)) if table else {}
    complete = set(PARTITIONS) if table else set()
    given = {"train": [avec_name(name) for name in train], "dev": [avec_name(name) for name in dev]}
    for name in given["train"]:
        if name in given["dev"]:
            raise DataError("also given to --train", code="conflict", field="--dev", value=name)
    for partition, names in given.items():
        if names:
            chosen = {name: other for name, other in chosen.items() if other != partition}
            complete.add(partition)
    chosen |= {name: partition for partition, names in given.items() for name in names}
    return Partitions(chosen, frozenset(complete)) if complete else None


def add_partitions(parser: ArgumentParser) -> None:
    """Add ``--train``, ``--dev`` and ``--partitions``, which `partitions_of` reads."""
    group = parser.add_argument_group(
        "partitions", "default: those that `data prepare` was given, else by name: train_* and dev_*"
    )
    group.add_argument("--train", nargs="+", default=(), metavar="NAME", help="recordings to train on")
    group.add_argument("--dev", nargs="+", default=(), metavar="NAME", help="recordings to test on")
    text = "CSV file with the columns name and partition (train, dev or test)"
    group.add_argument("--partitions", type=Path, metavar="CSV", help=text)


def partitions_of(args: Namespace) -> Partitions | None:
    """Return the partitions named on the command line; None without any."""
    return chosen_partitions(args.train, args.dev, args.partitions)


def read_partitions(path: Path) -> dict[str, str]:
    """Read a CSV with the columns name and partition (train, dev, test or empty); a recording has one partition."""
    chosen: dict[str, str] = {}
    for row in Table.read(path, ("name", "partition")).rows:
        partition = row["partition"]
        if partition:
            require_partition(row)
        if chosen.setdefault(avec_name(row["name"]), partition) != partition:
            raise row.error("has two partitions", "duplicate", "name")
    return chosen


def require_partition(row: Row) -> None:
    """Refuse a row whose column ``partition`` is not train, dev or test."""
    if row["partition"] not in PARTITIONS:
        hint = did_you_mean(row["partition"], PARTITIONS) or f"choose one of {', '.join(PARTITIONS)}"
        raise row.error("unknown partition", "name-unknown", "partition", hint=hint)


def write_partitions(partitions: Partitions, names: Iterable[str], folder: Path) -> None:
    """Store the partitions of recordings in a folder of prepared data, ``ROOT/data``."""
    rows = (f"{name},{partitions.of(name) or ''}" for name in sorted(names, key=natural_order))
    write_lines(["name,partition", *rows], folder / FILE)


def stored_partitions(folder: Path) -> Partitions:
    """Return the partitions stored in a folder of prepared data, ``ROOT/data``, or else those of AVEC's names."""
    path = folder / FILE
    return Partitions(read_partitions(path)) if path.is_file() else Partitions()


def recordings_in(data: Path, partition: str, partitions: Partitions | None = None) -> list[str]:
    """List the recordings of a partition in a folder of crops, ``ROOT/data/raw_data/HQ``, in natural order."""
    present = sorted((path.stem for path in data.glob("*.mat")), key=natural_order)
    if partitions is not None:
        partitions.require_known(present, data, partition)
    else:
        partitions = stored_partitions(data.absolute().parent.parent)
    names = partitions.members(partition, present)
    if not names:
        folder = "expected a folder of crops that `lq-emotion data prepare` wrote, ROOT/data/raw_data/HQ"
        hint = f"choose some of {', '.join(present)} with --{partition}" if present else folder
        raise FileError("no recording in this partition", code="empty", file=data, field=partition, hint=hint)
    return names
