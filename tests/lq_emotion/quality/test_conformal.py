"""Calibrations made of answers with known errors: intervals hold the label of new people as often as they should."""

import sys

import numpy as np
import pytest

from lq_emotion.quality.conformal import Samples, make_calibration, require_enough
from tests.lq_emotion.quality.test_calibration import ORIGIN
from tests.refusals import refused

pytest.importorskip("sklearn")


def people(count, seed, frames=40, classes=0, unequal=False):
    """Answers whose errors double at half the size; each person errs in one direction, by an amount of his own.

    If `unequal`, a person who errs widely has a tenth of the frames, as where a detector loses hard faces.
    """
    rng = np.random.default_rng(seed)
    bias = rng.normal(0, 0.7, count)
    hard = np.abs(bias) > 0.7
    counts = np.where(hard, frames // 10, frames) if unequal else np.full(count, frames)
    person = np.repeat(np.arange(count), counts)
    scale, recording = np.repeat([1.0, 2.0, 4.0], len(person)), np.tile(person, 3)
    size, total = 96 / scale, len(scale)
    values = np.column_stack(
        [size, size * rng.uniform(2, 3, total), rng.uniform(0.1, 1, total), np.full(total, 120), np.full(total, 40)]
    )
    if classes:
        truth = np.eye(classes)[rng.integers(0, classes, total)]
        changed = rng.uniform(0, 1, total) < 0.1 * scale
        answers = np.where(changed[:, None], np.roll(truth, 1, axis=1), truth) * 0.6 + 0.4 / classes
        return Samples(recording, scale, np.full(total, 28.0), values, answers, truth)
    truth = rng.uniform(-1, 1, (total, 1))
    wrong = 0.1 * scale * (bias[recording] + rng.normal(0, 0.7, total))
    return Samples(recording, scale, np.full(total, 28.0), values, truth + wrong[:, None], truth)


def by_person(held, recording):
    return float(np.mean(np.bincount(recording, held) / np.bincount(recording)))


@pytest.fixture(scope="module")
def calibration():
    return make_calibration(people(100, 0), ORIGIN, ["valence"])


def test_intervals_hold_the_label_of_new_people_in_nine_of_ten_frames_at_every_size(calibration):
    test = people(200, 1)
    low, high, _ = calibration.bounds(test.answers, test.values)
    held = ((low <= test.truth) & (test.truth <= high))[:, 0]
    assert 0.87 < held.mean() < 0.94
    assert all(0.85 < held[test.scale == scale].mean() < 0.96 for scale in (1, 2, 4))


def test_intervals_hold_for_people_whose_faces_are_lost_often():
    held = []
    for seed in range(3):
        made = make_calibration(people(60, 10 + seed, unequal=True), ORIGIN, ["valence"])
        test = people(200, 20 + seed, unequal=True)
        low, high, _ = made.bounds(test.answers, test.values)
        held.append(by_person(((low <= test.truth) & (test.truth <= high))[:, 0], test.recording))
    assert 0.88 < np.mean(held) < 0.95  # 0.90 to 0.916, and two standard errors; with frames of equal weight 0.85


def test_a_level_needs_people_in_every_band():
    samples = people(40, 7)
    made = make_calibration(samples, ORIGIN, ["valence"], level=0.97)
    assert len(made.errors[0].coded.bands) == 3  # of each size 40 people; 33 are needed
    samples.values[:, 0] = 20 + 2 * samples.recording
    made = make_calibration(samples, ORIGIN, ["valence"], level=0.97)
    assert len(made.errors[0].coded.bands) == 1  # each person has one size
    few = people(10, 8, frames=5)
    rows = few.scale == 1
    few = Samples(**{name: values[rows] for name, values in vars(few).items()})
    assert np.isfinite(make_calibration(few, ORIGIN, ["valence"]).errors[0].undegraded)


def test_intervals_grow_as_faces_shrink(calibration):
    test = people(5, 2)
    low, high, _ = calibration.bounds(test.answers, test.values)
    width = (high - low)[:, 0]
    means = [width[test.scale == scale].mean() for scale in (1, 2, 4)]
    assert means[1] / means[0] == pytest.approx(2, rel=0.3)
    assert means[2] / means[1] == pytest.approx(2, rel=0.3)


def test_the_limit_is_a_quarter_above_the_errors_on_undegraded_faces(calibration):
    (errors,) = calibration.errors
    assert errors.limit == pytest.approx(1.25 * errors.undegraded, abs=0.005)
    test = people(20, 3)
    _, _, fine = calibration.bounds(test.answers, test.values)
    assert fine[test.scale == 1].mean() > 0.9
    assert not fine[test.scale == 4].any()
    assert errors.enough["size"] == 96


def test_a_constant_answer_sets_the_scale(calibration):
    assert calibration.errors[0].constant == pytest.approx(0.91, abs=0.02)  # of labels uniform from -1 to 1


def test_bits_that_are_unknown_have_intervals_too(calibration):
    test = people(100, 4)
    test.values[:, 2] = np.nan
    low, high, _ = calibration.bounds(test.answers, test.values)
    assert 0.87 < ((low <= test.truth) & (test.truth <= high)).mean() < 0.95


def test_a_class_stays_as_often_as_its_interval_says():
    calibration = make_calibration(people(60, 5, classes=4), ORIGIN)
    test = people(60, 6, classes=4)
    stays = test.answers.argmax(axis=1) == test.truth.argmax(axis=1)
    low, high, _ = calibration.bounds(test.answers, test.values)
    for scale in (1, 2, 4):
        rows = test.scale == scale
        assert low[rows].mean() < stays[rows].mean() < high[rows].mean()
    assert low[test.scale == 1].mean() > low[test.scale == 4].mean() + 0.2


def test_fourteen_people_whose_classes_stay_are_enough_to_trust():
    calibration = make_calibration(people(14, 9, classes=4), ORIGIN)
    test = people(60, 6, classes=4)
    _, _, trusted = calibration.bounds(test.answers, test.values)
    assert trusted[test.scale == 1].mean() > 0.5
    assert trusted[test.scale == 4].mean() < 0.05


@pytest.mark.parametrize(("count", "level"), [(9, 0.9), (4, 0.5), (19, 0.95)])
def test_too_few_recordings_are_refused(count, level):
    with refused("wrong-count", field="recordings"):
        require_enough(count, level)
    require_enough(count + 1, level)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with refused("dependency-missing", hint="[trust]"):
        make_calibration(people(10, 0), ORIGIN, ["valence"])
