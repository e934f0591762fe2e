"""The benchmark of engines: its tables, whom it refuses, whose turn it is. No other engine runs here."""

import numpy as np
import pytest

from benchmarks.peers import TOLERANCE, Result, compare, largest_difference, table, time_in_turns


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch):
    monkeypatch.setattr("benchmarks.peers.PAUSE", 0)
    monkeypatch.setattr("benchmarks.peers.TURN", 0)


def test_a_table_has_a_row_for_each_net_and_batch_and_ratios_to_the_first_engine():
    results = [
        Result("CNN+D", 1, 2, "ours", 1e-6, 0.00512),
        Result("CNN+D", 1, 2, "other", 2e-6, 0.0064, 1.25),
        Result("CNN+D", 128, 2, "ours", 1e-6, 1.5),
        Result("CNN+D", 128, 2, "other", 2.1e-3),
        Result("VGG-16", 1, 2, "ours", 1e-6, 0.0612),
        Result("VGG-16", 1, 2, "other", problem="RuntimeError: no such layer"),
        Result("training", 1, 2, "ours", 0.0, 0.1),
    ]
    assert table(results).splitlines() == [
        "| net | batch | ours | other |",
        "|---|---|---|---|",
        "| CNN+D | 1 | 5.12 ms | 6.4 ms (1.25) |",
        "| CNN+D | 128 | 1500 ms | differs (2e-03) |",
        "| VGG-16 | 1 | 61.2 ms | fails |",
        "| training | 1 | 100 ms |  |",
    ]


def test_every_round_begins_with_the_next_engine():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = time_in_turns(runs, 4)
    assert "".join(calls[3:]) == "abcbcacababc"
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_short_pass_is_repeated_until_its_turn_is_long_enough(monkeypatch):
    monkeypatch.setattr("benchmarks.peers.TURN", 1.0)
    now = [0.0]

    def run():
        now[0] += 0.25

    assert time_in_turns({"a": run}, 1, clock=lambda: now[0]) == {"a": [0.25]}
    assert now[0] == 0.25 * (1 + 1 + 4)  # for its length, into the caches, timed


def test_an_engine_whose_outputs_differ_or_that_fails_is_not_timed():
    right, calls = np.array([[1.0, -2.0]]), []

    def engine(name, outputs):
        return lambda: lambda: calls.append(name) or [outputs]

    def broken():
        raise RuntimeError("no such\nlayer")

    makers = {
        "ours": engine("ours", right),
        "close": engine("close", right + TOLERANCE),
        "bfloat16": engine("bfloat16", right + 4e-3),
        "broken": broken,
    }
    ours, close, bfloat16, failed = compare(("net", 1, 2), makers, [right], rounds=3)
    assert ours.seconds is not None
    assert ours.ratio is None
    assert close.ratio is not None
    assert (bfloat16.seconds, bfloat16.ratio, round(bfloat16.difference, 6)) == (None, None, 2e-3)
    assert (failed.seconds, failed.difference, failed.problem) == (None, None, "RuntimeError: no such layer")
    assert calls.count("bfloat16") == 1


def test_a_task_that_no_engine_can_do_has_a_result_for_each():
    def broken():
        raise RuntimeError("no such layer")

    assert [result.problem for result in compare(("net", 1, 2), {"a": broken, "b": broken}, [], rounds=2)] == [
        "RuntimeError: no such layer"
    ] * 2


def test_outputs_that_are_not_finite_differ():
    assert largest_difference([np.array([np.nan])], [np.array([1.0])]) == np.inf


def test_a_batch_of_one_is_compared_with_its_row_and_the_largest_value_of_all_rows():
    expected = np.array([[0.1], [2.0]])
    assert largest_difference([np.array([[[0.3]]])], [expected]) == pytest.approx(0.1)
