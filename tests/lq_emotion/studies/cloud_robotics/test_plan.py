"""The stages of the study of the second paper, and the plans that it refuses."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from lq_emotion.crops.versions import Version
from lq_emotion.studies.cloud_robotics.paper import OPEN_QUESTIONS
from lq_emotion.studies.cloud_robotics.plan import PRESETS, Choices, CloudPlan, Part, check
from tests.refusals import refused

PLAN = CloudPlan(
    out=Path("root"), ferplus=Path("ferplus"), ravdess=Path("ravdess"), weights={"vggface2": "a.caffemodel"}
)


def test_there_are_nine_versions_and_an_lstm_for_each_and_for_all():
    names = [f"{height}p{rate}" for height in (720, 360, 144) for rate in (30, 15, 5)]
    assert [version.name for version in PLAN.versions] == names
    assert {name: len(versions) for name, versions in PLAN.regimes.items()} == {**dict.fromkeys(names, 1), "all": 9}
    assert [version.name for version in replace(PLAN, qps=(30, 40)).coded][:2] == [
        "720p30_x264_qp30",
        "720p30_x264_qp40",
    ]


def test_numbers_of_the_preset_can_be_changed():
    plan = replace(PLAN, changes={"batch": 8, "sizes": [[480, 360]], "dropout": None})
    check(plan)
    assert (plan.recipe.batch, plan.recipe.dropout, plan.recipe.memory) == (8, None, 1024)
    assert [version.width for version in plan.versions] == [480] * 3


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"weights": {}}, "out-of-range", "--weights"),
        ({"weights": {"a/b": "x"}}, "invalid", "--weights"),
        ({"weights": {"best": "x"}}, "invalid", "--weights"),
        ({"preset": "large"}, "out-of-range", "--preset"),
        ({"qps": ()}, "out-of-range", "--qps"),
        ({"ravdess": None}, "field-missing", "--ravdess"),
        ({"choices": {"folds": 4, "fold": 4}}, "out-of-range", "--fold"),
        ({"choices": {"grow": float("nan")}}, "out-of-range", "--grow"),
        ({"changes": {"bacth": 8}}, "name-unknown", "--set"),
        ({"changes": {"batch": "8"}}, "wrong-type", "--set"),
        ({"changes": {"batch": 0}}, "out-of-range", "--set"),
    ],
)
def test_what_cannot_be_run_is_refused(changes, code, field):
    def checked():
        choices = {"choices": Choices(**changes["choices"])} if "choices" in changes else {}
        check(replace(PLAN, **changes | choices))

    with refused(code, field=field):
        checked()


def test_images_alone_need_no_clips():
    check(replace(PLAN, ravdess=None, parts=(Part.IMAGES,)))


def test_every_open_question_is_chosen_by_a_setting_or_answered():
    names = {field.name for field in fields(Choices)}
    assert sorted(name for question in OPEN_QUESTIONS for name in question.switches) == sorted(names)
    assert all(question.switches or question.answer for question in OPEN_QUESTIONS)
    assert len({question.subject for question in OPEN_QUESTIONS}) == len(OPEN_QUESTIONS)


@pytest.mark.parametrize("name", ["paper", "small", "demo"])
def test_every_preset_has_nine_versions_of_a_clip(name):
    preset = PRESETS[name]
    assert len({Version(*size, rate).name for size in preset.sizes for rate in preset.rates}) == 9
