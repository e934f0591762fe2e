"""Answers on degraded recordings: conditions, boxes and labels that belong together; done once."""

import numpy as np
import pytest

from lq_emotion.faces.face import Face
from lq_emotion.nets.known.outputs import Labels
from lq_emotion.quality.measures import MEASURES
from lq_emotion.quality.samples import FaceTrack, Source, answer, collect, degraded_answers, join
from lq_emotion.quality.settings import Grid
from tests.lq_emotion.predict.instruments import DIMENSIONS, made_model

pytest.importorskip("av")


@pytest.fixture
def model(tmp_path):
    """A net that answers with the mean of the face, 0 to 1."""
    return made_model(tmp_path, DIMENSIONS, weight=1.0)


def clip(count=4, **changes):
    """A bright square, the face, that becomes brighter; the second frame has no face."""
    frames = np.full((count, 64, 96, 3), 30, np.uint8)
    for number in range(count):
        frames[number, 16:48, 24:56] = 100 + 20 * number
    boxes = np.tile([24.0, 16.0, 32.0, 32.0], (count, 1))
    boxes[1] = np.nan
    return FaceTrack(frames, boxes, **{"labels": np.arange(count, dtype=float)[:, None], **changes})


def test_a_net_answers_for_the_face_not_for_the_frame(model):
    images = list(clip().frames)
    answers = answer(model, images, [Face(24, 16, 32, 32, 1.0)] * 4)
    assert answers[:, 0] == pytest.approx(np.array([100, 120, 140, 160]) / 255, abs=1e-5)


def test_samples_hold_every_scale_and_qp_with_boxes_that_shrink_too(model):
    samples = degraded_answers(model, clip(), Grid(scales=(1, 4), qps=(20, 40)))
    assert samples.scale.tolist() == [1] * 6 + [4] * 6
    assert samples.qp.tolist() == ([20] * 3 + [40] * 3) * 2
    assert samples.values[:, MEASURES.index("size")].tolist() == [32] * 6 + [8] * 6
    assert samples.truth[:3, 0].tolist() == [0, 2, 3]
    assert samples.answers[:3, 0] == pytest.approx(np.array([100, 140, 160]) / 255, abs=0.02)
    assert samples.answers[6:9, 0] == pytest.approx(np.array([100, 140, 160]) / 255, abs=0.04)
    bits = samples.values[:, MEASURES.index("bits")]
    assert bits[0] > bits[3] > 0


def test_frames_without_a_label_are_left_out(model):
    labels = np.array([[0.0], [1.0], [np.nan], [3.0]])
    assert degraded_answers(model, clip(labels=labels), Grid(scales=(1,), qps=(20,))).truth[:, 0].tolist() == [0, 3]


def test_a_clip_without_a_face_has_no_samples(model):
    nowhere = FaceTrack(clip().frames, np.full((4, 4), np.nan), clip().labels)
    assert len(degraded_answers(model, nowhere, Grid(scales=(1,), qps=(20,)))) == 0


def test_without_labels_the_truth_is_the_answer_on_the_undegraded_face(tmp_path):
    model = made_model(tmp_path, Labels(("bright", "dark")), weight=(1.0, 0.0))
    samples = degraded_answers(model, clip(labels=None), Grid(scales=(4,), qps=(44,)))
    means = np.array([100, 140, 160]) / 255
    assert samples.truth[:, 0] == pytest.approx(1 / (1 + np.exp(-means)), abs=1e-4)
    assert samples.answers.shape == (3, 2)


def test_joined_samples_are_numbered_by_recording(model):
    part = degraded_answers(model, clip(), Grid(scales=(1,), qps=(20,)))
    assert join([part, part]).recording.tolist() == [0, 0, 0, 1, 1, 1]


def test_what_is_stored_is_not_computed_again_until_the_recording_changes(model, tmp_path):
    reads = []

    def read():
        reads.append(1)
        return clip()

    def answers(identity):
        sources = [Source("dev_1", identity, read)]
        return list(collect(model, sources, Grid(scales=(1,), qps=(20,)), tmp_path / "answers"))

    ((name, first),), ((_, second),) = answers("a"), answers("a")
    assert (name, len(reads)) == ("dev_1", 1)
    for field in vars(first):
        assert np.array_equal(getattr(first, field), getattr(second, field)), field
    answers("b")
    assert len(reads) == 2
