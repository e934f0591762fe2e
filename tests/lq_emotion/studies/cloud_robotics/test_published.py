"""The published numbers, and which reading of Table 1 agrees with itself."""

import pytest

from lq_emotion.studies.cloud_robotics.paper import (
    CLASSES,
    Aggregation,
    Reading,
    clip_accuracy,
    implied_accuracy,
    table_1,
)

MORE_THAN_FIVE_VOTES = {
    "neutral": 936, "happiness": 872, "surprise": 341, "sadness": 295, "anger": 219, "disgust": 7, "fear": 50,
}  # fmt: skip


def test_the_rows_are_those_of_the_text():
    vgg, imagenet = table_1()
    assert dict(zip(CLASSES, vgg.recall, strict=True)) == {
        "anger": 0.86, "disgust": 0.33, "fear": 0.49, "happiness": 0.95, "neutral": 0.65, "sadness": 0.85,
        "surprise": 0.91,
    }  # fmt: skip
    assert vgg.f1 == (0.85, 0.45, 0.58, 0.94, 0.71, 0.86, 0.88)
    assert (vgg.accuracy, imagenet.accuracy) == (0.86, 0.78)
    assert imagenet.recall == (0.63, 0, 0.21, 0.89, 0.44, 0.81, 0.9)


def test_only_with_neutral_and_sadness_exchanged_do_the_recalls_give_the_accuracies():
    printed, exchanged = (
        [implied_accuracy(row, MORE_THAN_FIVE_VOTES) for row in table_1(reading)] for reading in Reading
    )
    assert exchanged == pytest.approx([0.86, 0.78], abs=0.005)
    assert all(abs(a - b) > 0.03 for a, b in zip(printed, (0.86, 0.78), strict=True))


def test_clips_are_scored_by_size_and_rate():
    assert clip_accuracy(Aggregation.LSTM, (1280, 720), 30) == 0.67
    assert clip_accuracy(Aggregation.LSTM, (256, 144), 15) == 0.81
    assert clip_accuracy(Aggregation.MEAN, (640, 360), 5) == 0.28
    assert clip_accuracy(Aggregation.MODE, (640, 360), 5) is None
    assert clip_accuracy(Aggregation.MEAN, (480, 360), 5) is None
