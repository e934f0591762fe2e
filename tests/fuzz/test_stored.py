"""Damaged resume files, state_dicts and JSON: refused in our words before anything is touched, or used."""

import pytest

from lq_emotion.cli import main
from tests.fuzz.run import run

KINDS = {"resume.npz", "pt", "json", "state"}


def check(found, count):
    assert not found.problems, "\n".join(f"case {n}: {told}" for n, told in found.problems.items())
    assert sum(found.cases.values()) == count
    assert set(found.cases) == KINDS
    for kind in KINDS:
        assert 0 < found.taken[kind] < found.cases[kind], f"{kind}: all or none are taken"


def test_a_hundred_damaged_files_are_used_or_refused(tmp_path):
    check(run(0, 100, tmp_path, worker="tests.fuzz.stored"), 100)


@pytest.mark.slow
def test_two_thousand_five_hundred_damaged_files_are_used_or_refused(tmp_path):
    check(run(1, 2500, tmp_path, worker="tests.fuzz.stored"), 2500)


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "null", '{"pictures": 5}', '{"held_out": 5, "pictures": ["a"]}', "[" * 100_000, '{"a":' * 100_000],
)
def test_a_runs_folder_with_other_json_is_an_error_in_one_line(content, tmp_path, capsys):
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "settings.json").write_text(content)
    assert main(["sr-demo", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'settings.json'}: " in error
    assert error.count("\n") == 1
