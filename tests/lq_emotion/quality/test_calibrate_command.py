"""`lq-emotion calibrate` as a user calls it, on synthetic recordings of two seconds."""

import json

import pytest

from lq_emotion.nets.known.outputs import Labels
from lq_emotion.quality import Calibration
from tests.lq_emotion.commands import draw_recordings, failed, run
from tests.lq_emotion.predict.instruments import DIMENSIONS, described, made_model

for package in ("av", "sklearn"):
    pytest.importorskip(package)
CLASSES = Labels(("bright", "dark"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    return draw_recordings(folder, train=1, dev=6, frames=50, size=(160, 160))


def weights(folder, outputs):
    """Write a net with the files that describe it; return its caffemodel."""
    folder.mkdir()
    return described(made_model(folder, outputs, weight=(1.0, -1.0)[: len(outputs.names)]))


def common(recordings):
    grid = ("--scales", 1, 4, "--qps", 20, 44, "--frames", 10, "--level", 0.5, "--device=cpu")
    return (*grid, "--boxes", recordings / "synthetic_face_boxes")


def test_a_net_is_calibrated_on_labelled_recordings_and_judged_by_the_file_beside_it(recordings, tmp_path, capsys):
    net = weights(tmp_path / "net", DIMENSIONS)
    argv = ("calibrate", recordings, "--model", net, *common(recordings), "--json")
    assert run(*argv) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["made_from"]["recordings"] == [f"dev_{number}" for number in (1, 2, 4, 5, 6)]
    assert result["made_from"]["samples"] == 5 * 10 * 4
    assert result["made_from"]["grid"] == {"scales": [1, 4], "qps": [20, 44], "codec": "x264"}
    assert "6 of 6 recordings" in captured.err
    assert "no face with a label in dev_3" in captured.err  # nobody is there in its first frames
    calibration = Calibration.of_weights(net)
    assert calibration.outputs == ("valence",)
    assert calibration.level == 0.5
    answers = tmp_path / "net/net.calibration.answers"
    before = {path.name: path.stat().st_mtime_ns for path in answers.glob("*.npz")}
    assert len(before) == 6
    assert run(*argv, "--limit", 0.25) == 0
    assert Calibration.of_weights(net).errors[0].limit == 0.25
    assert {path.name: path.stat().st_mtime_ns for path in answers.glob("*.npz")} == before


def test_a_classifier_is_calibrated_on_videos_without_labels(recordings, tmp_path, capsys):
    net = weights(tmp_path / "net", CLASSES)
    videos = sorted((recordings / "recordings_video").glob("dev_*.mp4"))
    assert run("calibrate", *videos, "--model", net, *common(recordings)) == 0
    assert "the class stays in 80%" in capsys.readouterr().out
    assert Calibration.of_weights(net).outputs == ("agreement",)
    assert run("calibrate", *videos, "--model", net, *common(recordings), "--limit", 0.99) == 0
    assert "nothing is trusted: 5 recordings show no more than" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outputs", "path", "problem"),
    [
        (DIMENSIONS, "recordings_video/dev_1.mp4", "needs labels"),
        (CLASSES, "", "pass video files"),
        (CLASSES, "recordings_video/dev_1.mp4", "there are 1 recordings, 50% needs at least 5"),
    ],
)
def test_recordings_that_do_not_fit_are_one_error_before_anything_is_written(
    recordings, tmp_path, capsys, outputs, path, problem
):
    net = weights(tmp_path / "net", outputs)
    before = sorted(net.parent.iterdir())
    assert problem in failed(capsys, "calibrate", recordings / path, "--model", net, *common(recordings))
    assert sorted(net.parent.iterdir()) == before
