"""Split RAVDESS by actor, so that an actor, and so both files of a take, is never on two sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.datasets.ravdess.clips import RavdessClip, Sex, sex_of


@dataclass(frozen=True)
class ActorSplit(Record):
    """The actors on each side of a split; `dev` may be empty. An actor is on one side only."""

    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    def __post_init__(self) -> None:
        actors = [*self.train, *self.dev, *self.test]
        twice = sorted({actor for actor in actors if actors.count(actor) > 1})
        if twice:
            raise DataError("actors are on two sides", code="conflict", field="actors", value=twice)
        for side in ("train", "test"):
            if not getattr(self, side):
                raise DataError("no actor", code="empty", field=side)

    def part(self, clips: Iterable[RavdessClip], partition: str) -> list[RavdessClip]:
        """Return the clips of a partition: train, dev or test."""
        actors = set(getattr(self, partition))
        return [clip for clip in clips if clip.actor in actors]


def actor_folds(actors: Iterable[int], count: int, *, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """Deal actors to two folds or more whose sizes, and numbers of men, differ by one at most."""
    numbers = sorted(set(actors))
    if not 2 <= count <= len(numbers):
        hint = f"2 to {len(numbers)}, one fold for each actor"
        raise DataError("cannot be dealt", code="out-of-range", field="folds", value=count, hint=hint)
    rng = np.random.default_rng(seed)
    dealt = [
        int(actor) for sex in Sex for actor in rng.permutation([number for number in numbers if sex_of(number) == sex])
    ]
    return tuple(tuple(sorted(dealt[fold::count])) for fold in range(count))


def cross_validation(actors: Iterable[int], count: int, *, seed: int = 0) -> tuple[ActorSplit, ...]:
    """Return a split for each fold: it is tested, the next one chooses among snapshots, the others are trained on.

    With two folds there is no `dev`.
    """
    folds = actor_folds(actors, count, seed=seed)
    splits = []
    for number, test in enumerate(folds):
        dev = folds[(number + 1) % count] if count > 2 else ()
        train = tuple(sorted(actor for fold in folds if fold not in (test, dev) for actor in fold))
        splits.append(ActorSplit(train, dev, test))
    return tuple(splits)
