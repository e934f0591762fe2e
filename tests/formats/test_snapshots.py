"""The HDF5 forms, and solver states in both."""

import h5py
import numpy as np
import pytest

from caffe_compat.errors import FileError
from caffe_compat.formats.files import (
    SolverSnapshot,
    is_hdf5,
    read_solverstate,
    read_solverstate_h5,
    read_weights_h5,
    write_solverstate,
    write_weights_h5,
)


def dumped(path):
    """Everything a reader can see in an HDF5 file."""
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


def test_weights_written_are_what_caffe_wrote(golden, tmp_path):
    path = golden / "files/adam_hdf5_snap_iter_10.caffemodel.h5"
    weights = read_weights_h5(path)
    assert {name: [b.shape for b in blobs] for name, blobs in weights.items()} == {
        "conv": [(6, 2, 3, 3), (6,)], "data": [], "ip": [(1, 24), (1,)], "loss": [], "pool": [], "relu": [],
    }  # fmt: skip
    write_weights_h5(tmp_path / "w.h5", weights)
    assert dumped(tmp_path / "w.h5") == dumped(path)


def test_a_state_written_is_what_caffe_wrote(golden, tmp_path):
    path = golden / "files/adam_hdf5_snap_iter_10.solverstate.h5"
    state = read_solverstate(path)
    assert (state.iter, state.learned_net, state.current_step) == (10, "snap_iter_10.caffemodel.h5", 0)
    assert len(state.history) == 8
    write_solverstate(state, tmp_path / "s.h5", "HDF5")
    assert dumped(tmp_path / "s.h5") == dumped(path)


def test_every_recorded_hdf5_snapshot_is_written_back_alike(reference, tmp_path):
    found = sorted(reference.glob("caffe/solvers/*/snap*.h5"))
    assert len(found) == 12
    for path in found:
        if "solverstate" in path.name:
            write_solverstate(read_solverstate(path), tmp_path / "again", "HDF5")
        else:
            write_weights_h5(tmp_path / "again", read_weights_h5(path))
        assert dumped(tmp_path / "again") == dumped(path), path


def test_both_forms_hold_the_same_state(tmp_path):
    state = SolverSnapshot(
        7, "a/b.caffemodel", 3, [np.ones((2, 3), np.float32), np.zeros(0, np.float32), np.float64(5)]
    )
    for fmt in ("HDF5", "BINARYPROTO"):
        write_solverstate(state, tmp_path / "s", fmt)
        assert is_hdf5(tmp_path / "s") == (fmt == "HDF5")
        again = read_solverstate(tmp_path / "s")
        assert (again.iter, again.learned_net, again.current_step) == (7, "a/b.caffemodel", 3)
        for mine, other in zip(again.history, state.history, strict=True):
            np.testing.assert_array_equal(mine, other)
            assert mine.dtype == other.dtype
            assert mine.shape == other.shape


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(FileError, match="BINARYPROTO or HDF5"):
        write_solverstate(SolverSnapshot(), tmp_path / "s", "ZIP")


def test_blobs_owned_by_another_layer_are_left_out(tmp_path):
    write_weights_h5(tmp_path / "w", {"a": [np.ones(2), np.ones(1)], "b": [None, np.zeros(1)], "c": [None]})
    weights = read_weights_h5(tmp_path / "w")
    assert weights["b"][0] is None
    assert weights["b"][1].tolist() == [0]
    assert weights["c"] == []


def test_gradients_have_a_group_of_their_own(tmp_path):
    write_weights_h5(tmp_path / "w", {"a": [np.ones(2)]}, {"a": [np.full(2, 3, np.float32)]})
    assert sorted(dumped(tmp_path / "w")) == ["data", "data/a", "data/a/0", "diff", "diff/a", "diff/a/0"]


def test_ten_blobs_are_read_in_the_order_of_their_numbers(tmp_path):
    write_weights_h5(tmp_path / "w", {"a": [np.full(1, i, np.float32) for i in range(12)]})
    assert [b.item() for b in read_weights_h5(tmp_path / "w")["a"]] == list(range(12))


def test_a_name_with_a_slash_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(FileError, match="layer 'inception/1x1': HDF5 cannot hold a layer of this name"):
        write_weights_h5(tmp_path / "w", {"inception/1x1": []})
    assert list(tmp_path.iterdir()) == []


def weights_file(path, build):
    with h5py.File(path, "w") as file:
        build(file)
    return path


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda f: None, "/data: no such group"),
        (lambda f: f.create_dataset("data", data=1), "/data: not a group"),
        (lambda f: f.create_dataset("data/a", data=1), "/data/a: not a group"),
        (lambda f: f.create_group("data/a/0"), "/data/a/0: not a dataset"),
        (lambda f: f.create_dataset("data/a/weight", data=1), "/data/a/weight: a blob's name is its number"),
        (lambda f: f.create_dataset("data/a/0", data="text"), "/data/a/0: a blob of type object"),
        (
            lambda f: f.create_dataset("data/a/0", data=h5py.Empty("f4")),
            "/data/a/0: a blob of type float32, shape None",
        ),
        (
            lambda f: f.create_dataset("data/a/0", shape=(2**40,), dtype="f4"),
            "needs 4398046511104 bytes; the file holds 0",
        ),
        (lambda f: f.create_dataset("data/a/0", shape=(2**40,), dtype="f4", chunks=(1024,)), "the file holds 0"),
    ],
)
def test_weights_of_another_structure_are_an_error_that_names_the_place(build, expected, tmp_path):
    with pytest.raises(FileError) as caught:
        read_weights_h5(weights_file(tmp_path / "w", build))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: f.__delitem__("iter"), "iter: missing"),
        (lambda f: f.__delitem__("history"), "/history: no such group"),
        (lambda f: f.__delitem__("history/1"), "/history: 7 blobs, numbered up to 7"),
        (lambda f: f.__delitem__("current_step") or f.create_dataset("current_step", data=[1, 2]), "current_step: not one integer"),
        (lambda f: f.__delitem__("learned_net") or f.create_dataset("learned_net", data=[1, 2]), "learned_net: not a string"),
    ],
)  # fmt: skip
def test_a_state_of_another_structure_is_an_error_that_names_the_place(change, expected, golden, tmp_path):
    path = tmp_path / "s"
    path.write_bytes((golden / "files/adam_hdf5_snap_iter_10.solverstate.h5").read_bytes())
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(FileError) as caught:
        read_solverstate_h5(path)
    assert expected in str(caught.value)


def test_a_state_without_the_path_of_its_weights_is_read(golden, tmp_path):
    path = tmp_path / "s"
    path.write_bytes((golden / "files/adam_hdf5_snap_iter_10.solverstate.h5").read_bytes())
    with h5py.File(path, "a") as file:
        del file["learned_net"]
    assert read_solverstate(path).learned_net == ""


def test_truncated_hdf5_files_are_one_error(golden, tmp_path):
    content = (golden / "files/adam_hdf5_snap_iter_10.caffemodel.h5").read_bytes()
    for size in (*range(8, len(content), 701), len(content) - 1):
        (tmp_path / "w").write_bytes(content[:size])
        with pytest.raises(FileError, match="this HDF5 file is damaged"):
            read_weights_h5(tmp_path / "w")


def test_something_else_is_no_hdf5(tmp_path):
    (tmp_path / "w").write_bytes(b"PK\3\4")
    with pytest.raises(FileError, match="this is no HDF5 file"):
        read_weights_h5(tmp_path / "w")


def test_a_declared_size_that_the_file_does_not_hold_is_refused_unread(tmp_path):
    write_solverstate(SolverSnapshot(iter=3, learned_net="a"), tmp_path / "s.h5", "HDF5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        del file["learned_net"]
        file.create_dataset("learned_net", (2**40,), "u1", chunks=(1,))
    with pytest.raises(FileError, match="learned_net: not a string"):
        read_solverstate(tmp_path / "s.h5")
