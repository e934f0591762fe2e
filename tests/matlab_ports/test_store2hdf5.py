"""``store2hdf5`` writes the values and the layout that MATLAB writes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from matlab_ports import RandStream, store2hdf5
from tests.matlab_ports.h5_recordings import assert_same, contents, names
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]


def layout(path):
    """Everything a reader may see of a file besides its values."""
    with h5py.File(path) as file:
        datasets = {}
        for name, dataset in file.items():
            plist, info = dataset.id.get_create_plist(), h5py.h5o.get_info(dataset.id)
            datasets[name] = {
                "shape": dataset.shape,
                "maxshape": dataset.maxshape,
                "chunks": dataset.chunks,
                "dtype": dataset.dtype.str,
                "fill": (dataset.fillvalue, plist.fill_value_defined(), plist.get_fill_time()),
                "allocated": plist.get_alloc_time(),
                "filters": plist.get_nfilters(),
                "header": (info.hdr.version, info.hdr.nmesgs),
                "attributes": list(dataset.attrs),
            }
        return {
            "superblock": path.read_bytes()[:16],
            "userblock": file.userblock_size,
            "attributes": list(file.attrs),
            "datasets": datasets,
        }


def test_values_and_layout_equal_those_of_a_file_that_matlab_wrote(reference, tmp_path):
    """Caffe's hdf5creation demo in a fresh MATLAB: 10,000 samples of rand, written 100 at a time."""
    matlab = reference / "matlab" / "hdf5" / "matlab_trial.h5"
    stream = RandStream()
    data, label = stream.rand(5, 5, 1, 10000), stream.rand(10, 10000)
    ours = tmp_path / "trial.h5"
    for batch in range(100):
        part = slice(100 * batch, 100 * batch + 100)
        startloc = {"dat": (1, 1, 1, 100 * batch + 1), "lab": (1, 100 * batch + 1)}
        size = store2hdf5(ours, data[..., part], label[:, part], batch == 0, startloc, 100)
        assert size == ((5, 5, 1, 100 * batch + 100), (10, 100 * batch + 100))
    expected = layout(matlab)
    for dataset in expected["datasets"].values():  # MATLAB stores the time, in a message of the header
        version, messages = dataset["header"]
        dataset["header"] = (version, messages - 1)
    assert layout(ours) == expected
    assert_same(contents(ours), contents(matlab))


def test_the_same_samples_give_the_same_bytes_at_any_time(tmp_path):
    for name in ("a.h5", "b.h5"):
        store2hdf5(tmp_path / name, np.ones((2, 3, 1, 4)), np.arange(4.0)[None], chunksz=2)
        time.sleep(1.1)  # HDF5 stores times in seconds
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_an_image_lies_transposed_in_the_file(tmp_path):
    data = np.arange(2 * 3 * 1 * 4.0).reshape(2, 3, 1, 4)
    store2hdf5(tmp_path / "a.h5", data, np.arange(4.0)[None], chunksz=2)
    assert_same(contents(tmp_path / "a.h5"), (data.T.astype(np.float32), np.float32([[0], [1], [2], [3]])))


def test_single_is_rounded_to_nearest_even(tmp_path):
    store2hdf5(tmp_path / "a.h5", [[1 + 2.0**-24, 1 + 3 * 2.0**-24]], [[0, 0]], chunksz=1)
    assert contents(tmp_path / "a.h5")[0].ravel().tolist() == [1, 1 + 2.0**-22]


def test_without_startloc_samples_are_appended(tmp_path):
    data = np.random.default_rng(0).random((2, 2, 1, 5)).astype(np.float32)
    path = tmp_path / "a.h5"
    store2hdf5(path, data[..., :2], np.zeros((1, 2)), chunksz=2)
    assert store2hdf5(path, data[..., 2:], np.ones((1, 3)), create=False) == ((2, 2, 1, 5), (1, 5))
    store2hdf5(path, data[..., :1], [[7]], False, {"dat": (1, 1, 1, 2), "lab": (1, 2)})
    assert_same(contents(path), (data[..., [0, 0, 2, 3, 4]].T, np.float32([[0], [7], [1], [1], [1]])))


def test_creating_replaces_an_existing_file(tmp_path, caplog):
    for count in (3, 2):
        store2hdf5(tmp_path / "a.h5", np.zeros((2, 2, 1, count)), np.zeros((1, count)), chunksz=1)
    assert len(contents(tmp_path / "a.h5")[0]) == 2
    assert "replacing existing file" in caplog.text
    assert names(tmp_path) == ["a.h5"]


@pytest.mark.parametrize(
    ("arguments", "code", "fields"),
    [
        ({"labels": np.zeros((1, 2))}, "wrong-count", {"field": "labels"}),
        ({"data": np.zeros(3)}, "shape-mismatch", {"field": "data"}),
        ({"chunksz": 0}, "out-of-range", {"field": "chunksz", "value": 0}),
        ({"filename": "nowhere/a.h5"}, "file-missing", {"file": "a.h5", "hint": "mkdir -p"}),
        ({"create": False}, "file-missing", {"file": "a.h5", "hint": "create it first"}),
        ({"create": False, "filename": "text.h5"}, "wrong-format", {"file": "text.h5"}),
        ({"create": False, "filename": "other.h5"}, "field-missing", {"file": "other.h5", "field": "/label"}),
        ({"create": False, "filename": "wide.h5"}, "shape-mismatch", {"file": "wide.h5", "field": "/data"}),
    ],
)
def test_samples_that_cannot_be_stored_are_refused_and_leave_nothing(arguments, code, fields, tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = [1.0]
    store2hdf5(tmp_path / "wide.h5", np.zeros((4, 4, 1, 1)), np.zeros((1, 1)))
    before = names(tmp_path)
    call = {"filename": "a.h5", "data": np.zeros((2, 2, 1, 3)), "labels": np.zeros((1, 3)), **arguments}
    call["filename"] = tmp_path / call["filename"]
    with refused(code, **fields):
        store2hdf5(**call)
    assert names(tmp_path) == before


KILLED = """
import os, signal, sys
import numpy as np
from matlab_ports import store2hdf5 as _
module = sys.modules["matlab_ports.store2hdf5"]
store = module._store
def killed(*arguments):
    store(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
module._store = killed
module.store2hdf5(sys.argv[1], np.ones((8, 8, 1, 50)), np.ones((1, 50)))
"""


def test_a_process_killed_while_creating_leaves_the_existing_file(tmp_path):
    path = tmp_path / "a.h5"
    store2hdf5(path, np.zeros((2, 2, 1, 3)), np.zeros((1, 3)))
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
