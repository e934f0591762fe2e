"""Databases are written whole or not at all, and read back by Caffe's Data layer's reader."""

from pathlib import Path

import pytest

from caffe_compat.data.database import new_database, open_database
from caffe_compat.data.source import Origin
from tests.refusals import refused

BACKENDS = ["lmdb", "leveldb"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    pytest.importorskip({"lmdb": "lmdb", "leveldb": "plyvel"}[request.param])
    return request.param


def everything(path: Path, backend: str) -> list[tuple[bytes, bytes]]:
    database = open_database(path, backend.upper(), Origin("", path))
    actual = [database.take()]
    while database.key() != actual[0][0]:
        actual.append(database.take())
    return actual


def test_what_is_written_is_read_back_in_the_order_of_the_keys(tmp_path, backend):
    with new_database(tmp_path / "db", backend) as database:
        for number in (3, 1, 2):
            database.put(f"{number:04d}".encode(), bytes([number]) * number)
    assert everything(tmp_path / "db", backend) == [(b"0001", b"\1"), (b"0002", b"\2\2"), (b"0003", b"\3\3\3")]
    assert [entry.name for entry in tmp_path.iterdir()] == ["db"]


def test_many_records_of_more_than_the_first_map_are_written(tmp_path, backend):
    value = bytes(1 << 16)
    with new_database(tmp_path / "db", backend) as database:
        for number in range(1500):
            database.put(f"{number:06d}".encode(), value)
    actual = everything(tmp_path / "db", backend)
    assert len(actual) == 1500
    assert actual[-1] == (b"001499", value)


def test_an_error_leaves_nothing_behind(tmp_path, backend):
    def broken():
        with new_database(tmp_path / "db", backend) as database:
            database.put(b"a", b"b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_exists_is_not_touched(tmp_path, backend):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "mine").write_text("kept")
    with refused("file-unwritable", file="db"), new_database(tmp_path / "db", backend):
        pass
    assert (tmp_path / "db" / "mine").read_text() == "kept"
    with refused("file-missing", file="gone"), new_database(tmp_path / "gone" / "db", backend):
        pass


def test_a_key_that_is_too_long_for_lmdb_is_refused(tmp_path):
    pytest.importorskip("lmdb")
    with refused("file-unwritable", file="db"), new_database(tmp_path / "db") as database:
        database.put(b"k" * 600, b"v")
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_database_is_refused(tmp_path):
    with refused("name-unknown", field="backend", value="sqlite"), new_database(tmp_path / "db", "sqlite"):
        pass


def test_a_missing_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with refused("dependency-missing", field="backend", value="lmdb"), new_database(tmp_path / "db"):
        pass
