"""A calibration: intervals, what is trusted and why not, and the file beside the weights."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lq_emotion.quality import Calibration, Condition
from lq_emotion.quality.bounds import Agreement, Errors, Likelihood, Widths
from lq_emotion.quality.calibration import MadeFrom, sidecar
from lq_emotion.quality.forest import Forest
from lq_emotion.quality.settings import Grid
from tests.refusals import refused


def stump(measures, column, threshold, below, above):
    """A forest of one tree that compares one column."""
    return Forest(
        measures, (0,), (column, -1, -1), (threshold, 0.0, 0.0), (1, -1, -1), (2, -1, -1), (0.0, below, above)
    )


SIZE = stump(("size", "sharpness", "bits"), 0, 24.0, 0.2, 0.1)
BITS = stump(("size", "sharpness", "bits"), 2, 0.05, 0.2, 0.1)
ALWAYS = stump(("size", "sharpness"), 0, 24.0, 0.3, 0.15)
RANGES = {
    "size": (8.0, 132.0),
    "sharpness": (20.0, 900.0),
    "bits": (0.01, 3.0),
    "brightness": (60.0, 190.0),
    "contrast": (20.0, 70.0),
}
ORIGIN = MadeFrom("net", "0" * 64, ("dev_1", "dev_2"), 200, Grid(scales=(1.0, 3.0), qps=(20, 44)), "recordings")


def errors(name="valence", difficulty=SIZE, enough=None):
    return Errors(
        name, 0.3, 0.2, 0.8, Widths(difficulty, ((0.0, 2.0), (100.0, 1.0))), Widths(ALWAYS, ((0.0, 2.0),)),
        {"size": 24.0} if enough is None else enough,
    )  # fmt: skip


SHARPEST = ((8.0, 250.0), (40.0, 900.0), (80.0, 850.0))
VALENCE = Calibration(0.9, (errors(),), None, RANGES, SHARPEST, ORIGIN)


def condition(**measures):
    return Condition(
        **{"size": 60.0, "sharpness": 200.0, "bits": 0.4, "brightness": 120.0, "contrast": 40.0, **measures}
    )


def likelihood(measures):
    forest = stump((*measures, "confidence"), 0, 24.0, 0.5, 0.05)
    return Likelihood(forest, ((0.0, 0.9, 0.99), (0.3, 0.4, 0.7)))


AGREEMENT = Agreement(
    0.8, likelihood(("size", "sharpness", "bits")), likelihood(("size", "sharpness")), {"size": 24.0, "confidence": 0.5}
)
CLASSES = Calibration(0.9, (), AGREEMENT, RANGES, SHARPEST, replace(ORIGIN, labels=""))


def test_an_interval_is_the_expected_error_times_the_factor_of_the_size():
    narrow, wide, large = VALENCE.judge([[0.5], [0.5], [0.5]], [condition(), condition(size=14), condition(size=120)])
    assert (narrow.low, narrow.high) == ((pytest.approx(0.3),), (pytest.approx(0.7),))
    assert (wide.low, wide.high) == ((pytest.approx(0.1),), (pytest.approx(0.9),))
    assert large.high == (pytest.approx(0.6),)


def test_a_face_that_is_too_small_is_not_trusted_and_the_reason_has_numbers():
    fine, small = VALENCE.judge([[0.1], [0.1]], [condition(), condition(size=14)])
    assert (fine.trusted, fine.why) == (True, "")
    assert not small.trusted
    assert small.why == "face is 14 px; below 24 px errors exceed 0.30 at 90%"


def test_too_few_bits_are_named():
    calibration = replace(VALENCE, errors=(errors(difficulty=BITS, enough={"bits": 0.05}),))
    (verdict,) = calibration.judge([[0.0]], [condition(bits=0.02)])
    assert verdict.why == "recent frames took 0.02 bits per pixel; below 0.05 errors exceed 0.30 at 90%"


def test_where_no_measure_alone_is_to_blame_all_are_named():
    calibration = replace(VALENCE, errors=(errors(enough={"size": 10.0, "sharpness": 5.0}),))
    (verdict,) = calibration.judge([[0.0]], [condition(size=14)])
    assert verdict.why == (
        "face is 14 px, sharpness is 200, recent frames took 0.4 bits per pixel; "
        "under such conditions errors exceed 0.30 at 90%"
    )


def test_without_bits_the_interval_is_that_of_unknown_bits():
    known, unknown = VALENCE.judge([[0.0], [0.0]], [condition(), condition(bits=math.nan)])
    assert (known.high, unknown.high) == ((pytest.approx(0.2),), (pytest.approx(0.3),))


@pytest.mark.parametrize(
    ("measures", "why"),
    [
        ({"size": 4}, "face is 4 px; the calibration covers 8 to 132 px"),
        ({"brightness": 250}, "brightness is 250; the calibration covers 60 to 190"),
        ({"contrast": 3}, "contrast is 3; the calibration covers 20 to 70"),
        ({"sharpness": 5000}, "sharpness is 5e+03; the calibration covers 20 to 900"),
    ],
)
def test_what_the_calibration_does_not_hold_is_not_trusted(measures, why):
    (verdict,) = VALENCE.judge([[0.0]], [condition(**measures)])
    assert (verdict.trusted, verdict.why) == (False, why)


def test_noise_on_a_small_face_does_not_pass_for_detail():
    calibration = replace(VALENCE, sharpest=((8.0, 250.0), (20.0, 400.0), (40.0, 900.0)))
    noisy, sharp = calibration.judge([[0.0], [0.0]], [condition(size=14, sharpness=700), condition(sharpness=700)])
    assert noisy.why == "sharpness is 700; the calibration has 400 at most for a face of 14 px"
    assert sharp.trusted


def test_large_faces_and_many_bits_are_not_unusual():
    assert all(verdict.trusted for verdict in VALENCE.judge([[0], [0]], [condition(size=900), condition(bits=24)]))


def test_every_dimension_must_be_narrow_enough():
    second = errors("arousal", BITS, {"bits": 0.05})
    calibration = replace(VALENCE, errors=(errors(), second))
    assert calibration.outputs == ("valence", "arousal")
    (verdict,) = calibration.judge([[0.5, -0.5]], [condition(bits=0.02)])
    assert verdict.low == (pytest.approx(0.3), pytest.approx(-0.9))
    assert verdict.why == "recent frames took 0.02 bits per pixel; below 0.05 errors of arousal exceed 0.30 at 90%"


def test_a_classifier_gets_the_probability_that_its_class_stays():
    assert CLASSES.outputs == ("agreement",)
    fine, small = CLASSES.judge([[0.1, 0.9], [0.6, 0.4]], [condition(), condition(size=14)])
    assert (fine.low, fine.high, fine.trusted) == ((0.9,), (0.99,), True)
    assert (small.low, small.high) == ((0.4,), (0.7,))
    assert small.why == "face is 14 px; below 24 px the class stays in less than 80% of the frames"


def test_no_faces_have_no_verdicts():
    assert VALENCE.judge(np.empty((0, 1)), []) == []


@pytest.mark.parametrize("estimates", [[[0.1, 0.2]], [0.1], [[0.1], [0.2]]])
def test_estimates_of_another_shape_are_refused(estimates):
    with refused("shape-mismatch", field="estimates"):
        VALENCE.judge(estimates, [condition()])


@pytest.mark.parametrize("calibration", [VALENCE, CLASSES])
def test_a_calibration_is_kept_beside_the_weights(tmp_path, calibration):
    weights = tmp_path / "net.caffemodel"
    weights.write_bytes(b"weights")
    assert Calibration.beside(weights) is None
    own = replace(calibration, made_from=replace(ORIGIN, weights=hashlib.sha256(b"weights").hexdigest()))
    own.save(sidecar(weights))
    assert (tmp_path / "net.calibration.json").is_file()
    assert Calibration.beside(weights) == own
    weights.write_bytes(b"other weights")
    with refused("mismatch", file=tmp_path / "net.calibration.json"):
        Calibration.beside(weights)


@pytest.mark.parametrize(
    "change",
    [{"version": 1}, {"errors": []}, {"ranges": {}}, {"level": "high"}, {"agreement": AGREEMENT.to_json()}],
)
def test_a_damaged_calibration_is_refused(tmp_path, change):
    file = tmp_path / "net.calibration.json"
    file.write_text(json.dumps(VALENCE.to_json() | change))
    with refused("damaged-file", file=file):
        Calibration.load(file)


def test_a_missing_calibration_is_refused(tmp_path):
    with refused("file-missing"):
        Calibration.load(tmp_path / "none.json")


def test_the_summary_leaves_the_forests_out():
    summary = VALENCE.summary()
    assert summary["limits"] == [
        {"name": "valence", "limit": 0.3, "undegraded": 0.2, "constant": 0.8, "enough": {"size": 24.0}}
    ]
    assert summary["made_from"]["recordings"] == ["dev_1", "dev_2"]
