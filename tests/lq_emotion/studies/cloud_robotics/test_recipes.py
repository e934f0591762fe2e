"""The presets of the second paper's study."""

import pytest

from lq_emotion.crops.versions import Version
from lq_emotion.studies.cloud_robotics.recipes import PRESETS


@pytest.mark.parametrize("name", ["paper", "small", "demo"])
def test_every_preset_has_nine_versions_of_a_clip(name):
    preset = PRESETS[name]
    assert len({Version(*size, rate).name for size in preset.sizes for rate in preset.rates}) == 9


def test_the_paper_s_preset_has_what_the_text_gives():
    paper = PRESETS["paper"]
    assert paper.memory == 1024
    assert paper.sizes == ((1280, 720), (640, 360), (256, 144))
    assert paper.rates == (30, 15, 5)
