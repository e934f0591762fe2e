"""eval_video and run_eval: what the net is shown, the script's statistics, and unusable recordings."""

import json
import math

import numpy as np
import pytest

from matlab_ports import PortError, eval_video, run_eval
from matlab_ports.matfile import savemat
from matlab_ports.run_eval import statistics


class Corner:
    """Answers with weighted pixels of the blob, so that an axis out of place shows."""

    def __init__(self):
        self.seen = []

    def forward(self, batch):
        assert batch.dtype == np.float32
        self.seen.append(batch.shape)
        weights = np.arange(1, batch[0].size + 1, dtype=np.float32).reshape(batch[0].shape)
        values = (batch * weights).sum(axis=(1, 2, 3), keepdims=True)
        return {"fc5": values[..., 0, 0], "fc4": np.stack([batch[:, 0, 0, 0], batch[:, 0, -1, 0]], axis=1)}


@pytest.fixture
def video():
    return np.random.default_rng(0).random((3, 4, 7))


def test_the_net_sees_every_frame_transposed_in_single(video):
    net = Corner()
    found = eval_video(video, net)
    assert found.feature is None
    for n in range(7):
        frame = np.float32(video[:, :, n])
        memory = frame.ravel(order="F")  # what matcaffe hands over
        expected = np.sum(memory * np.arange(1, 13, dtype=np.float32), dtype=np.float32)
        assert found.results[n] == pytest.approx(expected, rel=1e-6)
    assert net.seen == [(7, 1, 4, 3)]


def test_features_are_fc4_in_columns(video):
    found = eval_video(video, Corner(), save_feature=True, batch=3)
    assert found.feature.shape == (2, 7)
    assert np.array_equal(found.feature[0], np.float32(video[0, 0]))
    assert np.array_equal(found.feature[1], np.float32(video[0, -1]))


def test_batches_do_not_change_the_numbers(video):
    net, done = Corner(), []
    one = eval_video(video, Corner(), batch=1).results
    assert np.array_equal(eval_video(video, net, batch=3, seen=done.append).results, one)
    assert [shape[0] for shape in net.seen] == done == [3, 3, 1]


def test_a_single_frame_is_a_video_of_one(video):
    assert eval_video(video[:, :, 0], Corner()).results.shape == (1,)


def test_what_is_no_video_or_no_net_is_refused(video):
    class Silent:
        def forward(self, batch):
            return {"fc5": np.zeros((2, 1))}

    with pytest.raises(PortError, match="3 x 4 x 7 x 1 are no frames"):
        eval_video(video[..., None], Corner())
    with pytest.raises(PortError, match=r"shape \(2, 1\) for 7 frames"):
        eval_video(video, Silent())
    with pytest.raises(PortError, match="batch"):
        eval_video(video, Corner(), batch=0)


def test_statistics_are_the_scripts_to_the_last_digit(golden):
    record = json.loads((golden / "matlab" / "run_eval_metrics.json").read_text())
    found = statistics(record["results"], record["valence"])
    assert found == (record["RMSE"], record["CC"], record["CCC"])


def test_the_mixture_of_n_and_n_less_one_is_kept():
    found = statistics([2.5, 0, 2, 8], [3, -0.5, 2, 7])
    assert round(found.CC, 6) == 0.738652
    assert round(found.CCC, 6) == 0.733301


def test_a_constant_prediction_has_neither_cc_nor_ccc():
    found = statistics([0.5, 0.5, 0.5, 0.5], [3, -0.5, 2, 7])
    assert math.isnan(found.CC)
    assert math.isnan(found.CCC)


# Recordings.


def write(folder, name, frames, version="-v6", **changed):
    rng = np.random.default_rng(frames)
    made = {
        "video": rng.random((3, 4, frames)),
        "valence": rng.random((1, frames)),
        "video_time": np.arange(frames)[None] * 0.04,
        **changed,
    }
    folder.mkdir(exist_ok=True)
    savemat(folder / f"{name}.mat", made, version)
    return made


@pytest.mark.parametrize("version", ["-v6", "-v7", "-v7.3"])
def test_recordings_are_scored_one_by_one_and_together(tmp_path, version):
    names = ("dev_1", "dev_2")
    made = [write(tmp_path, name, frames, version) for name, frames in zip(names, (9, 5), strict=True)]
    done = []
    found = run_eval(
        Corner(), tmp_path, file_name=names, save_feature=True, batch=4, evaluated=lambda name, _: done.append(name)
    )
    assert done == list(names)
    assert found.file_name == names
    results = [eval_video(one["video"], Corner()).results for one in made]
    for number, one in enumerate(made):
        assert np.array_equal(found.results[number], results[number])
        assert np.array_equal(found.ground_truth[number], one["valence"][0])
        assert np.array_equal(found.video_time[number], one["video_time"][0])
        expected = statistics(results[number], one["valence"])
        assert (found.RMSE[number], found.CC[number], found.CCC[number]) == expected
    together = statistics(np.concatenate(results), np.concatenate([one["valence"][0] for one in made]))
    assert (found.total_RMSE, found.total_CC, found.total_CCC) == together
    assert [feature.shape for feature in found.feature] == [(2, 9), (2, 5)]


def test_the_scripts_recordings_are_the_default(tmp_path):
    with pytest.raises(PortError, match=r"no dev_1\.mat, dev_2\.mat, .*dev_9\.mat"):
        run_eval(Corner(), tmp_path)


def test_missing_recordings_are_listed_together_with_those_there(tmp_path):
    write(tmp_path, "dev_1", 4)
    net = Corner()
    with pytest.raises(PortError, match=r"no dev_2\.mat, dev_3\.mat; there are dev_1"):
        run_eval(net, tmp_path, file_name=("dev_1", "dev_2", "dev_3"))
    assert not net.seen


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"valence": np.array([[1, 2, np.nan, 4]])}, "dev_2.mat: valence of frame 3 is nan"),
        ({"valence": np.ones((1, 3))}, "dev_2.mat: 3 values of valence, 4 of video_time"),
        ({"video_time": np.array([[0, 1, np.inf, 4]])}, "video_time of frame 3 is inf"),
    ],
)
def test_labels_are_checked_before_the_first_prediction(tmp_path, changed, problem):
    write(tmp_path, "dev_1", 4)
    write(tmp_path, "dev_2", 4, **changed)
    net = Corner()
    with pytest.raises(PortError, match=problem):
        run_eval(net, tmp_path, file_name=("dev_1", "dev_2"))
    assert not net.seen


def test_frames_without_labels_are_refused(tmp_path):
    write(tmp_path, "dev_1", 4, video=np.zeros((3, 4, 5)))
    with pytest.raises(PortError, match="4 values of valence for 5 frames"):
        run_eval(Corner(), tmp_path, file_name=("dev_1",))


def test_a_damaged_or_empty_recording_is_one_error(tmp_path):
    (tmp_path / "dev_1.mat").write_bytes(b"")
    with pytest.raises(PortError, match=r"dev_1\.mat: is empty"):
        run_eval(Corner(), tmp_path, file_name=("dev_1",))
    with pytest.raises(PortError, match="no recordings are named"):
        run_eval(Corner(), tmp_path, file_name=())
