"""The picture of a search."""

import cv2

from lq_emotion.workflow.search import Parameter, Trial
from lq_emotion.workflow.search_plot import draw_course
from tests.refusals import refused

SPACE = (Parameter("rate", 1e-4, 1.0, log=True), Parameter("units", 2, 9, whole=True))


def trials(*objectives):
    return [
        Trial(number, {"rate": 10.0**-number, "units": 2.0 + number}, objective)
        for number, objective in enumerate(objectives)
    ]


def test_best_trial_and_best_so_far_are_drawn(tmp_path):
    draw_course(trials(0.5, 0.25, 0.375, 0.125), SPACE, tmp_path / "course.png", first=2, label="error rate")
    pixels = cv2.imread(str(tmp_path / "course.png")).reshape(-1, 3)[:, ::-1].tolist()
    assert [0xC7, 0x77, 0x00] in pixels
    assert [0x1F, 0x5F, 0xA8] in pixels


def test_a_course_without_trials_is_refused(tmp_path):
    with refused("empty", field="course"):
        draw_course([], SPACE, tmp_path / "course.png")
    assert not (tmp_path / "course.png").exists()


def test_a_single_trial_and_nine_parameters_are_drawn(tmp_path):
    space = [Parameter(f"p{number}", 0, 1) for number in range(9)]
    trial = Trial(0, {parameter.name: 0.5 for parameter in space}, 0.25)
    draw_course([trial], space, tmp_path / "course.png", title="base")
    assert (tmp_path / "course.png").is_file()
