"""Names, search and selection of RAVDESS, on empty files of the right names."""

from itertools import product
from pathlib import Path

import pytest

from lq_emotion.datasets.ravdess.clips import (
    EMOTIONS,
    Channel,
    Intensity,
    Modality,
    RavdessClip,
    Sex,
    file_name,
    find_clips,
    read_name,
)
from tests.refusals import refused


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
    assert (clip.name, clip.take, clip.label, clip.sex) == ("02-01-06-01-02-01-12", "01-06-01-02-01-12", 5, Sex.FEMALE)
    assert EMOTIONS[clip.label] == "fearful"
    assert RavdessClip.from_json(clip.to_json()) == clip
    values = {"modality": clip.modality, "channel": clip.channel, "intensity": clip.intensity}
    assert file_name(**values, emotion=clip.label, statement=2, repetition=1, actor=12) == clip.name


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
    assert len({clip.take for clip in both}) == 3 * 60 + 2 * 44
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
