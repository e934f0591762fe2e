"""Damaged files of every kind: refused in our words, or used; never a traceback, a hang, a crash, or memory for nothing."""

import pytest

from tests.fuzz.run import run

KINDS = {"net", "solver", "caffemodel", "caffemodel.h5", "solverstate", "solverstate.h5", "binaryproto"}


def _clean(found, count):
    assert not found.problems, "\n".join(f"case {n}: {told}" for n, told in found.problems.items())
    assert sum(found.cases.values()) == count
    assert set(found.cases) == KINDS
    for kind in KINDS:
        assert 0 < found.taken[kind] < found.cases[kind], f"{kind}: all or none are taken"
    return True


def test_five_hundred_damaged_files_are_used_or_refused(tmp_path):
    assert _clean(run(0, 500, tmp_path), 500)


@pytest.mark.slow
def test_twenty_thousand_damaged_files_are_used_or_refused(tmp_path):
    assert _clean(run(1, 20_000, tmp_path), 20_000)


WORKER = """
import json, os, sys, time
for i in range(int(sys.argv[2]), int(sys.argv[3])):
    print(json.dumps({"begin": i}), flush=True)
    if i == 1: os.abort()
    if i == 3: time.sleep(60)
    if i == 4: sys.exit(3)
    told = "Traceback" if i == 5 else ""
    print(json.dumps({"end": i, "kind": "k", "taken": True, "problem": told, "ms": i, "grown": 7 * i}), flush=True)
"""


def test_a_crash_a_hang_an_exit_and_a_traceback_are_findings_and_the_cases_after_them_are_run(tmp_path):
    (tmp_path / "bad_worker.py").write_text(WORKER)
    found = run(0, 7, tmp_path, limit=5, worker="bad_worker")
    assert [f"{n}: {told.splitlines()[0]}" for n, told in sorted(found.problems.items())] == [
        "1: the process died (-6)", "3: more than 5 s", "4: the process died (3)", "5: Traceback",
    ]  # fmt: skip
    assert found.cases == {"k": 4}
    assert (found.slowest, found.largest) == (6, 42)


def test_a_worker_that_does_not_begin_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="did not begin"):
        run(0, 1, tmp_path, worker="no_such_worker")
