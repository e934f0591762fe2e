"""Every recorded run of genuine Caffe's solvers: losses, weights on the way, snapshots, and the resumed run."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from caffe_compat.build.weights import caffe_blobs
from caffe_compat.formats.files import read_solver
from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from tests.records import BOTH_PATHS, RUNS, noted_operators

# Relative to the largest value of the array: summation order differs between BLAS libraries, and a run adds up thirty
# iterations of it. Measured: losses 9.6e-7, weights 1.2e-5 (a bias near 0), resumed weights 1.1e-6.
LOSS, WEIGHTS, HISTORY = 5e-6, 1e-4, 1e-3
WIDE = ("all_layers", "frozen_base")
"""Runs of nets that train on compiled operators: the others' convolutions have 6 channels, or there are none."""


@pytest.fixture(params=RUNS)
def run(request, tmp_path, monkeypatch):
    """A copy of the recorded folder, as working directory, with Caffe's snapshots moved to snapshots/."""
    folder = tmp_path / request.param.name
    shutil.copytree(request.param, folder)
    (folder / "snapshots").mkdir()
    for file in folder.glob("snap_*"):
        file.rename(folder / "snapshots" / file.name)
    monkeypatch.chdir(folder)
    return folder


def error(found, expected):
    found, expected = np.asarray(found, "f8"), np.asarray(expected, "f8")
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3)


def compare(solver, record, prefix):
    blobs = caffe_blobs(solver.net)
    for key in record.files:
        if key.startswith(prefix + "/"):
            _, layer, index = key.split("/")
            assert error(blobs[layer][int(index)].numpy(), record[key]) <= WEIGHTS, key


def losses(solver, count, record=None):
    found = []
    for _ in range(count):
        solver.step(1)
        found.append(float(solver.outputs["loss"]))
        if record is not None:
            compare(solver, record, f"iter{solver.iter}")
    return np.array(found)


@BOTH_PATHS
def test_run_and_resumed_run_are_caffes(run, fast, monkeypatch):
    operators = noted_operators(monkeypatch)
    record = np.load("record.npz")
    solver = Solver(read_solver("solver.prototxt"), fast=fast)
    solver.load_weights("init.caffemodel")
    compare(solver, record, "before")
    found = losses(solver, len(record["loss"]), record)
    assert np.max(np.abs(found - record["loss"]) / np.abs(record["loss"])) <= LOSS
    assert bool(operators) == (fast and bool(vector_lengths()) and run.name in WIDE)
    for recorded in Path("snapshots").iterdir():
        compare_files(Path(recorded.name), recorded)

    resumed = Solver(read_solver("solver.prototxt"), fast=fast)
    (state,) = Path("snapshots").glob("snap_iter_20.solverstate*")
    resumed.restore(state)  # its weights, recorded as ./snap_iter_20.caffemodel, are those of our own run
    found = losses(resumed, len(record["resumed_loss"]))
    assert np.max(np.abs(found - record["resumed_loss"]) / np.abs(record["resumed_loss"])) <= LOSS
    compare(resumed, record, "resumed25")


@BOTH_PATHS
def test_caffes_own_snapshot_resumes_after_it_was_moved_as_a_whole(run, fast):
    record = np.load("record.npz")
    solver = Solver(read_solver("solver.prototxt"), fast=fast)
    (state,) = Path("snapshots").glob("snap_iter_20.solverstate*")
    solver.restore(state)
    assert solver.iter == 20
    found = losses(solver, len(record["resumed_loss"]))
    assert np.max(np.abs(found - record["resumed_loss"]) / np.abs(record["resumed_loss"])) <= LOSS


def compare_files(ours, caffes):
    if ours.suffix == ".h5":
        assert ours.stat().st_size <= caffes.stat().st_size  # HDF5 leaves less room free where it does not buffer
        with h5py.File(ours) as found, h5py.File(caffes) as expected:
            compare_groups(found, expected)
        return
    assert ours.stat().st_size == pytest.approx(caffes.stat().st_size, rel=0.05)
    kind = pb.NetParameter if ours.suffix == ".caffemodel" else pb.SolverState
    found, expected = kind.FromString(ours.read_bytes()), kind.FromString(caffes.read_bytes())
    assert ours.stat().st_size == caffes.stat().st_size
    mine, theirs = blobs_of(found), blobs_of(expected)
    limit = HISTORY if kind is pb.SolverState else WEIGHTS
    assert len(mine) == len(theirs)
    for blob, other in zip(mine, theirs, strict=True):
        assert error(blob.data, other.data) <= limit
        blob.ClearField("data")
        other.ClearField("data")
    assert found == expected


def blobs_of(message):
    if isinstance(message, pb.SolverState):
        return list(message.history)
    return [blob for layer in message.layer for blob in layer.blobs]


def compare_groups(found, expected):
    assert list(found) == list(expected)
    for name, item in expected.items():
        if isinstance(item, h5py.Group):
            compare_groups(found[name], item)
            continue
        mine = found[name]
        assert (mine.dtype, mine.shape, mine.chunks) == (item.dtype, item.shape, item.chunks)
        if item.dtype.kind == "f":
            assert error(mine[()], item[()]) <= HISTORY
        else:
            assert mine[()] == item[()]
