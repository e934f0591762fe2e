"""Predictions that an evaluation left are read as moments of the recordings."""

import json

import numpy as np
import pytest

from lq_emotion.evaluation.settings import Evaluation
from lq_emotion.evaluation.tables import Traces, read_moments, write_predictions
from lq_emotion.metrics.regression import score
from lq_emotion.metrics.uncertainty import Moments, joined_score
from tests.refusals import refused


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "predictions").mkdir()
    traces = []
    for name, frames in (("dev_2", 30), ("dev_10", 20)):
        time, gold, prediction = 0.04 * np.arange(frames), *rng.standard_normal((2, frames))
        prediction[3:6] = np.nan  # dropped frames
        traces.append(Traces(name, time, gold, prediction, prediction, "arousal"))
        write_predictions(traces[-1], tmp_path / f"predictions/{name}.csv", raw=True)
    together = score(np.concatenate([t.prediction for t in traces]), np.concatenate([t.gold for t in traces]))
    rows = {"concatenated": together}
    evaluation = Evaluation(
        weights="w", data="d", convention="avec", labels="arousal", scores=rows, concatenated_by_convention=rows,
        predictions=tuple(f"predictions/{t.name}.csv" for t in traces), delay=0.0,
    )  # fmt: skip
    (tmp_path / "scores.json").write_text(json.dumps(evaluation.to_json()))
    return tmp_path


def test_moments_of_the_predictions_give_the_evaluations_scores(folder):
    moments = read_moments(folder)
    assert list(moments) == ["dev_2", "dev_10"]
    actual = joined_score(list(moments.values()))
    row = json.loads((folder / "scores.json").read_text())["scores"]["concatenated"]
    assert actual.frames == row["frames"] == 44
    assert (actual.rmse, actual.cc, actual.ccc) == pytest.approx((row["rmse"], row["cc"], row["ccc"]), rel=1e-12)


def test_a_recording_without_predictions_is_refused(folder):
    path = folder / "predictions/dev_10.csv"
    path.write_text("frame,time,arousal,prediction\n0,0,0.5,nan\n")
    with refused("empty", file="dev_10.csv"):
        read_moments(folder)
    path.write_text("frame,time,valence,prediction\n0,0,0.5,0.25\n")
    with refused("field-missing", file="dev_10.csv", field="arousal", hint="evaluate again"):
        read_moments(folder)
    path.write_text("frame,time,arousal,prediction\n0,0,0.5,0.25\n")
    assert read_moments(folder)["dev_10"] == Moments(1, 0.25, 0.5, 0, 0, 0, 0.0625)
    path.unlink()
    with refused("file-missing", file="dev_10.csv"):
        read_moments(folder)
    with refused("file-missing", file="scores.json"):
        read_moments(folder / "nowhere")
