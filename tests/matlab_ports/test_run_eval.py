"""`eval_video` and `run_eval`: the net's inputs, the script's statistics, and recordings that cannot be used."""

import json
import math

import numpy as np
import pytest

from matlab_ports import eval_video, run_eval
from matlab_ports.matfile import savemat
from matlab_ports.run_eval import statistics
from tests.refusals import refused


class Corner:
    """A net that sums weighted pixels of the blob, so that swapped axes show."""

    def __init__(self):
        self.shapes = []

    def forward(self, batch):
        assert batch.dtype == np.float32
        self.shapes.append(batch.shape)
        weights = np.arange(1, batch[0].size + 1, dtype=np.float32).reshape(batch[0].shape)
        values = (batch * weights).sum(axis=(1, 2, 3), keepdims=True)
        return {"fc5": values[..., 0, 0], "fc4": np.stack([batch[:, 0, 0, 0], batch[:, 0, -1, 0]], axis=1)}


@pytest.fixture
def video():
    return np.random.default_rng(0).random((3, 4, 7))


def test_the_net_sees_every_frame_transposed_in_single(video):
    net = Corner()
    output = eval_video(video, net)
    assert output.feature is None
    for n in range(7):
        frame = np.float32(video[:, :, n])
        memory = frame.ravel(order="F")  # what matcaffe hands over
        expected = np.sum(memory * np.arange(1, 13, dtype=np.float32), dtype=np.float32)
        assert output.results[n] == pytest.approx(expected, rel=1e-6)
    assert net.shapes == [(7, 1, 4, 3)]


def test_features_are_fc4_in_columns(video):
    output = eval_video(video, Corner(), save_feature=True, batch=3)
    assert output.feature.shape == (2, 7)
    assert np.array_equal(output.feature[0], np.float32(video[0, 0]))
    assert np.array_equal(output.feature[1], np.float32(video[0, -1]))


def test_batches_do_not_change_the_predictions(video):
    net, done = Corner(), []
    frame_by_frame = eval_video(video, Corner(), batch=1).results
    assert np.array_equal(eval_video(video, net, batch=3, progress=done.append).results, frame_by_frame)
    assert [shape[0] for shape in net.shapes] == done == [3, 3, 1]


def test_a_single_frame_is_a_video_of_length_one(video):
    assert eval_video(video[:, :, 0], Corner()).results.shape == (1,)


def test_arrays_that_are_not_frames_and_outputs_of_the_wrong_shape_are_refused(video):
    class Constant:
        def forward(self, batch):
            return {"fc5": np.zeros((2, 1))}

    with refused("shape-mismatch", field="data"):
        eval_video(video[..., None], Corner())
    with refused("shape-mismatch", field="output"):
        eval_video(video, Constant())
    with refused("field-missing", field="fc4"):
        eval_video(video[:, :, :2], Constant(), save_feature=True)
    with refused("out-of-range", field="batch", value=0):
        eval_video(video, Corner(), batch=0)


def test_statistics_equal_the_scripts_to_the_last_digit(golden):
    record = json.loads((golden / "matlab" / "run_eval_metrics.json").read_text())
    output = statistics(record["results"], record["valence"])
    assert output == (record["RMSE"], record["CC"], record["CCC"])


def test_statistics_mix_n_and_n_minus_1_as_the_script_does():
    output = statistics([2.5, 0, 2, 8], [3, -0.5, 2, 7])
    assert round(output.CC, 6) == 0.738652
    assert round(output.CCC, 6) == 0.733301


def test_cc_and_ccc_of_a_constant_prediction_are_nan():
    output = statistics([0.5, 0.5, 0.5, 0.5], [3, -0.5, 2, 7])
    assert math.isnan(output.CC)
    assert math.isnan(output.CCC)


def write(folder, name, frames, version="-v6", **changed):
    rng = np.random.default_rng(frames)
    variables = {
        "video": rng.random((3, 4, frames)),
        "valence": rng.random((1, frames)),
        "video_time": np.arange(frames)[None] * 0.04,
        **changed,
    }
    folder.mkdir(exist_ok=True)
    savemat(folder / f"{name}.mat", variables, version)
    return variables


@pytest.mark.parametrize("version", ["-v6", "-v7", "-v7.3"])
def test_recordings_are_scored_separately_and_together(tmp_path, version):
    names = ("dev_1", "dev_2")
    recordings = [write(tmp_path, name, frames, version) for name, frames in zip(names, (9, 5), strict=True)]
    done = []
    output = run_eval(
        Corner(), tmp_path, file_name=names, save_feature=True, batch=4, progress=lambda name, _: done.append(name)
    )
    assert done == list(names)
    assert output.file_name == names
    results = [eval_video(recording["video"], Corner()).results for recording in recordings]
    for number, recording in enumerate(recordings):
        assert np.array_equal(output.results[number], results[number])
        assert np.array_equal(output.ground_truth[number], recording["valence"][0])
        assert np.array_equal(output.video_time[number], recording["video_time"][0])
        expected = statistics(results[number], recording["valence"])
        assert (output.RMSE[number], output.CC[number], output.CCC[number]) == expected
    valence = np.concatenate([recording["valence"][0] for recording in recordings])
    total = statistics(np.concatenate(results), valence)
    assert (output.total_RMSE, output.total_CC, output.total_CCC) == total
    assert [feature.shape for feature in output.feature] == [(2, 9), (2, 5)]


def test_the_scripts_recordings_are_the_default(tmp_path):
    with refused("file-missing", file=tmp_path) as caught:
        run_eval(Corner(), tmp_path)
    assert [f"dev_{number}.mat" in caught.value.problem for number in range(1, 10)] == [True] * 9


def test_missing_recordings_are_listed_and_available_ones_hinted(tmp_path):
    write(tmp_path, "dev_1", 4)
    net = Corner()
    with refused("file-missing", file=tmp_path, hint="dev_1") as caught:
        run_eval(net, tmp_path, file_name=("dev_1", "dev_2", "dev_3"))
    assert "dev_2.mat, dev_3.mat" in caught.value.problem
    assert not net.shapes


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"valence": np.array([[1, 2, np.nan, 4]])}, "not-finite", "valence"),
        ({"valence": np.ones((1, 3))}, "wrong-count", "valence"),
        ({"video_time": np.array([[0, 1, np.inf, 4]])}, "not-finite", "video_time"),
    ],
)
def test_labels_are_checked_before_the_first_prediction(tmp_path, changed, code, field):
    write(tmp_path, "dev_1", 4)
    write(tmp_path, "dev_2", 4, **changed)
    net = Corner()
    with refused(code, file="dev_2.mat", field=field):
        run_eval(net, tmp_path, file_name=("dev_1", "dev_2"))
    assert not net.shapes


def test_frames_without_labels_are_refused(tmp_path):
    write(tmp_path, "dev_1", 4, video=np.zeros((3, 4, 5)))
    with refused("wrong-count", file="dev_1.mat"):
        run_eval(Corner(), tmp_path, file_name=("dev_1",))


def test_an_empty_file_and_an_empty_list_of_recordings_are_refused(tmp_path):
    (tmp_path / "dev_1.mat").write_bytes(b"")
    with refused("empty", file="dev_1.mat"):
        run_eval(Corner(), tmp_path, file_name=("dev_1",))
    with refused("empty", field="file_name"):
        run_eval(Corner(), tmp_path, file_name=())
