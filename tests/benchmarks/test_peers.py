"""The benchmark of engines: its tables, whom it refuses, whose turn it is. No other engine runs here."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch

from benchmarks.peers import TOLERANCE, EngineError, Process, Result, compare, largest_difference, table, time_in_turns
from caffe_compat import load_net, save_weights

OURS = "caffe-compat"


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
        "| --- | --- | --- | --- |",
        "| CNN+D | 1 | 5.12 ms | 6.4 ms (1.25) |",
        "| CNN+D | 128 | 1500 ms | differs (2e-03) |",
        "| VGG-16 | 1 | 61.2 ms | fails |",
        "| training | 1 | 100 ms |  |",
    ]


class Fake:
    """An engine whose passes take `length` seconds and whose first answer is `outputs`."""

    def __init__(self, name="", length=1.0, outputs=(), problem="", calls=None):
        self.name, self.length, self.outputs, self.problem = name, length, list(outputs), problem
        self.calls = [] if calls is None else calls

    def wait(self):
        if self.problem:
            raise EngineError(self.problem)

    def seconds(self, passes):
        self.calls.append((self.name, passes))
        return passes * self.length

    def close(self):
        self.calls.append((self.name, "closed"))


def test_every_round_begins_with_the_next_engine():
    calls = []
    times = time_in_turns({name: Fake(name, calls=calls) for name in "abc"}, budget=0)
    assert "".join(name for name, _ in calls[3:]) == "abcbcacababcbca"
    assert times == {name: [1.0] * 5 for name in "abc"}


def test_rounds_fill_the_budget():
    assert {budget: len(time_in_turns({"a": Fake(), "b": Fake()}, budget)["a"]) for budget in (1, 17, 1000)} == {
        1: 5, 17: 8, 1000: 11
    }  # fmt: skip


def test_a_short_pass_is_repeated_until_its_turn_is_long_enough():
    engine = Fake(length=1 / 64)
    assert time_in_turns({"a": engine}, budget=0) == {"a": [1 / 64] * 5}
    assert [passes for _, passes in engine.calls] == [1, 7, 7, 7, 7, 7]


def test_an_engine_whose_outputs_differ_or_that_fails_is_not_timed():
    right, calls = np.array([[1.0, -2.0]]), []
    engines = {
        "ours": Fake("ours", 1.0, [right], calls=calls),
        "close": Fake("close", 2.0, [right + TOLERANCE], calls=calls),
        "bfloat16": Fake("bfloat16", 0.1, [right + 4e-3], calls=calls),
        "broken": Fake("broken", problem="RuntimeError: no such layer", calls=calls),
        "another number of outputs": Fake(outputs=[right, right]),
        "crash": Fake("crash", math.nan, [right], calls=calls),
    }
    results = compare(("net", 1, 2), {name: lambda e=e: e for name, e in engines.items()}, [right], budget=0)
    assert [(result.seconds, result.ratio) for result in results] == [(1, None), (2, 2), *[(None, None)] * 4]
    assert round(results[2].difference, 6) == 2e-3
    assert [result.problem for result in results[:4]] == ["", "", "", "RuntimeError: no such layer"]
    assert "zip()" in results[4].problem
    assert results[5].problem == "its process ends early"
    assert [call for call in calls if call[0] in ("bfloat16", "broken")] == [
        ("broken", "closed"),
        ("bfloat16", "closed"),
    ]


def test_a_task_that_no_engine_can_do_has_a_result_for_each():
    engines = {name: lambda: Fake(problem="RuntimeError: no such layer") for name in "ab"}
    assert [result.problem for result in compare(("net", 1, 2), engines, [], budget=1)] == [
        "RuntimeError: no such layer"
    ] * 2


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
"""


def test_a_process_answers_its_task_and_times_passes(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    net = load_net(tmp_path / "net.prototxt")
    save_weights(net, tmp_path / "net.caffemodel")
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 9, 9)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "outputs.json").write_text(json.dumps({"conv": "conv"}))
    process = Process(OURS, tmp_path, 1)
    try:
        process.wait()
        assert largest_difference(process.outputs, [net(torch.from_numpy(images)).detach().numpy()]) < 1e-6
        assert 0 < process.imports < process.answer
        assert process.seconds(3) > 0
        os.kill(process.pid, signal.SIGKILL)
        assert math.isnan(process.seconds(1))
    finally:
        process.close()


def test_an_engine_without_its_files_says_so(tmp_path):
    process = Process("OpenCV", tmp_path, 1)
    with pytest.raises(EngineError, match="net.prototxt"):
        process.wait()
    process.close()


def test_outputs_that_are_not_finite_differ():
    assert largest_difference([np.array([np.nan])], [np.array([1.0])]) == np.inf


def test_a_batch_of_one_is_compared_with_its_row_and_the_largest_value_of_all_rows():
    expected = np.array([[0.1], [2.0]])
    assert largest_difference([np.array([[[0.3]]])], [expected]) == pytest.approx(0.1)
