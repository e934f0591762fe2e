"""Drawn emotions, and the trees made of them, read as the real data sets are."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lq_emotion.datasets.ferplus import Rule, labelled, read_ferplus
from lq_emotion.datasets.ravdess import find_clips
from lq_emotion.datasets.synthetic.emotions import EMOTIONS, Features, draw_emotion
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess
from lq_emotion.video.container import Video
from tests.lq_emotion.commands import failed, quiet, run


def test_every_two_emotions_look_different_and_grow_from_the_same_face():
    person = make_person(np.random.default_rng(1))
    faces = {name: draw_emotion(person, features).astype(int) for name, features in EMOTIONS.items()}
    for (one, face), (other, different) in itertools.combinations(faces.items(), 2):
        assert (np.abs(face - different).max(axis=2) > 30).sum() > 200, (one, other)
    for features in EMOTIONS.values():
        np.testing.assert_array_equal(draw_emotion(person, features.at(0)), faces["neutral"])


def test_talking_opens_the_mouth_and_blinking_closes_the_eyes():
    assert Features().at(1, talk=0.5).jaw == 0.5
    assert EMOTIONS["surprised"].at(0.5).jaw == 0.5
    assert EMOTIONS["surprised"].at(1, blink=1).upper_lid == pytest.approx(-1.4)


def test_both_forms_of_ferplus_hold_the_same_images_and_votes(tmp_path, capsys):
    for form in ("csv", "folders"):
        assert run("data", "make", "ferplus", "--out", tmp_path / form, "--images", 20, "--form", form) == 0
    table, folders = read_ferplus(tmp_path / "csv"), read_ferplus(tmp_path / "folders")
    assert table.names == folders.names
    assert [table.partitions.count(name) for name in ("train", "dev", "test")] == [16, 2, 2]
    np.testing.assert_array_equal(table.votes, folders.votes)
    for index in range(20):
        np.testing.assert_array_equal(table.image(index), folders.image(index))
    assert set(table.votes.sum(axis=1)) == {10}
    assert len(labelled(table, "train", rule=Rule.PLURALITY, classes=8)[0]) > 12
    capsys.readouterr()
    assert run("data", "make", "ferplus", "--out", tmp_path / "csv", "--images", 20) == 0
    assert "there already" in capsys.readouterr().out
    assert "images" in failed(capsys, "data", "make", "ferplus", "--out", tmp_path / "csv", "--images", 30)


SMALL = RavdessTreeSettings(out=Path("ravdess"), actors=1, size=(128, 96), seconds=0.5, statements=1, repetitions=1)


def test_the_whole_tree_has_the_numbers_of_ravdess():
    files = RavdessTreeSettings(out=Path("ravdess")).files
    assert len(files) == len(set(files)) == 1440
    assert files[0] == "Actor_01/01-01-01-01-01-01-01.mp4"


def test_clips_have_the_names_rate_and_size_of_ravdess_and_are_made_once(tmp_path):
    pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    settings = replace(SMALL, out=tmp_path / "r")
    assert make_ravdess(settings, quiet) == SMALL.files
    clips = find_clips(tmp_path / "r")
    assert [sum(clip.emotion == name for clip in clips) for name in ("neutral", "calm", "surprised")] == [1, 2, 2]
    with Video(str(clips[-1].path)) as video:
        frames = list(video)
    assert frames[0].image.shape == (96, 128, 3)
    assert frames[1].time == pytest.approx(1001 / 30000)
    middle, last = frames[len(frames) // 2].image.astype(int), frames[-1].image.astype(int)
    assert np.abs(middle - last).max() > 60  # the emotion comes and goes
    (tmp_path / "r" / SMALL.files[3]).unlink()
    assert make_ravdess(settings, quiet) == [SMALL.files[3]]
