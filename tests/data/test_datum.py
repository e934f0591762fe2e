"""Data: records of LMDB and LevelDB in their order, and what is wrong with a database told by name and key."""

import shutil
import sys

import numpy as np
import pytest

from caffe_compat.data import CRand, open_source
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import datum, numbered, pictures, write_leveldb, write_lmdb

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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_may_hold_more_than_all_records(tmp_path, backend):
    BACKENDS[backend](tmp_path / "db", numbered(2))
    assert labels(opened(tmp_path, backend=backend, batch=5), 2) == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_layers_read_one_database_independently(tmp_path, backend):
    BACKENDS[backend](tmp_path / "db", numbered(9))
    one, two = (opened(tmp_path, backend=backend, batch=2) for _ in range(2))
    assert labels(one, 3) == [0, 1, 2, 3, 4, 5]
    assert labels(two, 1) == [0, 1]
    assert labels(one, 1) == [6, 7]


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
    for part in (
        {"key": np.array([1, 2])},
        {"key": np.arange(0)},
        {"random": np.zeros(625, np.int64)},
        {"entries": np.array([5])},
    ):
        assert not other.fits(cursor | part)
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


def problem(folder, **fields):
    with pytest.raises(DataError) as caught:
        opened(folder, **fields).next()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_database_is_named_with_where_it_was_looked_for(tmp_path):
    assert problem(tmp_path).startswith("layer 'feed': data_param.source = 'db': no such database (looked in ")
    assert "data_param.source = '': no such database" in problem(tmp_path, source="")


@pytest.mark.parametrize(("made", "asked"), [("LMDB", "LEVELDB"), ("LEVELDB", "LMDB")])
def test_the_other_kind_of_database_is_recognised(tmp_path, made, asked):
    BACKENDS[made](tmp_path / "db", numbered(3))
    assert problem(tmp_path, backend=asked).endswith(f"(it looks like the other kind: backend: {made})")


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_database_is_refused(tmp_path, backend):
    BACKENDS[backend](tmp_path / "db", [])
    assert problem(tmp_path, backend=backend) == f"{tmp_path / 'db'}: layer 'feed': the database is empty"


def test_a_database_cut_short_is_refused_before_a_page_is_missed(tmp_path):
    write_lmdb(tmp_path / "db", [datum(p) for p in pictures(20, (3, 30, 30))])
    content = (tmp_path / "db" / "data.mdb").read_bytes()
    (tmp_path / "db" / "data.mdb").write_bytes(content[: len(content) // 2])
    text = problem(tmp_path)
    assert f"{tmp_path / 'db'}: layer 'feed': the database is cut short: {len(content) // 2} of " in text


def test_a_record_longer_than_the_file_is_refused(tmp_path):
    write_lmdb(tmp_path / "db", numbered(3))
    content = bytearray((tmp_path / "db" / "data.mdb").read_bytes())
    # The eight bytes before a key are its node's header: the length of the value in two halves, flags, length of the key.
    key = content.index(b"00000001")
    content[key - 6 : key - 4] = b"\xff\x7f"
    (tmp_path / "db" / "data.mdb").write_bytes(content)
    assert f"{tmp_path / 'db'}: layer 'feed': cannot be read: " in problem(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(8192), b"\xff" * 20000])
def test_what_is_no_lmdb_is_refused(tmp_path, content):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "data.mdb").write_bytes(content)
    assert f"{tmp_path / 'db'}: layer 'feed': cannot be read as LMDB: " in problem(tmp_path)


def test_a_folder_without_a_database_is_refused(tmp_path):
    (tmp_path / "db").mkdir()
    assert "cannot be read as LMDB" in problem(tmp_path)
    assert "is no LevelDB: it has no file CURRENT" in problem(tmp_path, backend="LEVELDB")


@pytest.mark.parametrize(("backend", "package"), [("LMDB", "lmdb"), ("LEVELDB", "plyvel")])
def test_a_missing_package_is_named_with_what_installs_it(tmp_path, monkeypatch, backend, package):
    BACKENDS[backend](tmp_path / "db", numbered(3))
    monkeypatch.setitem(sys.modules, package, None)
    assert problem(tmp_path, backend=backend).endswith(
        f'reading it needs the package {package} (pip install "caffe-compat[{backend.lower()}]")'
    )


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (b"\x08\x03\x22\xff\xff\xff\x0fabc", "record '00000002': its 10 bytes are no Datum"),
        (pb.Datum(channels=3, height=2, width=2, data=b"12345"), "it holds 5 values where 3 x 2 x 2 are 12"),
        (pb.Datum(data=b"1234"), "record '00000002': it says that it is 0 x 0 x 0"),
        (pb.Datum(channels=-1, height=2, width=2, data=b"1234"), "it says that it is -1 x 2 x 2"),
        (pb.Datum(channels=1, height=2, width=2), "it holds 0 values where 1 x 2 x 2 are 4"),
        (pb.Datum(channels=1, height=2, width=2, data=b"\xff\xd8\xff"), "a coded picture without `encoded: true`"),
        (pb.Datum(data=b"\xff\xd8\xff", encoded=True), "record '00000002': OpenCV cannot decode it"),
        (pb.Datum(data=b"", encoded=True), "record '00000002': OpenCV cannot decode it"),
    ],
)  # fmt: skip
def test_a_damaged_record_is_named_by_its_key(tmp_path, record, told):
    write_lmdb(tmp_path / "db", [*numbered(2), record])
    text = problem(tmp_path)
    assert text.startswith(f"{tmp_path / 'db'}: layer 'feed': record '00000002': ")
    assert told in text


def test_a_picture_of_16_bits_is_refused(tmp_path):
    import cv2

    coded = cv2.imencode(".png", np.zeros((3, 3), np.uint16))[1].tobytes()
    write_lmdb(tmp_path / "db", [pb.Datum(data=coded, encoded=True)])
    assert "its values are uint16, not bytes" in problem(tmp_path)


def test_definitions_that_make_no_sense_are_refused(tmp_path):
    write_lmdb(tmp_path / "db", numbered(2))
    assert "data_param.batch_size = 0: must be at least 1" in problem(tmp_path, batch=0)
    assert "Data makes 1 to 2 tops" in problem(tmp_path, tops=["a", "b", "c"])
    assert "Data makes 1 to 2 tops" in problem(tmp_path, tops=[])


def test_whatever_happened_to_a_record_there_is_one_error_or_a_batch(tmp_path):
    whole = datum(pictures(1, (3, 8, 8))[0], 7).SerializeToString()
    rng = np.random.default_rng(0)
    records = []
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(1, 2 * len(whole))])
        for place in rng.integers(0, min(len(damaged), 12), 2):
            damaged[place] = rng.integers(256)
        records.append(bytes(damaged))
    write_lmdb(tmp_path / "db", [whole, *records])
    source = opened(tmp_path, batch=1)
    refused = 0
    for number in range(len(records) + 1):
        try:
            source.next()
        except DataError as error:
            refused += f"record '{number:08d}'" in str(error)
    assert refused > 50
