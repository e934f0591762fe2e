"""Damaged files of every kind: refused in our words, or used; never a traceback, a hang, a crash, or memory for nothing."""

import pytest

from lq_emotion.cli import main
from tests.fuzz.run import run

KINDS = {
    "worker": "net solver caffemodel caffemodel.h5 solverstate solverstate.h5 binaryproto",
    "stored": "resume.npz pt json state",
    "media": "mat-v6 mat-v7 mat-v7.3 gold.arff gsd.csv ratings.csv boxes.csv frames.csv v.mp4 v.avi v.mkv raw.avi "
    "p.png p.jpg p.bmp p.tiff p.webp",
    "containers": "mp4 mov mkv ts h264 webm avi wmv flv gif name",
}
SHORT = [("worker", 250), ("stored", 50), ("media", 100), ("containers", 11)]
LONG = [("worker", 20_000), ("stored", 2500), ("media", 2500), ("containers", 1100)]


@pytest.mark.parametrize(("worker", "count"), [*SHORT, *(pytest.param(*case, marks=pytest.mark.slow) for case in LONG)])
def test_damaged_files_are_used_or_refused(worker, count, tmp_path):
    if worker in ("media", "containers"):
        pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    seed = int((worker, count) in LONG)
    print(f"{worker}: {count} cases of seed {seed}")
    findings = run(seed, count, tmp_path, worker=f"tests.fuzz.{worker}")
    assert not findings.problems, "\n".join(f"case {n}: {problem}" for n, problem in findings.problems.items())
    assert sum(findings.cases.values()) == count
    few = count < 200 and worker != "stored"
    assert set(findings.cases) <= set(KINDS[worker].split())
    assert few or len(findings.cases) == len(KINDS[worker].split())
    assert 0 < sum(findings.taken.values()) < count
    for kind in findings.cases.keys() - {"name"} if not few else ():
        assert findings.taken[kind] < findings.cases[kind], f"{kind}: all are used"
        # A PNG's checksums detect almost all damage.
        assert findings.taken[kind] or kind == "p.png", f"{kind}: none is used"


WORKER = """
import json, os, sys, time
for i in range(int(sys.argv[2]), int(sys.argv[3])):
    print(json.dumps({"begin": i}), flush=True)
    if i == 1: os.abort()
    if i == 3: time.sleep(60)
    if i == 4: sys.exit(3)
    problem = "Traceback" if i == 5 else ""
    print(json.dumps({"end": i, "kind": "k", "taken": True, "problem": problem, "ms": i, "grown": 7 * i}), flush=True)
"""


def test_a_crash_a_hang_an_exit_and_a_traceback_are_findings_and_the_cases_after_them_are_run(tmp_path):
    (tmp_path / "bad_worker.py").write_text(WORKER)
    findings = run(0, 7, tmp_path, limit=5, worker="bad_worker")
    assert [f"{n}: {problem.splitlines()[0]}" for n, problem in sorted(findings.problems.items())] == [
        "1: the process died (-6)", "3: more than 5 s", "4: the process died (3)", "5: Traceback",
    ]  # fmt: skip
    assert findings.cases == {"k": 4}
    assert (findings.slowest, findings.largest) == (6, 42)


def test_a_worker_that_does_not_begin_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="did not begin"):
        run(0, 1, tmp_path, worker="no_such_worker")


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "null", '{"images": 5}', '{"held_out": 5, "images": ["a"]}', "[" * 100_000, '{"a":' * 100_000],
)
def test_a_runs_folder_with_other_json_is_an_error_in_one_line(content, tmp_path, capsys):
    (tmp_path / "ledger.json").write_text(content)
    assert main(["study", "sr", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'ledger.json'}: " in error
    assert error.count("\n") == 1
