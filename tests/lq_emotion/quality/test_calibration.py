"""A calibration: intervals, what is trusted and why not, and the file next to the weights."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lq_emotion.common.json_files import write_json
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


ALL_MEASURES = "face is 14 px, sharpness is 200, recent frames took 0.4 bits per pixel; under such conditions"
NOISE = "sharpness is 700; the calibration has 400 at most for a face of 14 px"


@pytest.mark.parametrize(
    ("changes", "measures", "why"),
    [
        pytest.param({}, {}, "", id="trusted"),
        pytest.param({}, {"size": 900}, "", id="large face"),
        pytest.param({}, {"bits": 24}, "", id="many bits"),
        pytest.param({}, {"size": 14}, "face is 14 px; below 24 px errors exceed 0.30 at 90%", id="small face"),
        pytest.param(
            {"errors": (errors(difficulty=BITS, enough={"bits": 0.05}),)}, {"bits": 0.02},
            "recent frames took 0.02 bits per pixel; below 0.05 errors exceed 0.30 at 90%", id="too few bits",
        ),
        pytest.param(
            {"errors": (errors(enough={"size": 10.0, "sharpness": 5.0}),)}, {"size": 14},
            f"{ALL_MEASURES} errors exceed 0.30 at 90%", id="no measure alone is to blame",
        ),
        pytest.param({}, {"size": 4}, "face is 4 px; the calibration covers 8 to 132 px", id="size not covered"),
        ({}, {"brightness": 250}, "brightness is 250; the calibration covers 60 to 190"),
        ({}, {"contrast": 3}, "contrast is 3; the calibration covers 20 to 70"),
        ({}, {"sharpness": 5000}, "sharpness is 5e+03; the calibration covers 20 to 900"),
        pytest.param(
            {"sharpest": ((8.0, 250.0), (20.0, 400.0), (40.0, 900.0))}, {"size": 14, "sharpness": 700}, NOISE,
            id="noise on a small face does not pass for detail",
        ),
        pytest.param(
            {"sharpest": ((8.0, 250.0), (20.0, 400.0), (40.0, 900.0))}, {"sharpness": 700}, "", id="sharp large face"
        ),
    ],
)  # fmt: skip
def test_the_reason_not_to_trust_has_measures_and_numbers(changes, measures, why):
    (verdict,) = replace(VALENCE, **changes).judge([[0.0]], [condition(**measures)])
    assert (verdict.trusted, verdict.why) == (not why, why)


def test_without_bits_the_interval_is_that_of_unknown_bits():
    known, unknown = VALENCE.judge([[0.0], [0.0]], [condition(), condition(bits=math.nan)])
    assert (known.high, unknown.high) == ((pytest.approx(0.2),), (pytest.approx(0.3),))


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
    assert Calibration.of_weights(weights) is None
    own = replace(calibration, made_from=replace(ORIGIN, weights=hashlib.sha256(b"weights").hexdigest()))
    write_json(own.to_json(), sidecar(weights))
    assert (tmp_path / "net.calibration.json").is_file()
    assert Calibration.of_weights(weights) == own
    weights.write_bytes(b"other weights")
    with refused("mismatch", file=tmp_path / "net.calibration.json"):
        Calibration.of_weights(weights)


@pytest.mark.parametrize(
    "change", [{"version": 1}, {"errors": []}, {"ranges": {}}, {"level": "high"}, {"agreement": AGREEMENT.to_json()}]
)
def test_a_missing_or_damaged_calibration_is_refused(tmp_path, change):
    file = tmp_path / "net.calibration.json"
    with refused("file-missing", file=file):
        Calibration.load(file)
    file.write_text(json.dumps(VALENCE.to_json() | change))
    with refused("damaged-file", file=file):
        Calibration.load(file)


def test_the_summary_leaves_the_forests_out():
    summary = VALENCE.summary()
    assert summary["limits"] == [
        {"name": "valence", "limit": 0.3, "undegraded": 0.2, "constant": 0.8, "enough": {"size": 24.0}}
    ]
    assert summary["made_from"]["recordings"] == ["dev_1", "dev_2"]
