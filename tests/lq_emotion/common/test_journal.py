"""Journals of work: done only with the same fingerprint and unchanged files; foreign files are refused."""

import json
import os

import pytest

from lq_emotion.common.folders import require_folder
from lq_emotion.common.journal import Journal
from tests.refusals import refused


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    Journal(tmp_path / "made.json", root=tmp_path).note("work", "f1", [tmp_path / "a.txt"], count=3)
    return tmp_path


def test_work_is_done_with_the_same_fingerprint_and_unchanged_files(folder):
    journal = Journal(folder / "made.json", root=folder)
    assert journal.is_done("work", "f1")
    assert journal.entry("work")["count"] == 3
    assert journal.wrote(folder / "a.txt")
    assert not journal.is_done("work", "f2")
    assert not journal.is_done("other", "f1")


@pytest.mark.parametrize("change", ["write", "flip", "remove"])
def test_work_whose_files_changed_is_not_done(folder, change):
    path = folder / "a.txt"
    times = path.stat()
    {"write": lambda: path.write_text("ab"), "flip": lambda: path.write_text("c"), "remove": path.unlink}[change]()
    if change == "flip":  # the same size and time
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    journal = Journal(folder / "made.json", root=folder)
    assert not journal.is_done("work", "f1")
    assert not journal.wrote(path)


def test_work_whose_files_were_only_touched_is_done(folder):
    os.utime(folder / "a.txt", (1, 1))
    assert Journal(folder / "made.json", root=folder).is_done("work", "f1")


def test_a_journal_and_its_files_can_be_moved_together(folder):
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert Journal(moved / "made.json", root=moved).is_done("work", "f1")


def test_details_survive_a_note(folder):
    journal = Journal(folder / "made.json", root=folder)
    journal.details["settings"] = {"s": 3}
    journal.note("more", "f3")
    assert Journal(folder / "made.json").details == {"settings": {"s": 3}}
    assert set(json.loads((folder / "made.json").read_text())["done"]) == {"work", "more"}


def test_files_without_a_journal_are_foreign(folder, tmp_path):
    Journal(folder / "made.json", root=folder).require_own([folder / "a.txt"], "demo")
    with refused("foreign-files", file=folder):
        Journal(folder / "none.json", root=folder).require_own([folder / "b.txt", folder / "a.txt"], "demo")


def test_a_file_is_claimed_before_it_is_written_or_belongs_to_somebody_else(tmp_path):
    rows, overlay = tmp_path / "a.csv", tmp_path / "a.mp4"
    Journal(tmp_path / "a.json").claim([rows], "demo")
    rows.write_text("half")  # and then the process was killed
    overlay.write_text("mine")
    Journal(tmp_path / "a.json").claim([rows], "demo")
    with refused("foreign-files", file=overlay):
        Journal(tmp_path / "a.json").claim([rows, overlay], "demo")
    assert Journal(tmp_path / "a.json").details == {"claimed": ["a.csv"]}


def test_clearing_removes_what_was_written_and_the_journal_and_nothing_else(folder):
    (folder / "mine.txt").write_text("mine")
    (folder / "log.txt").write_text("log")
    journal = Journal(folder / "made.json", root=folder)
    journal.clear([folder / "log.txt", folder / "missing.txt"])
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert not journal.exists


@pytest.mark.parametrize(
    "content",
    [
        {}, {"done": 1}, {"done": {"work": 5}}, {"done": {"work": {"fingerprint": "f", "files": 5}}},
        {"done": {"work": {"fingerprint": "f", "files": {"../a.txt": []}}}},
        {"done": {"work": {"fingerprint": "f", "files": {"/a.txt": []}}}},
    ],
)  # fmt: skip
def test_a_damaged_journal_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "made.json"
    path.write_text(json.dumps(content))
    with refused("unsafe" if "a.txt" in str(content) else "damaged-file", file=path, hint="remove it"):
        Journal(path, root=tmp_path, hint="remove it")


def test_a_file_is_no_folder(folder):
    require_folder(folder)
    require_folder(folder / "missing")
    for path in (folder / "a.txt", folder / "a.txt" / "results"):
        with refused("wrong-type", file="a.txt"):
            require_folder(path)
