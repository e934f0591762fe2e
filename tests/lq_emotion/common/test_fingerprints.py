"""Fingerprints of files and settings."""

import hashlib
import os

import pytest

from lq_emotion.common.fingerprints import file_sha256, fingerprint, named_hashes
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


def test_files_are_named_with_their_hashes_and_what_is_no_file_is_left_out(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    sha256 = hashlib.sha256(b"12345").hexdigest()
    assert named_hashes([None, path, tmp_path / "none", tmp_path]) == [["a", sha256]]


def test_a_process_reads_a_file_once_and_again_when_it_was_written_even_with_the_same_size_and_time(
    tmp_path, monkeypatch
):
    path, reads = tmp_path / "a", []
    path.write_bytes(b"one")
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: reads.append(1) or digest(*given))
    assert file_sha256(path) == file_sha256(path)
    assert len(reads) == 1
    first, times = file_sha256(path), path.stat()
    new = tmp_path / "new"
    new.write_bytes(b"two")
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(path)
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest() != first
    path.unlink()
    with refused("file-missing"):
        file_sha256(path)
