"""Fingerprints of files and settings."""

import hashlib
import os

import pytest

from lq_emotion.common import fingerprints
from lq_emotion.common.fingerprints import FileHashes, file_sha256, fingerprint, stamp, stamps
from tests.refusals import refused


def test_a_fingerprint_does_not_depend_on_the_order_of_keys_and_sees_every_value():
    assert fingerprint({"a": 1, "b": [2, "é"]}) == fingerprint({"b": [2, "é"], "a": 1})
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # sha256 of "{}"
    assert len({fingerprint(value) for value in (1, 1.0, "1", True, None, [1], {"1": 1})}) == 7
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(float("nan"))


def test_the_sha256_of_a_file_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"bytes")
    assert file_sha256(path) == hashlib.sha256(b"bytes").hexdigest()
    for missing, code in ((tmp_path / "none", "file-missing"), (tmp_path, "file-unreadable")):
        with refused(code, file=missing):
            file_sha256(missing)


def test_a_stamp_is_name_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    os.utime(path, ns=(7, 9))
    assert stamp(path) == ["a", 5, 9]
    assert stamps([None, path, tmp_path / "none", tmp_path]) == [["a", 5, 9]]


def test_a_file_is_hashed_again_only_if_its_size_or_time_changed(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    hashes = FileHashes()
    first = hashes(path)
    stored = FileHashes(hashes.to_json())
    monkeypatch.setattr(fingerprints, "file_sha256", lambda _: "read again")
    assert stored(path) == first
    os.utime(path, (1, 1))
    assert stored(path) == "read again"
    path.unlink()
    with refused("file-missing"):
        stored(path)
