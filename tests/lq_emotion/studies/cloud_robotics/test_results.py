"""The records of the study: written and read back, and refused where they are damaged."""

from dataclasses import replace

from lq_emotion.common.json_files import write_json
from lq_emotion.studies.cloud_robotics.paper import Aggregation
from lq_emotion.studies.cloud_robotics.results import best_on_dev, read_results
from tests.lq_emotion.studies.cloud_robotics.example import EXAMPLE, square
from tests.refusals import refused


def test_results_are_read_as_they_were_written(tmp_path):
    assert read_results(tmp_path) is None
    write_json(EXAMPLE.to_json(), tmp_path / "study.json")
    assert read_results(tmp_path) == EXAMPLE


def test_a_cell_is_found_by_method_version_and_training():
    assert EXAMPLE.cell(Aggregation.MODE, "720p30").trained is None
    assert EXAMPLE.cell(Aggregation.LSTM, "720p30", "all").accuracy == 0.75
    assert EXAMPLE.cell(Aggregation.LSTM, "144p5", "360p30") is None


def test_dev_chooses_the_base_and_test_does_not():
    first, second = EXAMPLE.images
    assert first.scores.accuracy > second.scores.accuracy
    better_on_dev = replace(second, dev_accuracy=0.875)
    assert replace(EXAMPLE, images=(first, better_on_dev)).best_images == better_on_dev
    assert best_on_dev([replace(first, dev_accuracy=None), replace(second, dev_accuracy=0.0)]).base == "imagenet"
    assert best_on_dev([first, second]) == first  # equal on dev


def test_confusions_that_are_not_square_or_empty_are_refused(tmp_path):
    for confusion in (square(7, 3, 1), [[0] * 8] * 8):
        content = EXAMPLE.to_json()
        content["clips"][0]["confusion"] = confusion
        write_json(content, tmp_path / "study.json")
        with refused("damaged-file", file=tmp_path / "study.json"):
            read_results(tmp_path)
