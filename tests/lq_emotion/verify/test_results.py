"""The signed-off result: its hash, and which results can be compared with."""

import json
from dataclasses import replace

import pytest

from lq_emotion.verify.settings import Verification, VerifiedFile, earlier, read_signed, replaced
from tests.refusals import refused

PASSED = Verification(
    date="2026-01-31T12:00:00+00:00", versions={"av": None}, device="cpu", limit=1e-5,
    images=("noise",), shape=(1, 1, 96, 96), inputs="ab", opencv="4.14.0", caffe=None,
    files=(VerifiedFile("a", 5, "cd"),),
)  # fmt: skip
FAILED = replace(PASSED, problems=("b is missing",))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "v.json"


def write(result, path, **changes):
    path.write_text(json.dumps({**result.to_json(), **changes}))


def test_a_result_is_read_as_it_was_written(path):
    for result in (PASSED, FAILED):
        write(result, path)
        assert read_signed(path) == result


def test_the_hash_is_of_sorted_json_without_spaces_and_stands_last():
    content = PASSED.to_json()
    assert [*content][-2:] == ["verdict", "sha256"]
    # sha256sum of python -c 'json.dumps(.., sort_keys=True, separators=(",", ":"))' of all other entries
    assert content["sha256"] == PASSED.sha256 == "d44f590c67b5ee8304d96938ac7410f40b3d1675ef19f2fd162ab512dbc836a9"


def test_a_result_that_was_changed_is_refused(path):
    write(FAILED, path, verdict="passed")
    with refused("damaged-file", file="v.json", field="sha256"):
        read_signed(path)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "syntax"),
        ("[]", "wrong-format"),
        ('{"a": 1}', "wrong-format"),
        (json.dumps({**PASSED.to_json(), "format": 2}), "unsupported"),
    ],
)
def test_another_file_is_refused(path, content, code):
    path.write_text(content)
    for read in (read_signed, earlier, replaced):
        with refused(code, file="v.json"):
            read(path)


def test_only_a_result_that_passed_can_be_compared_with(path):
    assert replaced(path) is None
    with refused("file-missing", file="v.json"):
        earlier(path)
    write(FAILED, path)
    assert replaced(path) is None
    with refused("invalid", file="v.json", field="--against"):
        earlier(path)
    write(PASSED, path)
    assert replaced(path) == earlier(path) == read_signed(path)
