"""The demo of the second paper: what it prints, and that it fills every table."""

import json

import pytest

from lq_emotion.cli.demo import cloud_lines
from lq_emotion.studies.cloud_robotics.demo import CloudDemoSize, run_demo
from lq_emotion.studies.cloud_robotics.paper import Aggregation
from tests.lq_emotion.commands import quiet
from tests.lq_emotion.studies.cloud_robotics.example import EXAMPLE

TINY = CloudDemoSize(
    images=150, actors=4, statements=1, seconds=0.4, side=24, iterations=3,
    changes={
        "stage1_iterations": 3, "stage2_iterations": 3, "sequence_iterations": 3, "memory": 8, "sequence_batch": 4,
        "sizes": [[320, 180], [64, 36]], "rates": [30],
    },
)  # fmt: skip


def test_the_summary_has_a_row_for_each_base_and_each_method():
    text = [line.split() for line in cloud_lines(EXAMPLE)]
    assert ["vggface2", "0.800"] in text
    assert ["imagenet", "0.600"] in text
    assert ["720p30", "360p30", "144p5"] in text
    assert ["mean", "0.250", "0.250", "0.250"] in text
    assert ["mode", "0.500", "0.500", "0.500"] in text
    assert ["LSTM", "1.000", "0.750", "–"] in text  # each on its own version
    assert ["LSTM,", "all", "0.750", "0.750", "0.500"] in text


@pytest.mark.slow
def test_a_tiny_demo_fills_every_table(tmp_path):
    pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    first = run_demo(tmp_path, TINY, say=quiet)
    assert [image.base for image in first.images] == ["vggface2", "imagenet"]
    assert first.synthetic
    names = [version.name for version in first.versions]
    assert names == ["180p30", "36p30"]
    assert all(first.each(method, name) for method in Aggregation for name in names)
    assert json.loads((tmp_path / "study.json").read_text())["synthetic"] is True
