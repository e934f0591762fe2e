"""Files against those of an earlier result."""

from dataclasses import replace

from lq_emotion.verify.comparison import compare
from lq_emotion.verify.settings import BlobDigest, Probe, VerifiedFile


def file(name, sha256="aa", blobs=None, values=(0.5, -0.25)):
    digests = [
        BlobDigest(layer, index, (1,), value, 1.0, 1.0)
        for (layer, index), value in (blobs or {("fc5", 0): "b"}).items()
    ]
    probe = Probe("fc5", "i", values) if values else None
    return VerifiedFile(name, 5, sha256, blobs=tuple(digests), probe=probe)


def compared(now, then):
    files, problems = compare(now, then, limit=1e-4)
    assert [result.file for result in files] == [result.file for result in now]
    return problems, [[*result.problems] for result in files], [[*result.remarks] for result in files]


def test_the_same_bytes_are_no_difference():
    assert compared([file("a")], [file("a")]) == ([], [[]], [[]])


def test_other_bytes_are_a_problem_that_names_the_blobs():
    then = file("a", "aa", {("fc4", 0): "x", ("fc4", 1): "y", ("fc5", 0): "z"})
    now = file("a", "bb", {("fc4", 0): "x", ("fc4", 1): "Y", ("fc6", 0): "z"})
    problems, ((change,),), _ = compared([now], [then])
    assert problems == []
    assert change == (
        "the file has changed: SHA-256 bb, was aa; in these blobs: "
        "layer 'fc4' blobs[1], layer 'fc5' blobs[0], layer 'fc6' blobs[0]"
    )
    _, ((change,),), _ = compared([file("a", "bb")], [file("a", "aa")])
    assert "the weights are the same" in change
    _, ((change,),), _ = compared([replace(file("a", "bb", values=None), blobs=())], [file("a", "aa")])
    assert "its weights cannot be compared, as it cannot be read" in change


def test_a_file_is_recognised_under_another_name_or_in_another_format():
    assert compared([file("b")], [file("a")]) == ([], [[]], [["has the bytes of a in the earlier result"]])
    assert compared([file("a.h5", "bb")], [file("a")]) == ([], [[]], [["has the weights of a in the earlier result"]])


def test_a_missing_file_is_a_problem_and_a_new_one_a_remark():
    other = file("b", "cc", {("fc5", 0): "other"})
    assert compared([file("a")], [file("a"), other]) == (["b is missing; the earlier result has it"], [[]], [[]])
    new = "is new: the earlier result has nothing to compare it with"
    assert compared([file("a"), other], [file("a")]) == ([], [[], []], [[], [new]])


def test_files_whose_names_were_swapped_have_changed():
    first, second = file("a", "aa"), file("b", "bb", {("fc5", 0): "c"})
    _, problems, _ = compared([replace(first, file="b"), replace(second, file="a")], [first, second])
    assert all("the file has changed" in problem for (problem,) in problems)


def test_outputs_that_have_changed_are_a_problem():
    assert compared([file("a", values=(0.50004, -0.25))], [file("a")])[1] == [[]]
    _, ((problem,),), _ = compared([file("a", values=(0.5001, -0.25))], [file("a")])
    assert problem == "the outputs have changed by 0.0001; the largest was 0.5"
    other = replace(file("a"), probe=Probe("fc5", "j", (0.5, -0.25)))
    assert compared([file("a")], [other])[2] == [["the earlier outputs are those of other inputs: not compared"]]
