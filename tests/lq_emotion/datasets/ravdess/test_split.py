"""Splits by actor."""

from pathlib import Path

import pytest

from lq_emotion.datasets.ravdess.clips import ACTORS, Sex, read_name, sex_of
from lq_emotion.datasets.ravdess.split import ActorSplit, actor_folds, cross_validation
from tests.refusals import refused


@pytest.mark.parametrize("count", [2, 4, 5, 6, 24])
def test_folds_hold_every_actor_once_and_both_sexes_alike(count):
    folds = actor_folds(ACTORS, count, seed=3)
    assert sorted(actor for fold in folds for actor in fold) == list(ACTORS)
    sizes = [len(fold) for fold in folds]
    men = [sum(sex_of(actor) == Sex.MALE for actor in fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert max(men) - min(men) <= 1


def test_the_seed_chooses_the_folds():
    assert actor_folds(ACTORS, 6, seed=1) == actor_folds(ACTORS, 6, seed=1) != actor_folds(ACTORS, 6, seed=2)


def test_every_fold_is_tested_once_and_chooses_snapshots_once():
    splits = cross_validation(ACTORS, 6)
    assert sorted(actor for split in splits for actor in split.test) == list(ACTORS)
    assert sorted(actor for split in splits for actor in split.dev) == list(ACTORS)
    assert all(len(split.train) == 16 for split in splits)
    assert [split.dev for split in cross_validation([1, 2, 3], 2)] == [(), ()]


def test_both_files_of_a_take_are_on_the_same_side():
    clips = [read_name(Path(f"{m}-01-03-01-01-01-{actor:02d}.mp4")) for m in ("01", "02") for actor in ACTORS]
    for split in cross_validation(ACTORS, 4, seed=2):
        sides = [{clip.take for clip in split.part(clips, name)} for name in ("train", "dev", "test")]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 24
        assert sum(len(split.part(clips, name)) for name in ("train", "dev", "test")) == 48


def test_refusals():
    with refused("conflict", value=[3]):
        ActorSplit((1, 3), (), (2, 3))
    with refused("empty", field="test"):
        ActorSplit((1,), (2,), ())
    with refused("out-of-range", field="folds", value=4):
        actor_folds([1, 2, 3], 4)
