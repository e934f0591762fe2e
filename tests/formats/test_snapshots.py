"""Snapshots in HDF5, and solver states in both formats."""

import h5py
import numpy as np
import pytest

from caffe_compat.formats.files import (
    SolverSnapshot,
    is_hdf5,
    read_solverstate,
    read_weights_h5,
    write_solverstate,
    write_weights_h5,
)
from tests.refusals import refused


def dump(path):
    """The contents of an HDF5 file, with types and layout."""
    out = {}

    def visit(name, item):
        if isinstance(item, h5py.Group):
            out[name] = "group"
            return
        kind = item.id.get_type()
        text = (kind.get_strpad(), kind.get_cset()) if kind.get_class() == h5py.h5t.STRING else kind.get_order()
        layout = item.id.get_create_plist().get_layout()
        space = item.id.get_space().get_simple_extent_type()
        out[name] = (
            str(item.dtype),
            item.shape,
            item.maxshape,
            layout,
            space,
            text,
            item[()].tobytes(),
            dict(item.attrs),
        )

    with h5py.File(path) as file:
        file.visititems(visit)
    return out


def test_written_weights_equal_caffes(golden, tmp_path):
    path = golden / "files/adam_hdf5_snap_iter_10.caffemodel.h5"
    weights = read_weights_h5(path)
    assert {name: [b.shape for b in blobs] for name, blobs in weights.items()} == {
        "conv": [(6, 2, 3, 3), (6,)], "data": [], "ip": [(1, 24), (1,)], "loss": [], "pool": [], "relu": [],
    }  # fmt: skip
    write_weights_h5(tmp_path / "w.h5", weights)
    assert dump(tmp_path / "w.h5") == dump(path)


def test_a_written_state_equals_caffes(golden, tmp_path):
    path = golden / "files/adam_hdf5_snap_iter_10.solverstate.h5"
    state = read_solverstate(path)
    assert (state.iter, state.learned_net, state.current_step) == (10, "snap_iter_10.caffemodel.h5", 0)
    assert len(state.history) == 8
    write_solverstate(state, tmp_path / "s.h5", "HDF5")
    assert dump(tmp_path / "s.h5") == dump(path)


def test_every_recorded_hdf5_snapshot_is_written_back_unchanged(golden, tmp_path):
    paths = sorted(golden.rglob("snap*.h5"))
    assert len(paths) == 18
    for path in paths:
        if "solverstate" in path.name:
            write_solverstate(read_solverstate(path), tmp_path / "again", "HDF5")
        else:
            write_weights_h5(tmp_path / "again", read_weights_h5(path))
        assert dump(tmp_path / "again") == dump(path), path


def test_both_formats_hold_the_same_state(tmp_path):
    state = SolverSnapshot(
        7, "a/b.caffemodel", 3, [np.ones((2, 3), np.float32), np.zeros(0, np.float32), np.float64(5)]
    )
    for fmt in ("HDF5", "BINARYPROTO"):
        write_solverstate(state, tmp_path / "s", fmt)
        assert is_hdf5(tmp_path / "s") == (fmt == "HDF5")
        again = read_solverstate(tmp_path / "s")
        assert (again.iter, again.learned_net, again.current_step) == (7, "a/b.caffemodel", 3)
        for array, expected in zip(again.history, state.history, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype
            assert array.shape == expected.shape


def test_an_unknown_format_is_refused(tmp_path):
    with refused("name-unknown", value="ZIP", hint="BINARYPROTO or HDF5"):
        write_solverstate(SolverSnapshot(), tmp_path / "s", "ZIP")


def test_blobs_owned_by_another_layer_are_left_out(tmp_path):
    write_weights_h5(tmp_path / "w", {"a": [np.ones(2), np.ones(1)], "b": [None, np.zeros(1)], "c": [None]})
    weights = read_weights_h5(tmp_path / "w")
    assert weights["b"][0] is None
    assert weights["b"][1].tolist() == [0]
    assert weights["c"] == []


def test_gradients_have_their_own_group(tmp_path):
    write_weights_h5(tmp_path / "w", {"a": [np.ones(2)]}, {"a": [np.full(2, 3, np.float32)]})
    assert sorted(dump(tmp_path / "w")) == ["data", "data/a", "data/a/0", "diff", "diff/a", "diff/a/0"]


def test_twelve_blobs_are_read_in_the_order_of_their_numbers(tmp_path):
    write_weights_h5(tmp_path / "w", {"a": [np.full(1, i, np.float32) for i in range(12)]})
    assert [b.item() for b in read_weights_h5(tmp_path / "w")["a"]] == list(range(12))


def test_a_name_with_a_slash_is_refused_before_anything_is_written(tmp_path):
    with refused("unsupported", layer="inception/1x1", hint="BINARYPROTO"):
        write_weights_h5(tmp_path / "w", {"inception/1x1": []})
    assert list(tmp_path.iterdir()) == []


def weights_file(path, build):
    with h5py.File(path, "w") as file:
        build(file)
    return path


@pytest.mark.parametrize(
    ("build", "code", "field"),
    [
        (lambda f: None, "field-missing", "/data"),
        (lambda f: f.create_dataset("data", data=1), "wrong-type", "/data"),
        (lambda f: f.create_dataset("data/a", data=1), "wrong-type", "/data/a"),
        (lambda f: f.create_group("data/a/0"), "wrong-type", "/data/a/0"),
        (lambda f: f.create_dataset("data/a/weight", data=1), "name-unknown", "/data/a/weight"),
        (lambda f: f.create_dataset("data/a/65536", data=1), "name-unknown", "/data/a/65536"),
        (lambda f: f.create_dataset("data/a/0", data="text"), "wrong-type", "/data/a/0"),
        (lambda f: f.create_dataset("data/a/0", data=h5py.Empty("f4")), "wrong-type", "/data/a/0"),
        (lambda f: f.create_dataset("data/a/0", shape=(2**40,), dtype="f4"), "damaged-file", "/data/a/0"),
        (
            lambda f: f.create_dataset("data/a/0", shape=(2**40,), dtype="f4", chunks=(1024,)),
            "damaged-file",
            "/data/a/0",
        ),
    ],
)
def test_weights_of_another_structure_are_refused_with_the_place(build, code, field, tmp_path):
    with refused(code, file="w", field=field):
        read_weights_h5(weights_file(tmp_path / "w", build))


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda f: f.__delitem__("iter"), "field-missing", "iter"),
        (lambda f: f.__delitem__("history"), "field-missing", "/history"),
        (lambda f: f.__delitem__("history/1"), "wrong-count", "/history"),
        (lambda f: f.__delitem__("current_step") or f.create_dataset("current_step", data=[1, 2]), "wrong-type", "current_step"),
        (lambda f: f.__delitem__("learned_net") or f.create_dataset("learned_net", data=[1, 2]), "wrong-type", "learned_net"),
    ],
)  # fmt: skip
def test_a_state_of_another_structure_is_refused_with_the_place(change, code, field, golden, tmp_path):
    path = tmp_path / "s"
    path.write_bytes((golden / "files/adam_hdf5_snap_iter_10.solverstate.h5").read_bytes())
    with h5py.File(path, "a") as file:
        change(file)
    with refused(code, file="s", field=field):
        read_solverstate(path)


def test_a_state_without_the_path_of_its_weights_is_read(golden, tmp_path):
    path = tmp_path / "s"
    path.write_bytes((golden / "files/adam_hdf5_snap_iter_10.solverstate.h5").read_bytes())
    with h5py.File(path, "a") as file:
        del file["learned_net"]
    assert read_solverstate(path).learned_net == ""


def test_truncated_hdf5_files_are_refused(golden, tmp_path):
    content = (golden / "files/adam_hdf5_snap_iter_10.caffemodel.h5").read_bytes()
    for size in (*range(8, len(content), 701), len(content) - 1):
        (tmp_path / "w").write_bytes(content[:size])
        with refused("damaged-file", file="w"):
            read_weights_h5(tmp_path / "w")


def test_a_file_that_is_not_hdf5_is_refused(tmp_path):
    (tmp_path / "w").write_bytes(b"PK\3\4")
    with refused("wrong-format", file="w"):
        read_weights_h5(tmp_path / "w")


def test_a_string_larger_than_the_file_is_refused(tmp_path):
    write_solverstate(SolverSnapshot(iter=3, learned_net="a"), tmp_path / "s.h5", "HDF5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["learned_net"]
        file.create_dataset("learned_net", (2**40,), "u1", chunks=(1,))
    with refused("wrong-type", file="s.h5", field="learned_net"):
        read_solverstate(tmp_path / "s.h5")
