"""The published numbers, and which reading of Table 1 agrees with itself."""

import pytest

from lq_emotion.studies.cloud_robotics.paper import Aggregation, Reading, clip_accuracy, implied_accuracy, table_1

MORE_THAN_FIVE_VOTES = {
    "neutral": 936, "happiness": 872, "surprise": 341, "sadness": 295, "anger": 219, "disgust": 7, "fear": 50,
}  # fmt: skip


def test_only_with_neutral_and_sadness_exchanged_do_the_recalls_give_the_accuracies():
    printed, exchanged = (
        [implied_accuracy(row, MORE_THAN_FIVE_VOTES) for row in table_1(reading)] for reading in Reading
    )
    assert exchanged == pytest.approx([0.86, 0.78], abs=0.005)
    assert [row.accuracy for row in table_1()] == [0.86, 0.78]
    assert all(abs(a - b) > 0.03 for a, b in zip(printed, (0.86, 0.78), strict=True))


def test_clips_are_scored_by_size_and_rate():
    assert clip_accuracy(Aggregation.LSTM, (1280, 720), 30) == 0.67
    assert clip_accuracy(Aggregation.LSTM, (256, 144), 15) == 0.81
    assert clip_accuracy(Aggregation.MEAN, (640, 360), 5) == 0.28
    assert clip_accuracy(Aggregation.MODE, (640, 360), 5) is None
    assert clip_accuracy(Aggregation.MEAN, (480, 360), 5) is None
