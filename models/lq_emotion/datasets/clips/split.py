"""Split persons into train, dev and test: a person is never on two sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.datasets.avec.layout import PARTITIONS


@dataclass(frozen=True)
class Split(Record):
    """A random split of persons.

    Attributes
    ----------
    train, dev, test : parts of the persons, which add up to 1. `dev` chooses among snapshots, so that only `test` shows
        how good the chosen one is on strangers; it may be 0.
    seed : seed of the order of the persons.
    """

    train: float = 0.6
    dev: float = 0.2
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        parts = (self.train, self.dev, self.test)
        if not (self.train > 0 and self.dev > 0 and self.test >= 0 and abs(sum(parts) - 1) < 1e-6):
            hint = "three numbers that add up to 1, the first two above 0, such as 0.6 0.2 0.2"
            raise DataError("cannot split persons", code="out-of-range", field="split", value=parts, hint=hint)

    def of(self, persons: Iterable[str]) -> dict[str, str]:
        """Return the partition of each person; each partition that has a share gets one person or more."""
        names = sorted(set(persons))
        parts = {name: getattr(self, name) for name in PARTITIONS if getattr(self, name)}
        if len(names) < len(parts):
            problem = f"{len(names)} persons for {len(parts)} partitions"
            hint = "add persons, or split two with 0.5 0.5 0"
            raise DataError(problem, code="wrong-count", field="person", hint=hint)
        counts = dict.fromkeys(parts, 1)
        while sum(counts.values()) < len(names):
            lacking = {name: part * len(names) - counts[name] for name, part in parts.items()}
            counts[max(lacking, key=lacking.__getitem__)] += 1
        order = np.random.default_rng(self.seed).permutation(len(names)).tolist()
        partitions = [name for name, count in counts.items() for _ in range(count)]
        return {names[index]: partition for index, partition in zip(order, partitions, strict=True)}
