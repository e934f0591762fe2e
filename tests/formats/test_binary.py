"""caffemodel, binaryproto and solverstate files are read and written byte for byte, values as arrays."""

import shutil
import struct

import numpy as np
import pytest

from caffe_compat.formats import files
from caffe_compat.formats.blobs import SIZE_LIMIT
from caffe_compat.formats.files import BlobStore, blob_shape, read_binary, write_binary
from caffe_compat.schema.caffe_pb2 import BlobProto, BlobProtoVector, NetParameter, SolverState
from tests.refusals import refused


def tag(number, wire):
    return varint(number << 3 | wire)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def sized(number, content):
    return tag(number, 2) + varint(len(content)) + content


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def doubles(*values):
    return struct.pack(f"<{len(values)}d", *values)


SHAPE3 = sized(7, sized(1, b"\x03"))


def blob_of(content, tmp_path):
    (tmp_path / "blob").write_bytes(content)
    return read_binary(tmp_path / "blob", BlobProto)


def refuse(content, tmp_path, code="damaged-file", **fields):
    """Expect read_binary to refuse a net with this content; return the problem."""
    (tmp_path / "bad").write_bytes(content)
    with refused(code, file="bad", **fields) as caught:
        read_binary(tmp_path / "bad", NetParameter)
    return caught.value.problem


def test_values_of_a_recorded_caffemodel_equal_protobufs(golden):
    path = golden / "files/sgd_fixed_snap_iter_10.caffemodel"
    expected = NetParameter.FromString(path.read_bytes())
    net, store = read_binary(path, NetParameter)
    assert [layer.name for layer in net.layer] == [layer.name for layer in expected.layer]
    count = 0
    for layer, expected_layer in zip(net.layer, expected.layer, strict=True):
        for blob, other in zip(layer.blobs, expected_layer.blobs, strict=True):
            assert not blob.data
            array = store.data(blob)
            assert array.shape == tuple(other.shape.dim)
            assert array.dtype == np.float32
            assert array.flags.writeable
            assert array.flags.aligned
            np.testing.assert_array_equal(array.ravel(), np.array(other.data, np.float32))
            assert store.diff(blob) is None
            count += 1
    assert count == len(store) == 4


@pytest.mark.parametrize(
    ("name", "cls"),
    [("sgd_fixed_snap_iter_10.caffemodel", NetParameter), ("sgd_fixed_snap_iter_10.solverstate", SolverState)],
)
def test_written_files_equal_caffes(golden, tmp_path, name, cls):
    message, store = read_binary(golden / "files" / name, cls)
    write_binary(message, tmp_path / name, store)
    assert (tmp_path / name).read_bytes() == (golden / "files" / name).read_bytes()


def test_every_recorded_file_is_written_back_byte_for_byte(golden, nets, tmp_path):
    files = [*golden.rglob("*"), *nets.iterdir()]
    paths = [path for path in files if path.suffix in (".caffemodel", ".solverstate")]
    assert len(paths) > 100
    for path in paths:
        message, store = read_binary(path, SolverState if path.suffix == ".solverstate" else NetParameter)
        write_binary(message, tmp_path / "again", store)
        assert (tmp_path / "again").read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    "content",
    [
        SHAPE3 + sized(5, floats(1, 2, 3)),
        sized(5, floats(1, 2, 3)) + SHAPE3,
        SHAPE3 + sized(5, floats(1)) + sized(5, b"") + sized(5, floats(2, 3)),
        b"".join(tag(5, 5) + floats(v) for v in (1, 2, 3)) + SHAPE3,
        tag(5, 5) + floats(1) + SHAPE3 + tag(5, 5) + floats(2) + sized(5, floats(3)),
        sized(7, sized(1, b"\x03")) + sized(8, doubles(1, 2, 3)),
        b"".join(tag(8, 1) + doubles(v) for v in (1, 2, 3)) + SHAPE3,
        sized(7, tag(1, 0) + b"\x03") + sized(5, floats(1, 2, 3)),
    ],
)
def test_every_encoding_of_the_values_is_read(content, tmp_path):
    blob, store = blob_of(content, tmp_path)
    np.testing.assert_array_equal(store.data(blob), [1, 2, 3])
    assert store.data(blob).dtype == (np.float64 if tag(8, 2) in content or tag(8, 1) in content else np.float32)
    plain = BlobProto.FromString(content)
    np.testing.assert_array_equal(store.data(blob), plain.double_data or plain.data)


def test_many_tagged_values_are_read(tmp_path):
    values = np.arange(700_001, dtype=np.float32)
    records = np.empty(values.size, [("tag", "u1"), ("value", "<f4")])
    records["tag"], records["value"] = 0x2D, values
    blob, store = blob_of(sized(7, sized(1, varint(values.size))) + records.tobytes() + sized(6, b""), tmp_path)
    np.testing.assert_array_equal(store.data(blob), values)


def test_doubles_take_precedence_over_floats_as_in_caffe(tmp_path):
    blob, store = blob_of(SHAPE3 + sized(5, floats(9, 9)) + sized(8, doubles(1, 2, 3)), tmp_path)
    np.testing.assert_array_equal(store.data(blob), [1, 2, 3])


def test_diffs_are_read_and_written(tmp_path):
    store, blob = BlobStore(), BlobProto()
    store.attach(blob, np.ones((2, 3)), np.full((2, 3), 2.0))
    write_binary(blob, tmp_path / "b", store)
    assert (tmp_path / "b").read_bytes() == BlobProto(
        shape={"dim": [2, 3]}, double_data=[1] * 6, double_diff=[2] * 6
    ).SerializeToString()
    again, store = read_binary(tmp_path / "b", BlobProto)
    assert store.diff(again).tolist() == [[2, 2, 2], [2, 2, 2]]
    assert store.data(again).dtype == np.float64


def test_all_four_fields_of_values_are_written_in_the_order_of_their_numbers(tmp_path):
    content = BlobProto(shape={"dim": [1]}, data=[1], diff=[2], double_data=[3], double_diff=[4]).SerializeToString()
    blob, store = blob_of(content, tmp_path)
    write_binary(blob, tmp_path / "again", store)
    assert (tmp_path / "again").read_bytes() == content


def test_legacy_extents_give_the_shape(tmp_path):
    content = BlobProto(num=1, channels=1, height=2, width=3, data=range(6)).SerializeToString()
    blob, store = blob_of(content, tmp_path)
    assert blob_shape(blob) == (1, 1, 2, 3) == store.data(blob).shape
    write_binary(blob, tmp_path / "again", store)
    assert (tmp_path / "again").read_bytes() == content


def test_arrays_can_be_given_the_legacy_shape():
    store, blob = BlobStore(), BlobProto()
    store.attach(blob, np.arange(6, dtype=np.int64).reshape(2, 3), legacy_shape=True)
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 1, 2, 3)
    assert not blob.HasField("shape")
    assert store.data(blob).dtype == np.float32
    with refused("unsupported", field="shape"):
        store.attach(blob, np.ones((1, 1, 1, 1, 1)), legacy_shape=True)


def test_attaching_again_replaces_shape_and_values(tmp_path):
    store, blob = BlobStore(), BlobProto(num=3, data=[1, 2, 3])
    assert store.data(BlobProto(shape={"dim": [3]}, data=[1, 2, 3])).tolist() == [1, 2, 3]
    store.attach(blob, np.zeros((2, 2)), np.zeros((2, 2)))
    store.attach(blob, np.float32(7))
    assert store.data(blob).shape == ()
    assert store.diff(blob) is None
    write_binary(blob, tmp_path / "b", store)
    assert BlobProto.FromString((tmp_path / "b").read_bytes()) == BlobProto(data=[7], shape={})


def test_views_and_other_memory_orders_are_written_by_value(tmp_path):
    array = np.arange(12, dtype=">f4").reshape(3, 4).T[::2]
    store, blob = BlobStore(), BlobProto()
    store.attach(blob, array)
    write_binary(blob, tmp_path / "b", store)
    again, store = read_binary(tmp_path / "b", BlobProto)
    np.testing.assert_array_equal(store.data(again), array)


def test_copies_and_serialised_messages_refer_to_the_same_arrays():
    store, net = BlobStore(), NetParameter()
    array = np.ones(3, np.float32)
    store.attach(net.layer.add().blobs.add(), array)
    for copy in (NetParameter.FromString(net.SerializeToString()), NetParameter(layer=net.layer)):
        assert np.shares_memory(store.data(copy.layer[0].blobs[0]), array)


def test_another_store_is_refused_until_it_is_updated(tmp_path):
    store, blob = BlobStore(), BlobProto()
    store.attach(blob, [1.0, 2.0])
    other = BlobStore()
    with refused("mismatch"):
        other.data(blob)
    for wrong in (None, other):
        with refused("mismatch", hint="pass the store"):
            write_binary(blob, tmp_path / "b", wrong)
    assert list(tmp_path.iterdir()) == []
    other.update(store)
    assert other.data(blob).tolist() == [1, 2]


def test_a_reference_inside_a_file_is_ignored(tmp_path):
    store, blob = BlobStore(), BlobProto()
    store.attach(blob, [1.0, 2.0])
    (tmp_path / "b").write_bytes(blob.SerializeToString())
    again, store = read_binary(tmp_path / "b", BlobProto)
    with refused("shape-mismatch", field="shape", value=(2,)):
        store.data(again)


def test_several_blobs_in_one_file_are_read(tmp_path):
    store, many = BlobStore(), BlobProtoVector()
    for n in (1, 2, 0):
        store.attach(many.blobs.add(), np.full(n, n, np.float32))
    write_binary(many, tmp_path / "v", store)
    again, store = read_binary(tmp_path / "v", BlobProtoVector)
    assert [store.data(b).tolist() for b in again.blobs] == [[1], [2, 2], []]


def test_blobs_of_v0_and_v1_nets_are_read(tmp_path):
    net = NetParameter()
    net.layers.add(name="v1").blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    net.layers.add().layer.blobs.add(num=1, channels=1, height=1, width=1, data=[3])
    (tmp_path / "old").write_bytes(net.SerializeToString())
    again, store = read_binary(tmp_path / "old", NetParameter)
    assert store.data(again.layers[0].blobs[0]).ravel().tolist() == [1, 2]
    assert store.data(again.layers[1].layer.blobs[0]).ravel().tolist() == [3]


NET = sized(1, b"n") + sized(100, sized(1, b"conv1") + sized(7, SHAPE3 + sized(5, floats(1, 2, 3))))


def test_every_truncation_is_an_error_with_its_byte_and_field(tmp_path):
    for size in range(1, len(NET)):
        if size != 3:  # after the name: a complete message
            assert "byte " in refuse(NET[:size], tmp_path), size
    assert refuse(NET[:-1], tmp_path, field="layer[0]").startswith("byte 5: ")


@pytest.mark.parametrize(
    ("content", "byte", "field"),
    [
        (sized(100, sized(7, sized(5, b"12345"))), 7, "layer[0].blobs[0]"),
        (sized(100, sized(7, SHAPE3 + sized(5, floats(1)))), 5, "layer[0].blobs[0]"),
        (sized(100, sized(7, sized(7, sized(1, varint(2**64 - 1))) + sized(5, floats(1)))), 5, "layer[0].blobs[0]"),
        (sized(100, sized(7, sized(7, sized(1, varint(2**62) * 2)) + sized(5, floats(1)))), 5, "layer[0].blobs[0]"),
        (sized(100, sized(1, b"\xff")), 3, "layer[0].name"),
        (sized(100, sized(1, b"a") + tag(0, 0) + b"\1"), 6, "layer[0]"),
        (sized(100, sized(7, tag(5, 5) + b"123")), 6, "layer[0].blobs[0]"),
        (sized(100, sized(7, sized(7, sized(1, b"\x80")))), 7, "layer[0].blobs[0].shape.dim"),
        (tag(3000, 4), 3, None),
        (tag(3000, 3) * 200, 306, None),
        (b"\x0a" + b"\xff" * 11, 1, "name"),
        (sized(1, b"a") + b"\xff" * 12, 3, None),
    ],
)  # fmt: skip
def test_a_malformed_file_is_an_error_with_its_byte_and_field(content, byte, field, tmp_path):
    assert refuse(content, tmp_path, field=field).startswith(f"byte {byte}: ")


def test_a_message_without_a_required_field_is_refused(tmp_path):
    problem = refuse(sized(100, sized(148, tag(1, 5) + floats(1))), tmp_path, "field-missing")
    assert "layer[0].clip_param.max" in problem


def test_a_message_of_another_type_is_refused_with_a_hint(tmp_path):
    refuse(tag(1, 0) + b"\x05" + tag(3, 0) + b"\x05", tmp_path, "wrong-format", hint="a solverstate")


def test_memory_is_not_allocated_for_declared_but_missing_values(tmp_path, monkeypatch):
    shapes = []
    empty = np.empty
    monkeypatch.setattr(np, "empty", lambda shape, *a, **k: shapes.append(shape) or empty(shape, *a, **k))
    refuse(sized(100, sized(7, sized(7, sized(1, varint(2**40))) + tag(5, 2) + varint(2**42))), tmp_path)
    refuse(sized(100, sized(7, sized(7, sized(1, varint(2**40))) + sized(5, floats(1)))), tmp_path)
    assert max(shapes, default=0) <= 1


def test_a_message_larger_than_protobufs_limit_is_refused_before_writing(tmp_path, monkeypatch):
    store, net = BlobStore(), NetParameter()
    store.attach(net.layer.add().blobs.add(), np.zeros(100))
    size = write_binary(net, tmp_path / "fits", store) or (tmp_path / "fits").stat().st_size
    monkeypatch.setattr(files, "SIZE_LIMIT", size - 1)
    with refused("too-large", file="huge", hint="HDF5"):
        write_binary(net, tmp_path / "huge", store)
    assert [p.name for p in tmp_path.iterdir()] == ["fits"]
    assert SIZE_LIMIT == 2**31 - 1


def test_a_file_truncated_while_it_is_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "m").write_bytes(NET)
    original = files.fill

    def shrink(payload, read_into, name):
        (tmp_path / "m").write_bytes(b"")
        return original(payload, read_into, name)

    monkeypatch.setattr(files, "fill", shrink)
    with refused("damaged-file", file="m"):
        read_binary(tmp_path / "m", NetParameter)


def test_files_larger_than_the_window_are_read(tmp_path):
    store, net = BlobStore(), NetParameter()
    arrays = [np.random.default_rng(i).standard_normal(20_000 + i).astype(np.float32) for i in range(20)]
    for i, array in enumerate(arrays):
        layer = net.layer.add(name=f"layer{i}" * 50)
        store.attach(layer.blobs.add(), array)
    write_binary(net, tmp_path / "m", store)
    again, store = read_binary(tmp_path / "m", NetParameter)
    for layer, array in zip(again.layer, arrays, strict=True):
        np.testing.assert_array_equal(store.data(layer.blobs[0]), array)
    shutil.copy(tmp_path / "m", tmp_path / "n")
    assert NetParameter.FromString((tmp_path / "n").read_bytes()).layer[19].blobs[0].data[5] == arrays[19][5]
