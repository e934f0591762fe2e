"""HDF5Data: rows, batches, files and shuffles as Caffe's layer gives them."""

import gc

import h5py
import numpy as np
import pytest
import torch

from caffe_compat.data import CRand, ahead, open_layers, open_source, open_sources
from caffe_compat.data.c_random import shuffle
from caffe_compat.data.hdf5 import HDF5Source
from caffe_compat.errors import DataError
from caffe_compat.schema import caffe_pb2
from tests.refusals import refused


def write(path, rows, *, first=0, **extra):
    data = np.arange(first, first + rows, dtype="f4")[:, None, None, None] + np.zeros((1, 1, 2, 3), "f4")
    with h5py.File(path, "w") as file:
        file["data"] = data
        file["label"] = -np.arange(first, first + rows, dtype="f4")[:, None]
        for name, value in extra.items():
            file[name] = value


def layer(source="list.txt", batch=4, tops=("data", "label"), shuffled=False):
    message = caffe_pb2.LayerParameter(name="feed", type="HDF5Data", top=tops)
    message.hdf5_data_param.source = str(source)
    message.hdf5_data_param.batch_size = batch
    message.hdf5_data_param.shuffle = shuffled
    return message


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "a.h5", 5)
    write(tmp_path / "b.h5", 3, first=5)
    (tmp_path / "list.txt").write_text("a.h5\nb.h5\n")
    return tmp_path


def opened(folder, rng=None, **kwargs):
    return open_source(layer(**kwargs), base_dir=folder, rng=rng or CRand())


def taken(source, batches):
    actual = []
    for _ in range(batches):
        batch = source.next()
        actual += batch["data"][:, 0, 0, 0].int().tolist()
        assert torch.equal(batch["label"][:, 0], -batch["data"][:, 0, 1, 2])
    return actual


def rows_as_caffe_takes_them(counts, total, *, shuffled, rng):
    """Row by row, as the layer's Next(): a list of (file, row)."""
    order, current, row = np.arange(len(counts)), 0, 0
    if shuffled:
        shuffle(order, rng)

    def load():
        rows = np.arange(counts[order[current]])
        if shuffled:
            shuffle(rows, rng)
        return rows

    rows, actual = load(), []
    for _ in range(total):
        actual.append((int(order[current]), int(rows[row])))
        row += 1
        if row == counts[order[current]]:
            if len(counts) > 1:
                current += 1
                if current == len(counts):
                    current = 0
                    if shuffled:
                        shuffle(order, rng)
                rows = load()
            row = 0
            if shuffled:
                shuffle(rows, rng)
    return actual


def test_rows_go_on_from_file_to_file_and_around(folder):
    source = opened(folder)
    assert source.tops == ("data", "label")
    assert source.shapes == {"data": (4, 1, 2, 3), "label": (4, 1)}
    assert taken(source, 4) == [*range(8), *range(8)]
    taken(source, 1)
    source.reset()
    assert taken(source, 1) == [0, 1, 2, 3]
    assert taken(opened(folder, batch=19), 1) == [*range(8), *range(8), 0, 1, 2]


def test_batches_are_float32_tensors_of_their_own(folder):
    source = opened(folder, batch=8)
    first = source.next()
    first["data"].zero_()
    again = source.next()
    assert again["data"].dtype == torch.float32
    assert again["data"][:, 0, 0, 0].tolist() == [*range(8)]


@pytest.mark.parametrize("counts", [(7,), (5, 3), (4, 1, 6)])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_order_is_caffes_row_for_row(tmp_path, counts, shuffled, cache_bytes):
    firsts = np.cumsum([0, *counts])
    for number, count in enumerate(counts):
        write(tmp_path / f"{number}.h5", count, first=int(firsts[number]))
    (tmp_path / "list.txt").write_text(" ".join(f"{number}.h5" for number in range(len(counts))))
    rng = CRand()
    source = HDF5Source(layer(batch=3, shuffled=shuffled), base_dir=tmp_path, rng=rng, cache_bytes=cache_bytes)
    expected = rows_as_caffe_takes_them(counts, 60, shuffled=shuffled, rng=CRand())
    assert taken(source, 20) == [int(firsts[file]) + row for file, row in expected]


def test_shuffled_sources_of_one_run_share_the_random_stream(folder):
    net = caffe_pb2.NetParameter(layer=[layer(shuffled=True), layer(shuffled=True)])
    first, second = open_sources(net, base_dir=folder)
    assert taken(first, 2) != taken(second, 2)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "u1", "i4", "i8"])
@pytest.mark.parametrize("shape", [(2, 2), (4,)])
@pytest.mark.parametrize("storage", [{}, {"chunks": True, "compression": "gzip"}])
def test_float_and_integer_datasets_are_read_as_float32(tmp_path, dtype, shape, storage):
    values = np.array([0, 1, 100, 3], dtype).reshape(shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, **storage)
    (tmp_path / "list.txt").write_text("a.h5")
    source = opened(tmp_path, batch=2, tops=["x"])
    actual = source.next()["x"]
    assert actual.shape == source.shapes["x"] == (2, *shape[1:])
    assert actual.dtype == torch.float32
    assert actual.tolist() == values[:2].tolist()


def test_batches_are_made_ahead_unless_shuffled_sources_take_turns_on_the_random_stream(folder):
    assert opened(folder).prefetch == 2
    assert opened(folder, shuffled=True).prefetch == 0
    source = ahead(opened(folder))
    assert taken(source, 2) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert source.cursor()["place"].tolist() == [0, 0, 5]
    source.close()


def test_names_are_looked_up_in_the_working_directory_then_beside_the_file_that_has_them(folder, monkeypatch):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    assert taken(opened(folder), 1) == [0, 1, 2, 3]
    monkeypatch.chdir(elsewhere)
    write(elsewhere / "a.h5", 4, first=100)
    assert taken(opened(folder), 2) == [100, 101, 102, 103, 5, 6, 7, 100]
    (elsewhere / "list.txt").write_text(str(folder / "b.h5"))
    assert taken(opened(folder, batch=3), 1) == [5, 6, 7]


def test_names_that_begin_with_a_dot_are_looked_up_beside_the_list_first(folder, monkeypatch):
    spaced = folder / "a folder with blanks"
    spaced.mkdir()
    (folder / "b.h5").rename(spaced / "b.h5")
    (spaced / "list.txt").write_text("./b.h5\n../a.h5\n")
    monkeypatch.chdir(folder)
    write(folder / "b.h5", 4, first=100)  # which genuine Caffe would take here
    source = opened(folder, source=str(spaced / "list.txt"), batch=3)
    assert [path.resolve() for path in source.files] == [spaced / "b.h5", folder / "a.h5"]
    (spaced / "b.h5").unlink()
    assert opened(folder, source=str(spaced / "list.txt")).files[0].resolve() == folder / "b.h5"


def test_a_name_with_a_blank_needs_quotes_and_the_error_says_so(folder):
    (folder / "my data.h5").write_bytes((folder / "a.h5").read_bytes())
    (folder / "list.txt").write_text(f"{folder / 'my data.h5'}\n")
    with refused("file-missing", file="list.txt", hint=f'"{folder / "my data.h5"}"'):
        opened(folder)
    (folder / "list.txt").write_text(f'"{folder / "my data.h5"}" b.h5')
    assert [path.name for path in opened(folder).files] == ["my data.h5", "b.h5"]


SOURCE = {"layer": "feed", "field": "hdf5_data_param.source"}


@pytest.mark.parametrize(
    ("files", "fields", "code", "expected"),
    [
        ({}, {"source": "PATH/TO/train.txt"}, "file-missing", SOURCE | {"value": "PATH/TO/train.txt", "hint": "looked in"}),
        ({}, {"source": ""}, "file-missing", SOURCE | {"value": "", "hint": "looked in"}),
        ({}, {"source": "."}, "file-missing", SOURCE | {"value": ".", "hint": "looked in"}),
        ({}, {"source": "a.h5"}, "wrong-format", SOURCE | {"value": "a.h5"}),
        ({"list.txt": b" \n\n"}, {}, "empty", SOURCE),
        ({"list.txt": b"a.h5\ngone.h5"}, {}, "file-missing", {"file": "list.txt", "value": "gone.h5", "hint": "looked in"}),
        ({"a.h5": b"hello"}, {}, "damaged-file", {"file": "a.h5"}),
        ({"a.h5": 0.5}, {}, "damaged-file", {"file": "a.h5"}),
        ({}, {"tops": ["data", "labels"]}, "name-unknown", {"file": "a.h5", "value": "labels", "hint": "did you mean 'label'?"}),
        ({}, {"tops": ["zzz"]}, "name-unknown", {"file": "a.h5", "value": "zzz", "hint": "data, label"}),
        ({}, {"tops": []}, "wrong-count", {"field": "top"}),
        ({}, {"batch": 0}, "out-of-range", {"field": "hdf5_data_param.batch_size", "value": 0}),
    ],
)  # fmt: skip
def test_lists_files_and_definitions_that_cannot_be_read_are_refused_before_any_row(
    folder, files, fields, code, expected
):
    for name, content in files.items():
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * content)] if isinstance(content, float) else content)
    with refused(code, **expected):
        opened(folder, **fields)


def test_a_transformation_is_refused(folder):
    message = layer()
    message.transform_param.scale = 2
    with refused("unsupported", field="transform_param"):
        open_source(message, base_dir=folder, rng=CRand())


def test_different_numbers_of_rows_are_refused(folder):
    write(folder / "a.h5", 5, more=np.zeros((4, 2)))
    with refused("wrong-count", file="a.h5") as failure:
        opened(folder, tops=["data", "more"])
    assert "data 5, more 4" in failure.value.problem


def test_damaged_rows_are_refused(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("data", data=np.zeros((9, 9)), chunks=(3, 9), compression="gzip", fletcher32=True)
    with h5py.File(folder / "a.h5") as file:
        chunk = file["data"].id.get_chunk_info(1)
    content = bytearray((folder / "a.h5").read_bytes())
    content[chunk.byte_offset + 3] ^= 255
    (folder / "a.h5").write_bytes(content)
    with refused("damaged-file", file="a.h5", value="data"):
        opened(folder, tops=["data"]).next()


@pytest.mark.parametrize(
    ("content", "code", "value"),
    [
        (np.float32(3), "shape-mismatch", "odd"),
        (np.array([True, False]), "wrong-type", "odd"),
        (np.array([b"a", b"b"]), "wrong-type", "odd"),
        (None, "wrong-type", "odd"),
        (np.zeros((0, 3)), "empty", None),
    ],
)
def test_datasets_without_rows_of_numbers_and_groups_are_refused(folder, content, code, value):
    with h5py.File(folder / "a.h5", "a") as file:
        if content is None:
            file.create_group("odd")
        else:
            file["odd"] = content
    with refused(code, file="a.h5", value=value):
        opened(folder, tops=["odd"])


def test_rows_of_another_shape_in_a_later_file_are_refused(folder):
    with h5py.File(folder / "b.h5", "w") as file:
        file["data"] = np.zeros((3, 1, 3, 2))
        file["label"] = np.zeros((3, 1))
    source = opened(folder)
    with refused("shape-mismatch", file="b.h5", value="data"):
        taken(source, 2)


def test_unsupported_data_layers_are_refused_by_name_and_all_together():
    layers = [caffe_pb2.LayerParameter(name=name, type="TapeData", top=["data"]) for name in ("one", "two")]
    with refused("unsupported", layer="one", field="type", value="TapeData"):
        open_layers(layers[:1])
    with refused("several") as failure:
        open_layers(layers)
    assert [problem.layer for problem in failure.value.problems] == ["one", "two"]


def test_input_layers_have_no_source():
    net = caffe_pb2.NetParameter()
    net.layer.add(name="in", type="Input", top=["data"])
    assert open_sources(net) == []


@pytest.mark.parametrize("storage", [{}, {"chunks": (2, 4), "compression": "gzip"}])
def test_corrupted_bytes_give_an_error_or_a_batch(tmp_path, storage):
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_dataset("data", data=np.ones((9, 4)), **storage)
    (tmp_path / "list.txt").write_text("a.h5")
    content = (tmp_path / "whole.h5").read_bytes()
    random = np.random.default_rng(0)
    refusals = 0
    for _ in range(300):
        damaged = bytearray(content[: random.integers(1, 2 * len(content))])
        for place in random.integers(0, min(len(damaged), 2000), 3):
            damaged[place] = random.integers(256)
        (tmp_path / "a.h5").write_bytes(damaged)
        try:
            batch = opened(tmp_path, tops=["data"]).next()
        except DataError as error:
            refusals += error.file == str(tmp_path / "a.h5")
        else:
            assert batch["data"].shape[0] == 4
    assert refusals > 100


def test_no_object_of_hdf5_outlives_a_call(folder):
    """What is alive when the interpreter ends may wait for h5py's lock for good."""

    def alive():
        return [item for item in gc.get_objects() if issubclass(type(item), h5py.HLObject)]

    gc.collect()
    before = len(alive())
    for cache_bytes in (0, 1 << 20):
        source = HDF5Source(layer(), base_dir=folder, rng=CRand(), cache_bytes=cache_bytes)
        assert len(alive()) == before
        assert taken(source, 2) == list(range(8))
        assert len(alive()) == before
