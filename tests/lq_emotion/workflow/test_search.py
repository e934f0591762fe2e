"""The search for parameters: its space, its trials as stages, the optimum of functions that are known, and its picture."""

import json
import math
import signal
import subprocess
import sys
import textwrap

import cv2
import pytest

from lq_emotion.common.json_files import read_record
from lq_emotion.workflow.search import FIRST, Parameter, Trial, draw_course, proposal, search_stages
from lq_emotion.workflow.stages import Ledger, perform
from tests.lq_emotion.processes import ENVIRONMENT, ROOT
from tests.refusals import refused

RATE = Parameter("rate", 1e-5, 1.0, log=True)
DECAY = Parameter("decay", 1e-6, 1e-2, log=True)


def bowl(parameters, folder, _say):
    assert folder.is_dir()
    return (math.log10(parameters["rate"]) + 2.5) ** 2 + (math.log10(parameters["decay"]) + 4) ** 2 / 2


def branin(x, y):
    return (
        (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
        + 10
    )


def run(folder, space, trials, objective=bowl, **settings):
    """Run a search whose trials are all even over the space; return the names of the trials that ran."""
    stages = search_stages("search", space, folder, objective, settings, trials=trials, first=trials)
    return perform(stages, Ledger(folder / "ledger.json"), say=lambda _: None)


def test_a_scale_is_logarithmic_or_whole():
    assert RATE.value(0.5) == pytest.approx(10**-2.5)
    assert RATE.place(10**-2.5) == pytest.approx(0.5)
    assert (RATE.value(0.0), RATE.value(1.0)) == (1e-5, 1.0)
    assert Parameter("units", 64, 1024, log=True, whole=True).value(0.5) == 256
    assert Parameter("x", -5, 10).value(0.2) == -2


@pytest.mark.parametrize(
    ("low", "high", "options"), [(1, 1, {}), (0, 1, {"log": True}), (0.5, 2, {"whole": True}), (0, math.inf, {})]
)
def test_limits_that_are_no_interval_are_refused(low, high, options):
    with refused("out-of-range", field="x", value=(low, high)):
        Parameter("x", low, high, **options)


def test_the_first_trials_cover_the_space_evenly():
    space = (Parameter("x", 0, 1), Parameter("y", 0, 1))
    trials = [proposal(space, [], number, first=8, seed=3) for number in range(8)]
    for name in ("x", "y"):
        assert sorted(int(trial[name] * 8) for trial in trials) == list(range(8))
    assert trials != [proposal(space, [], number, first=8, seed=4) for number in range(8)]


def test_trials_are_stages_that_run_once(tmp_path):
    space = (RATE, DECAY)
    assert run(tmp_path, space, 4) == ["search trial 1", "search trial 2", "search trial 3", "search trial 4"]
    assert run(tmp_path, space, 4) == []
    trials = [read_record(tmp_path / f"trial_{number:02}.json", Trial) for number in range(4)]
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    for trial in trials:
        assert trial.objective == bowl(trial.parameters, tmp_path, print)
    assert run(tmp_path, space, 4, images="others") != []


def test_a_trial_without_a_finite_objective_fails(tmp_path):
    with refused("not-finite", field="trial_00"):
        run(tmp_path, (RATE,), 1, lambda parameters, folder, _say: math.nan)
    assert not (tmp_path / "trial_00.json").exists()


def test_a_proposal_depends_on_the_earlier_trials_alone():
    pytest.importorskip("bayes_opt")
    earlier = [Trial(n, {"rate": rate}, (math.log10(rate) + 2.5) ** 2) for n, rate in enumerate((1e-5, 1e-3, 1e-1))]
    first, again = (proposal((RATE,), earlier, 3, first=3, seed=0) for _ in range(2))
    assert first == again
    assert 1e-4 < first["rate"] < 1e-1


def smallest(space, function, trials, seed=0):
    """Return the smallest objective of a search."""
    course = []
    for number in range(trials):
        parameters = proposal(space, course, number, first=FIRST, seed=seed)
        course.append(Trial(number, parameters, function(**parameters)))
    return min(trial.objective for trial in course)


def test_the_minimum_of_a_function_with_two_valleys_is_found():
    """Forrester's, whose minimum is at 0.757."""
    pytest.importorskip("bayes_opt")

    def function(x):
        return (6 * x - 2) ** 2 * math.sin(12 * x - 4)

    assert smallest((Parameter("x", 0, 1),), function, 12) == pytest.approx(-6.0207, abs=0.01)


def test_equal_objectives_and_whole_numbers_do_not_stop_a_search():
    pytest.importorskip("bayes_opt")
    space = (Parameter("units", 1, 3, whole=True), RATE)
    assert smallest(space, lambda units, rate: 0.25, 8) == 0.25


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_optima_of_known_functions_are_found_within_25_trials(seed):
    pytest.importorskip("bayes_opt")
    plane = (Parameter("x", -5, 10), Parameter("y", 0, 15))
    assert smallest(plane, branin, 25, seed) == pytest.approx(0.397887, abs=0.05)
    valley = smallest((RATE, DECAY), lambda **parameters: bowl(parameters, ROOT, print), 25, seed)
    assert valley == pytest.approx(0, abs=0.001)


KILLED = """
    import json, math, os, signal, sys
    from pathlib import Path
    from lq_emotion.workflow.search import Parameter, search_stages
    from lq_emotion.workflow.stages import Ledger, perform
    folder, deadly = Path(sys.argv[1]), int(sys.argv[2])

    def objective(parameters, place, _say):
        if place.name == f"trial_{deadly:02}":
            os.kill(os.getpid(), signal.SIGKILL)
        return (math.log10(parameters["rate"]) + 2.5) ** 2

    space = (Parameter("rate", 1e-5, 1.0, log=True),)
    perform(search_stages("search", space, folder, objective, {}, trials=5, first=3), Ledger(folder / "ledger.json"))
"""


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_trials(tmp_path):
    pytest.importorskip("bayes_opt")

    def course(name, *deaths):
        for deadly in (*deaths, -1):
            command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / name), str(deadly)]
            code = subprocess.run(command, check=False, env=ENVIRONMENT, stdout=subprocess.DEVNULL).returncode
            assert code == (0 if deadly == -1 else -signal.SIGKILL)
        return [json.loads((tmp_path / name / f"trial_{number:02}.json").read_text()) for number in range(5)]

    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert course("killed", 1, 3, 4) == course("whole")


DRAWN = (Parameter("rate", 1e-4, 1.0, log=True), Parameter("units", 2, 9, whole=True))


def trials(*objectives):
    return [
        Trial(number, {"rate": 10.0**-number, "units": 2.0 + number}, objective)
        for number, objective in enumerate(objectives)
    ]


def test_best_trial_and_best_so_far_are_drawn(tmp_path):
    draw_course(trials(0.5, 0.25, 0.375, 0.125), DRAWN, tmp_path / "course.png", first=2, label="error rate")
    pixels = cv2.imread(str(tmp_path / "course.png")).reshape(-1, 3)[:, ::-1].tolist()
    assert [0xC7, 0x77, 0x00] in pixels
    assert [0x1F, 0x5F, 0xA8] in pixels


def test_a_course_without_trials_is_refused(tmp_path):
    with refused("empty", field="course"):
        draw_course([], DRAWN, tmp_path / "course.png")
    assert not (tmp_path / "course.png").exists()


def test_a_single_trial_and_nine_parameters_are_drawn(tmp_path):
    space = [Parameter(f"p{number}", 0, 1) for number in range(9)]
    trial = Trial(0, {parameter.name: 0.5 for parameter in space}, 0.25)
    draw_course([trial], space, tmp_path / "course.png", title="base")
    assert (tmp_path / "course.png").is_file()
