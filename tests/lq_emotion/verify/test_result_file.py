"""The signed-off result: its hash, and the comparison with an earlier one."""

import json

import pytest

from lq_emotion.verify.result_file import compare, digest, earlier, read_signed, replaced, write_signed
from tests.refusals import refused

RESULT = {"program": "lq-emotion verify", "format": 1, "verdict": "passed", "files": []}


def file(name, sha256="aa", blobs=None, values=(0.5, -0.25)):
    return {
        "file": name, "sha256": sha256, "problems": [], "remarks": [],
        "blobs": [{"layer": layer, "index": index, "sha256": value} for (layer, index), value in (blobs or {("fc5", 0): "b"}).items()],
        "probe": {"inputs": "i", "values": list(values)} if values else None,
    }  # fmt: skip


def compared(now, then):
    problems = compare(now, then, limit=1e-4)
    return problems, [one["problems"] for one in now], [one["remarks"] for one in now]


def test_what_is_written_is_read_and_its_hash_is_of_sorted_json(tmp_path):
    path = tmp_path / "v.json"
    write_signed(RESULT, path)
    assert read_signed(path) == {**RESULT, "sha256": digest(RESULT)}
    # sha256sum of {"files":[],"format":1,"program":"lq-emotion verify","verdict":"passed"}
    assert digest(RESULT) == "9d1c5cc45340ad9f41c0209168fc18a6da3bcb500aee8f73a823cd5790ceb293"
    assert digest(dict(reversed(RESULT.items()))) == digest(RESULT)


def test_a_result_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "v.json"
    write_signed({**RESULT, "verdict": "failed"}, path)
    path.write_text(path.read_text().replace('"failed"', '"passed"'))
    with refused("damaged-file", file="v.json", field="sha256"):
        read_signed(path)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "syntax"),
        ("[]", "wrong-format"),
        ('{"a": 1}', "wrong-format"),
        (json.dumps({**RESULT, "format": 2}), "unsupported"),
    ],
)
def test_another_file_is_refused(tmp_path, content, code):
    path = tmp_path / "v.json"
    path.write_text(content)
    for read in (read_signed, earlier, replaced):
        with refused(code, file="v.json"):
            read(path)


def test_only_what_passed_can_be_compared_with(tmp_path):
    path = tmp_path / "v.json"
    assert replaced(path) is None
    with refused("file-missing", file="v.json"):
        earlier(path)
    write_signed({**RESULT, "verdict": "failed"}, path)
    assert replaced(path) is None
    with refused("invalid", file="v.json", field="--against"):
        earlier(path)
    write_signed(RESULT, path)
    assert replaced(path) == earlier(path) == read_signed(path)


def test_the_same_bytes_are_no_difference():
    assert compared([file("a")], [file("a")]) == ([], [[]], [[]])


def test_other_bytes_are_a_problem_that_names_the_blobs():
    then = file("a", "aa", {("fc4", 0): "x", ("fc4", 1): "y", ("fc5", 0): "z"})
    now = file("a", "bb", {("fc4", 0): "x", ("fc4", 1): "Y", ("fc6", 0): "z"})
    problems, ((told,),), _ = compared([now], [then])
    assert problems == []
    assert told == (
        "the file has changed: SHA-256 bb, then aa; in these blobs: "
        "layer 'fc4' blobs[1], layer 'fc5' blobs[0], layer 'fc6' blobs[0]"
    )
    _, ((told,),), _ = compared([file("a", "bb")], [file("a", "aa")])
    assert "every blob is the same: what has changed is not the weights" in told
    unread = {**file("a", "bb", values=None), "blobs": []}
    _, ((told,),), _ = compared([unread], [file("a", "aa")])
    assert "its weights cannot be compared, as it cannot be read" in told


def test_a_file_is_found_again_under_another_name_or_in_another_format():
    assert compared([file("b")], [file("a")]) == ([], [[]], [["has the bytes that a had then"]])
    assert compared([file("a.h5", "bb")], [file("a")]) == ([], [[]], [["has the weights that a had then"]])


def test_a_file_that_is_gone_is_a_problem_and_a_new_one_a_remark():
    other = file("b", "cc", {("fc5", 0): "other"})
    assert compared([file("a")], [file("a"), other]) == (["b was there then, and is not now"], [[]], [[]])
    problems, told, remarks = compared([file("a"), other], [file("a")])
    assert (problems, told) == ([], [[], []])
    assert remarks == [[], ["was not there then: nothing to compare it with"]]


def test_files_whose_names_were_swapped_have_changed():
    one, two = file("a", "aa"), file("b", "bb", {("fc5", 0): "c"})
    _, told, _ = compared(
        [{**one, "file": "b"}, {**two, "file": "a"}], [file("a", "aa"), file("b", "bb", {("fc5", 0): "c"})]
    )
    assert all("the file has changed" in problem for (problem,) in told)


def test_outputs_that_differ_from_those_of_then_are_a_problem():
    assert compared([file("a", values=(0.50004, -0.25))], [file("a")])[1] == [[]]
    _, ((told,),), _ = compared([file("a", values=(0.5001, -0.25))], [file("a")])
    assert told == "its outputs differ from those of then by 0.0001, where the largest is 0.5"
    other = {**file("a"), "probe": {"inputs": "j", "values": [0.5, -0.25]}}
    assert compared([file("a")], [other])[2] == [["its outputs were of other inputs then: not compared"]]
