"""The time of the table's trainings: printed before they begin, and extrapolated as counted by hand."""

import json

import pytest

from lq_emotion.nets.switches import AS_CODE, AS_PAPER
from lq_emotion.training import estimate as module
from lq_emotion.training.estimate import describe, estimate
from lq_emotion.training.settings import Changes, TrainingSettings
from tests.lq_emotion.commands import TABLE, draw_recordings, run


def planned(net, changes, factors, out, switches=AS_CODE):
    """Return a training as a study plans it."""
    settings = TrainingSettings(
        net=net, h5=out / "none", out=out, changes=Changes(**changes), switches=switches, device="cpu"
    )
    return settings, factors


@pytest.fixture
def timed(monkeypatch):
    """The nets to be timed; every net takes 0.5 s an iteration and 0.125 s a batch of a test."""
    nets = []

    def time(trainings, *_):
        nets.extend(trainings)
        return [(0.5, 0.125) for _ in trainings]

    monkeypatch.setattr(module, "_time_in_process", time)
    return nets


def test_iterations_and_tests_that_are_left_are_counted(tmp_path, timed):
    whole = planned("HQ", {}, (1,), tmp_path / "HR")
    begun = planned("HQ", {"max_iter": 300, "test_interval": 100, "test_iter": 2}, (1,), tmp_path / "LR-3")
    (tmp_path / "LR-3/snapshots").mkdir(parents=True)
    for name in ("emotion_iter_50.solverstate", "emotion_iter_200.solverstate", "emotion_iter_200.caffemodel"):
        (tmp_path / "LR-3/snapshots" / name).touch()
    short = planned("vlqr", {"max_iter": 49}, (1,), tmp_path / "Joint-3")
    estimates = estimate([whole, begun, short], threads=2)
    counts = [(training.run, training.iterations, training.test_batches) for training in estimates]
    assert counts == [("HR", 30000, 3100), ("LR-3", 100, 4)]
    seconds = [30000 * 0.5 + 3100 * 0.125, 100 * 0.5 + 4 * 0.125]
    assert [training.seconds for training in estimates] == seconds
    assert timed == [("HQ", None, (1,))]
    assert [training.to_json()["seconds"] for training in estimates] == seconds
    assert "about 4 hours" in describe(estimates)
    assert estimate([short], threads=2) == []


@pytest.mark.parametrize(
    ("net", "switches"),
    [("vlqr_non_joint", AS_CODE), ("pretrain", AS_CODE), ("vlqr", AS_PAPER)],
    ids=["code-non_joint", "code-pretrain", "paper-mixture"],
)
def test_every_net_can_be_timed(tmp_path, net, switches, monkeypatch):
    monkeypatch.setattr(module, "_TIMED", 1)
    factors = (12, 16) if switches is AS_PAPER and net == "vlqr" else (1,)
    monkeypatch.setattr(module, "_time_in_process", module._time_all)
    training = planned(net, {"batch": 2}, factors, tmp_path / net, switches)
    (timing,) = estimate([training], threads=1)
    assert timing.seconds_per_iteration > 0
    assert timing.seconds_per_test_batch > 0


def test_the_table_prints_and_logs_the_estimate_before_it_begins(tmp_path, timed, capsys):
    recordings, out = draw_recordings(tmp_path / "recordings", frames=50), tmp_path / "a root"
    assert run(*TABLE, "--recordings", recordings, "--out", out, "--scales", 3, "--dry-run") == 0
    output = capsys.readouterr().out
    assert "training will take about" in output
    assert "HQ 0.5 s an iteration" in output
    log = json.loads((out / "logs/estimate.json").read_text())
    seconds = {training["run"]: training["seconds"] for training in log["trainings"]}
    assert set(seconds) == {"HR", "LR-3", "Non-Joint-3", "Joint-3", "Joint-OA", "pretrain-3", "pretrain-12"}
    assert log["seconds"] == pytest.approx(sum(seconds.values()))


def test_nets_are_timed_in_a_process_of_its_own(tmp_path):
    training = planned("pretrain", {"batch": 1}, (1,), tmp_path / "pretrain-3")
    (timing,) = estimate([training], threads=1)
    assert timing.iterations == 500_000
    assert timing.seconds_per_iteration > 0
