"""`RandStream` draws MATLAB's numbers."""

import json

import numpy as np
import pytest

from matlab_ports import RandStream
from tests.refusals import refused


def test_randperm_equals_every_recorded_permutation(reference):
    samples = json.loads((reference / "matlab" / "random" / "randperm_samples.json").read_text())
    assert len(samples) == 12
    for sample in samples:
        stream = RandStream(sample["seed"], position=sample["offset"])
        assert stream.randperm(sample["n"]).tolist() == sample["perm"], sample["source"]


def test_randperm_equals_the_permutation_in_a_mat_file(reference):
    recorded = np.load(reference / "matlab" / "random" / "randperm_from_mat_files.npz")
    np.testing.assert_array_equal(RandStream().randperm(397), recorded["perm_397_startup"])


def test_unidrnd_and_randi_equal_the_documentation(reference):
    recorded = json.loads((reference / "matlab" / "random" / "unidrnd_randi_doc.json").read_text())
    ranges, scalar, matrix = recorded["unidrnd_doc"]
    assert RandStream().unidrnd(ranges["n"]).tolist() == ranges["out"]
    stream = RandStream()
    assert stream.unidrnd(scalar["n"]).item() == scalar["out"][0]
    assert stream.position == matrix["offset"]
    assert stream.unidrnd(100, 2, 3).ravel(order="F").tolist() == matrix["out_colmajor"]
    assert RandStream().randi(10, 2, 3).ravel(order="F").tolist() == recorded["randi_doc"][0]["out_colmajor"]
    np.testing.assert_array_equal(RandStream().rand(2).ravel(order="F").round(4), recorded["rand_doc"][0]["out"])


# From the documentation, for a checkout without the recordings


def test_a_fresh_matlab_draws_the_documented_numbers():
    np.testing.assert_array_equal(RandStream().rand(2, 2).round(4), [[0.8147, 0.1270], [0.9058, 0.9134]])
    assert RandStream().randperm(8).tolist() == [6, 3, 7, 8, 5, 1, 2, 4]
    assert RandStream().randi(10, 2, 3).tolist() == [[9, 2, 7], [10, 10, 1]]
    assert RandStream().unidrnd(range(1, 92, 10)).tolist() == [1, 10, 3, 29, 26, 5, 17, 39, 78, 88]


def test_seeds_draw_what_matlab_users_report():
    assert RandStream(42).randperm(10).tolist() == [7, 6, 5, 1, 4, 9, 10, 3, 8, 2]
    assert RandStream(1).randperm(20)[:10].tolist() == [3, 15, 6, 19, 5, 7, 20, 13, 4, 8]


def test_a_stream_continues_from_its_position():
    stream = RandStream()
    assert stream.randperm(10).tolist() == [6, 3, 7, 8, 5, 1, 2, 4, 9, 10]
    assert stream.randperm(10).tolist() == [6, 1, 7, 4, 9, 5, 8, 3, 10, 2]
    assert stream.position == 20
    for continued in (stream, RandStream(position=20)):
        assert continued.randperm(10).tolist() == [2, 10, 8, 9, 1, 5, 7, 6, 3, 4]
    assert repr(stream) == "RandStream(0, position=30)"


def test_a_distant_position_is_reached_in_steps(monkeypatch):
    monkeypatch.setattr("matlab_ports.randstream._SKIP", 7)
    assert RandStream(position=23).rand().item() == RandStream().rand(1, 24)[0, -1]


def test_sizes_follow_matlab():
    assert RandStream().rand().shape == (1, 1)
    assert RandStream().rand(3).shape == (3, 3)
    assert RandStream().rand(2, 3, 4).shape == (2, 3, 4)
    assert RandStream().rand(0, 3).shape == (0, 3)
    assert set(RandStream().randi([-1, 1], 1, 200).ravel().tolist()) == {-1, 0, 1}


@pytest.mark.parametrize(
    ("call", "field", "value"),
    [
        (lambda: RandStream(-1), "seed", -1),
        (lambda: RandStream(2**32), "seed", 2**32),
        (lambda: RandStream(position=-1), "position", -1),
        (lambda: RandStream().randperm(-1), "n", -1),
        (lambda: RandStream().randi(0), "imax", 0),
        (lambda: RandStream().unidrnd([3, 0]), "n", [3, 0]),
        (lambda: RandStream().rand(2, -1), "size", (2, -1)),
    ],
)
def test_arguments_out_of_range_are_refused(call, field, value):
    with refused("out-of-range", field=field, value=value):
        call()
