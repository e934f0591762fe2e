"""Data: records of LMDB and LevelDB in order; errors name the database and the key."""

import shutil
import sys

import numpy as np
import pytest

from caffe_compat.data import CRand, open_source
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import datum, numbered, pictures, write_leveldb, write_lmdb
from tests.refusals import refused

BACKENDS = {"LMDB": write_lmdb, "LEVELDB": write_leveldb}


def layer(source="db", backend="LMDB", batch=4, tops=("data", "label")):
    out = pb.LayerParameter(name="feed", type="Data", top=tops, phase="TRAIN")
    out.data_param.source, out.data_param.batch_size = str(source), batch
    out.data_param.backend = pb.DataParameter.DB.Value(backend)
    return out


def opened(folder, **fields):
    return open_source(layer(**fields), base_dir=folder, rng=CRand())


def labels(source, batches):
    return [int(label) for _ in range(batches) for label in source.next()["label"]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_records_come_in_the_order_of_their_keys_over_and_over(tmp_path, backend):
    BACKENDS[backend](tmp_path / "db", numbered(7))
    source = opened(tmp_path, backend=backend, batch=3)
    assert source.shapes == {"data": (3, 1, 2, 2), "label": (3,)}
    assert labels(source, 5) == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0]
    source.reset()
    assert labels(source, 1) == [0, 1, 2]
    assert labels(opened(tmp_path, backend=backend, batch=16), 1) == [*range(7), *range(7), 0, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_layers_read_one_database_independently(tmp_path, backend):
    BACKENDS[backend](tmp_path / "db", numbered(9))
    first, second = (opened(tmp_path, backend=backend, batch=2) for _ in range(2))
    assert labels(first, 3) == [0, 1, 2, 3, 4, 5]
    assert labels(second, 1) == [0, 1]
    assert labels(first, 1) == [6, 7]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cursor_names_the_next_record(tmp_path, backend):
    BACKENDS[backend](tmp_path / "db", numbered(7))
    source = opened(tmp_path, backend=backend, batch=3)
    source.next()
    cursor = source.cursor()
    assert bytes(cursor["key"].astype("u1")) == b"00000003"
    other = opened(tmp_path, backend=backend, batch=3)
    other.next()
    assert other.fits(cursor)
    assert labels(other, 1) == [3, 4, 5], "asking whether it fits moves nothing"
    other.seek(cursor)
    assert labels(other, 2) == [3, 4, 5, 6, 0, 1]
    for name, values in (("key", [1, 2]), ("key", []), ("random", [0] * 625), ("entries", [5])):
        assert not other.fits(cursor | {name: np.array(values, np.int64)})
    assert not other.fits({})


def test_one_top_goes_without_labels(tmp_path):
    write_lmdb(tmp_path / "db", numbered(3))
    assert list(opened(tmp_path, tops=["data"]).next()) == ["data"]


def test_float_data_are_taken_where_there_are_no_bytes(tmp_path):
    values = np.linspace(-3, 3, 12, dtype="f4").reshape(3, 2, 2)
    write_lmdb(tmp_path / "db", [datum(values, -5)])
    batch = opened(tmp_path, batch=1).next()
    assert np.array_equal(batch["data"][0].numpy(), values)
    assert batch["label"].tolist() == [-5]


def test_an_lmdb_may_be_one_file(tmp_path):
    write_lmdb(tmp_path / "db", numbered(3))
    shutil.copy(tmp_path / "db" / "data.mdb", tmp_path / "single.mdb")
    assert labels(opened(tmp_path, source="single.mdb", batch=3), 1) == [0, 1, 2]


def test_an_lmdb_is_read_where_nothing_may_be_written(tmp_path):
    write_lmdb(tmp_path / "db", numbered(3))
    (tmp_path / "db" / "lock.mdb").unlink()
    before = sorted(path.name for path in (tmp_path / "db").iterdir())
    labels(opened(tmp_path), 3)
    assert sorted(path.name for path in (tmp_path / "db").iterdir()) == before == ["data.mdb"]


def test_a_database_written_anew_is_read_anew(tmp_path):
    write_lmdb(tmp_path / "db", numbered(3))
    assert labels(opened(tmp_path, batch=3), 1) == [0, 1, 2]
    shutil.rmtree(tmp_path / "db")
    write_lmdb(tmp_path / "db", numbered(5)[3:])
    assert labels(opened(tmp_path, batch=3), 1) == [3, 4, 3]


def test_a_missing_database_is_refused_with_the_folders_searched(tmp_path):
    for source in ("db", ""):
        with refused("file-missing", layer="feed", field="data_param.source", value=source, hint="looked in"):
            opened(tmp_path, source=source)


@pytest.mark.parametrize(("actual", "declared"), [("LMDB", "LEVELDB"), ("LEVELDB", "LMDB")])
def test_the_other_kind_of_database_is_recognised(tmp_path, actual, declared):
    BACKENDS[actual](tmp_path / "db", numbered(3))
    with refused("wrong-format", file=tmp_path / "db", hint=f"backend: {actual}"):
        opened(tmp_path, backend=declared)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_database_is_refused(tmp_path, backend):
    BACKENDS[backend](tmp_path / "db", [])
    with refused("empty", file=tmp_path / "db", layer="feed"):
        opened(tmp_path, backend=backend)


def test_a_truncated_database_is_refused(tmp_path):
    write_lmdb(tmp_path / "db", [datum(p) for p in pictures(20, (3, 30, 30))])
    content = (tmp_path / "db" / "data.mdb").read_bytes()
    (tmp_path / "db" / "data.mdb").write_bytes(content[: len(content) // 2])
    with refused("damaged-file", file=tmp_path / "db", layer="feed") as failure:
        opened(tmp_path)
    assert f"{len(content) // 2} bytes" in failure.value.problem


def test_a_record_longer_than_the_file_is_refused(tmp_path):
    write_lmdb(tmp_path / "db", numbered(3))
    content = bytearray((tmp_path / "db" / "data.mdb").read_bytes())
    # The eight bytes before a key are its node's header: the length of the value in two halves, flags, length of the key.
    key = content.index(b"00000001")
    content[key - 6 : key - 4] = b"\xff\x7f"
    (tmp_path / "db" / "data.mdb").write_bytes(content)
    with refused("damaged-file", file=tmp_path / "db", layer="feed"):
        opened(tmp_path).next()


@pytest.mark.parametrize("content", [b"", b"hello", bytes(8192), b"\xff" * 20000])
def test_files_that_are_not_lmdb_are_refused(tmp_path, content):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "data.mdb").write_bytes(content)
    with pytest.raises(DataError) as caught:
        opened(tmp_path).next()
    assert caught.value.code in ("wrong-format", "damaged-file")
    assert caught.value.file == str(tmp_path / "db")


def test_a_folder_without_a_database_is_refused(tmp_path):
    (tmp_path / "db").mkdir()
    for backend in BACKENDS:
        with refused("wrong-format", file=tmp_path / "db"):
            opened(tmp_path, backend=backend)


@pytest.mark.parametrize(("backend", "package"), [("LMDB", "lmdb"), ("LEVELDB", "plyvel")])
def test_the_error_about_a_missing_package_has_the_command_to_install_it(tmp_path, monkeypatch, backend, package):
    BACKENDS[backend](tmp_path / "db", numbered(3))
    monkeypatch.setitem(sys.modules, package, None)
    with refused("dependency-missing", hint=f'pip install "caffe-compat[{backend.lower()}]"'):
        opened(tmp_path, backend=backend)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b"\x08\x03\x22\xff\xff\xff\x0fabc", "damaged-file"),
        (pb.Datum(channels=3, height=2, width=2, data=b"12345"), "wrong-count"),
        (pb.Datum(data=b"1234"), "out-of-range"),
        (pb.Datum(channels=-1, height=2, width=2, data=b"1234"), "out-of-range"),
        (pb.Datum(channels=1, height=2, width=2), "wrong-count"),
        (pb.Datum(channels=1, height=2, width=2, data=b"\xff\xd8\xff"), "wrong-count"),
        (pb.Datum(data=b"\xff\xd8\xff", encoded=True), "damaged-file"),
        (pb.Datum(data=b"", encoded=True), "damaged-file"),
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused_with_its_key(tmp_path, record, code):
    write_lmdb(tmp_path / "db", [*numbered(2), record])
    with refused(code, file=tmp_path / "db", layer="feed") as failure:
        opened(tmp_path).next()
    assert "record '00000002'" in failure.value.problem


def test_an_image_of_16_bits_is_refused(tmp_path):
    import cv2

    coded = cv2.imencode(".png", np.zeros((3, 3), np.uint16))[1].tobytes()
    write_lmdb(tmp_path / "db", [pb.Datum(data=coded, encoded=True)])
    with refused("wrong-type"):
        opened(tmp_path)


def test_invalid_definitions_are_refused(tmp_path):
    write_lmdb(tmp_path / "db", numbered(2))
    with refused("out-of-range", field="data_param.batch_size", value=0):
        opened(tmp_path, batch=0)
    for tops in (["a", "b", "c"], []):
        with refused("wrong-count", field="top", value=tops):
            opened(tmp_path, tops=tops)


def test_a_corrupted_record_gives_an_error_or_a_batch(tmp_path):
    record = datum(pictures(1, (3, 8, 8))[0], 7).SerializeToString()
    rng = np.random.default_rng(0)
    records = []
    for _ in range(200):
        damaged = bytearray(record[: rng.integers(1, 2 * len(record))])
        for place in rng.integers(0, min(len(damaged), 12), 2):
            damaged[place] = rng.integers(256)
        records.append(bytes(damaged))
    write_lmdb(tmp_path / "db", [record, *records])
    source = opened(tmp_path, batch=1)
    refusals = 0
    for number in range(len(records) + 1):
        try:
            source.next()
        except DataError as error:
            refusals += f"record '{number:08d}'" in error.problem
    assert refusals > 50
