"""Damaged recordings: MAT-files, labels, videos and pictures are refused in a line, or read."""

import pytest

from tests.fuzz.run import run

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
KINDS = {
    "mat-v6",
    "mat-v7",
    "mat-v7.3",
    "gold.arff",
    "gsd.csv",
    "ratings.csv",
    "boxes.csv",
    "frames.csv",
    "v.mp4",
    "v.avi",
}
KINDS |= {"v.mkv", "raw.avi", "p.png", "p.jpg", "p.bmp", "p.tiff", "p.webp"}


def clean(seed, count, folder):
    findings = run(seed, count, folder, worker="tests.fuzz.media")
    assert not findings.problems, "\n".join(f"case {n}: {problem}" for n, problem in findings.problems.items())
    assert sum(findings.cases.values()) == count
    assert set(findings.cases) == KINDS
    return findings


def test_a_hundred_damaged_recordings_are_read_or_refused(tmp_path):
    findings = clean(0, 100, tmp_path)
    assert 0 < sum(findings.taken.values()) < 100


@pytest.mark.slow
def test_damaged_recordings_are_read_or_refused(tmp_path):
    findings = clean(1, 2500, tmp_path)
    for kind in KINDS:
        assert findings.taken[kind] < findings.cases[kind], f"{kind}: all are read"
        # A PNG's checksums tell almost all damage.
        assert findings.taken[kind] or kind == "p.png", f"{kind}: none is read"
