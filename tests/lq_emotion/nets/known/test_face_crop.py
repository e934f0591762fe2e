"""Cutting a face out of a frame."""

import numpy as np
import pytest

from lq_emotion.faces.face import Face
from lq_emotion.nets.known.face_crop import FaceCrop
from tests.refusals import refused

FRAME = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)


@pytest.mark.parametrize(
    ("rule", "box", "expected"),
    [
        pytest.param({"square": False}, (2, 1, 4, 3), FRAME[1:4, 2:6], id="a box as it is"),
        pytest.param({}, (2, 1, 4, 6), FRAME[1:7, 1:7], id="the shorter side grows around the same centre"),
        pytest.param({"margin": 0.1}, (10, 20, 20, 20), FRAME[18:42, 8:32], id="the margin is a part of the side"),
        pytest.param(
            {"square": False}, (-2, 48, 4, 4), FRAME[[48, 49, 49, 49]][:, [0, 0, 0, 1]], id="edges are repeated outside"
        ),
        pytest.param(
            {"square": False, "transposed": True}, (2, 1, 4, 3), FRAME[1:4, 2:6].transpose(1, 0, 2), id="transposed"
        ),
        pytest.param({}, (2, 2, 0, 0), FRAME[2:3, 2:3], id="at least one pixel"),
    ],
)
def test_a_box_is_cut_by_the_rule(rule, box, expected):
    np.testing.assert_array_equal(FaceCrop(**rule).cut(FRAME, Face(*box, 1.0)), expected)


@pytest.mark.parametrize(("left", "code"), [(40, "out-of-range"), (float("nan"), "not-finite")])
def test_a_box_outside_the_frame_or_not_finite_is_refused(left, code):
    with refused(code, field="face"):
        FaceCrop().cut(FRAME, Face(left, 1, 4, 4, 1.0))


@pytest.mark.parametrize("margin", [float("nan"), 1e308, -0.5])
def test_a_margin_that_cuts_nothing_or_everything_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        FaceCrop(margin=margin)
