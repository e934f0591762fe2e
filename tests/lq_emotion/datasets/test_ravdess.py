"""Names and search of RAVDESS, on empty files of the right names, splits by actor, and windows of frames."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lq_emotion.datasets.ravdess import (
    EMOTIONS,
    ActorSplit,
    Channel,
    Intensity,
    Modality,
    RavdessClip,
    Window,
    cross_validation,
    find_clips,
    read_name,
    window_frames,
)
from tests.refusals import refused

ACTORS = range(1, 25)


def whole_set(folder, actors=(1, 2, 18)):
    """All names of some actors: 60 spoken and 44 sung trials, with and without sound."""
    for actor in actors:
        (folder / f"Actor_{actor:02d}").mkdir(parents=True)
        for modality, channel, emotion, intensity, statement, repetition in product(
            ("01", "02"), (1, 2), range(1, 9), (1, 2), (1, 2), (1, 2)
        ):
            if (emotion == 1 and intensity == 2) or (channel == 2 and (emotion > 6 or actor == 18)):
                continue
            name = (
                f"{modality}-{channel:02d}-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
            )
            (folder / f"Actor_{actor:02d}" / f"{name}.mp4").touch()
    return folder


def test_a_name_says_all_about_a_clip():
    path = Path("Actor_12/02-01-06-01-02-01-12.mp4")
    clip = read_name(path)
    assert clip == RavdessClip(path, Modality.VIDEO, Channel.SPEECH, "fearful", Intensity.NORMAL, 2, 1, 12)
    assert (clip.name, clip.label) == ("02-01-06-01-02-01-12", 5)
    assert EMOTIONS[clip.label] == "fearful"
    assert RavdessClip.from_json(clip.to_json()) == clip


@pytest.mark.parametrize(
    ("name", "code", "fields"),
    [
        ("happy_07", "syntax", {}),
        ("01-01-03-02-01-01", "syntax", {}),
        ("01-01-09-01-01-01-01", "out-of-range", {"field": "emotion", "value": 9}),
        ("01-01-03-01-01-01-25", "out-of-range", {"field": "actor", "value": 25}),
        ("00-01-03-01-01-01-01", "out-of-range", {"field": "modality", "value": 0}),
        ("01-01-01-02-01-01-01", "invalid", {"field": "intensity"}),
        ("01-02-07-01-01-01-01", "invalid", {"field": "emotion", "value": 7}),
        ("01-02-03-01-01-01-18", "invalid", {"field": "actor", "value": 18}),
    ],
)
def test_names_that_the_data_set_does_not_have_are_refused(name, code, fields):
    with refused(code, **fields):
        read_name(Path(f"{name}.mp4"))


def test_the_numbers_of_clips_are_those_of_the_data_set(tmp_path):
    folder = whole_set(tmp_path / "a/b/Video").parents[1]
    assert len(find_clips(folder)) == 3 * 60
    assert len(find_clips(folder, channels=[Channel.SONG])) == 2 * 44
    both = find_clips(folder, channels=list(Channel), modalities=[Modality.AV, Modality.VIDEO])
    assert len(both) == 2 * (3 * 60 + 2 * 44)
    assert len({clip.name.split("-", 1)[1] for clip in both}) == 3 * 60 + 2 * 44
    per_emotion = [sum(clip.emotion == emotion for clip in find_clips(folder)) for emotion in EMOTIONS]
    assert per_emotion == [12, *[24] * 7]


def test_trees_that_contradict_themselves_are_refused(tmp_path):
    with refused("file-missing", file=tmp_path / "none"):
        find_clips(tmp_path / "none")
    with refused("empty"):
        find_clips(tmp_path)
    folder = whole_set(tmp_path / "a", actors=[1])
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/01-01-03-01-01-01-01.mp4").touch()
    with refused("duplicate", file="01-01-03-01-01-01-01.mp4"):
        find_clips(tmp_path)
    (folder / "Actor_01/01-01-03-01-01-01-02.mp4").touch()
    with refused("mismatch", field="actor", value=2):
        find_clips(folder)
    with refused("empty", file=folder):
        (folder / "Actor_01/01-01-03-01-01-01-02.mp4").unlink()
        find_clips(folder, modalities=[Modality.AUDIO])


def test_a_folder_of_other_videos_is_refused_in_one_line(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").touch()
    with refused("empty", file=tmp_path):
        find_clips(tmp_path)


@pytest.mark.parametrize("count", [2, 4, 5, 6, 24])
def test_folds_contain_every_actor_once_and_both_sexes_alike(count):
    folds = [split.test for split in cross_validation(ACTORS, count, seed=3)]
    assert sorted(actor for fold in folds for actor in fold) == list(ACTORS)
    sizes = [len(fold) for fold in folds]
    men = [sum(actor % 2 for actor in fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert max(men) - min(men) <= 1


def test_the_seed_chooses_the_folds():
    one, again, other = (cross_validation(ACTORS, 6, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_every_fold_is_tested_once_and_chooses_snapshots_once():
    splits = cross_validation(ACTORS, 6)
    assert sorted(actor for split in splits for actor in split.test) == list(ACTORS)
    assert sorted(actor for split in splits for actor in split.dev) == list(ACTORS)
    assert all(sorted(split.train + split.dev + split.test) == list(ACTORS) for split in splits)
    assert [split.dev for split in cross_validation([1, 2, 3], 2)] == [(), ()]


def test_a_long_clip_has_windows_at_three_places():
    assert window_frames(110, Window.START).tolist() == list(range(30))
    assert window_frames(110, Window.CENTRE).tolist() == list(range(40, 70))
    uniform = window_frames(110, Window.UNIFORM)
    assert (uniform[0], uniform[-1]) == (1, 108)
    assert set(np.diff(uniform).tolist()) == {3, 4}


def test_a_short_clip_begins_again_or_shows_frames_several_times():
    assert window_frames(12, Window.START).tolist() == [*range(12), *range(12), *range(6)]
    assert window_frames(12, Window.CENTRE).tolist() == window_frames(12, Window.START).tolist()
    assert window_frames(3, Window.UNIFORM, length=6).tolist() == [0, 0, 1, 1, 2, 2]
    assert window_frames(30, Window.UNIFORM).tolist() == list(range(30))


def test_splits_and_windows_that_cannot_be_are_refused():
    with refused("conflict", value=[3]):
        ActorSplit((1, 3), (), (2, 3))
    with refused("empty", field="test"):
        ActorSplit((1,), (2,), ())
    with refused("out-of-range", field="folds", value=4):
        cross_validation([1, 2, 3], 4)
    with refused("out-of-range", field="count", value=0):
        window_frames(0, Window.START)
