"""A run that was stopped ends in the bits of one that was not, and Caffe's own restart stays available."""

import io
import shutil

import numpy as np
import pytest

from caffe_compat.build.weights import caffe_blobs
from caffe_compat.data import CRand
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import CaffeLog, Solver
from tests.refusals import refused
from tests.solver.case import NET, SOLVER, write_case

DROP = 'layer { name: "drop" type: "Dropout" bottom: "data" top: "data" dropout_param { dropout_ratio: 0.3 } }\n'
SHUFFLED = NET.replace("batch_size: 4", "batch_size: 4 shuffle: true").replace(
    'layer { name: "ip"', f'{DROP}layer {{ name: "ip"'
)


@pytest.fixture
def folder(folder):
    write_case(folder, net=SHUFFLED)
    for kind in ("train", "test"):
        shutil.copy(f"{kind}.h5", f"{kind}_more.h5")
        (folder / f"{kind}.txt").write_text(f"{kind}.h5\n{kind}_more.h5\n")
    return folder


def solver(stream=None, **fields):
    param = parse_text(SOLVER, pb.SolverParameter)
    param.MergeFrom(pb.SolverParameter(**fields))
    return Solver(param, log=CaffeLog(stream) if stream else None)


def entries(path):
    with np.load(path) as file:
        return dict(file)


def told(stream):
    """What a log says, without stamps and timings."""
    lines = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    return [line.split(" (")[0] + line.rpartition(")")[2] for line in lines if "loss =" in line or "lr =" in line]


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_resumed_run_has_the_bits_of_one_never_stopped(folder, form):
    fields = {"snapshot_format": pb.SolverParameter.SnapshotFormat.Value(form), "snapshot": 7, "max_iter": 40}
    undisturbed = io.StringIO()
    whole = solver(undisturbed, **fields)
    whole.solve()
    (state,) = folder.glob("snap_iter_14.solverstate*")
    after = io.StringIO()
    resumed = solver(after, **fields | {"random_seed": 77})  # the seed of a run that goes on is of no account
    resumed.restore(state)
    resumed.solve()
    for layer, blobs in caffe_blobs(whole.net).items():
        for one, two in zip(blobs, caffe_blobs(resumed.net)[layer], strict=True):
            assert np.array_equal(one, two), layer
    lines = told(after)
    assert len(lines) > 20
    assert told(undisturbed)[-len(lines) :] == lines


def test_caffes_own_restart_is_what_remains_without_the_file_or_on_request(folder):
    solver(snapshot=3).step(3)
    record = entries("snap_iter_3.resume.npz")
    assert record["train 0 place"].tolist() == [1, 2, 10]
    solvers = [solver() for _ in range(3)]
    solvers[0].restore("snap_iter_3.solverstate")
    solvers[1].restore("snap_iter_3.solverstate", restart_data=True)
    (folder / "snap_iter_3.resume.npz").unlink()
    solvers[2].restore("snap_iter_3.solverstate")
    places = [tuple(item._train.sources[0].cursor()["place"].tolist()) for item in solvers]
    assert places[1] == places[2] == (0, 0, 10)
    assert places[0] == (1, 2, 10)


def test_the_file_counts_for_its_own_weights_data_and_number_of_processes_only(folder):
    solver().step(5)
    record = entries("snap_iter_5.resume.npz")

    def outcome():
        log = io.StringIO()
        solver(log).restore("snap_iter_5.solverstate")
        return log.getvalue().splitlines()[-1].partition("] ")[2]

    assert outcome() == "Data as in snap_iter_5.resume.npz"
    (folder / "train.txt").write_text("train.h5\n")
    assert outcome() == "snap_iter_5.resume.npz is left aside: the data has changed"
    (folder / "train.txt").write_text("train.h5\ntrain_more.h5\n")
    np.savez(
        "snap_iter_5.resume.npz",
        **record | {"record": np.frombuffer(b'{"form": 1, "iter": 5, "workers": 2, "weights": ""}', "u1")},
    )
    assert outcome().endswith("left aside: it belongs to another snapshot, or another number of processes")
    np.savez("snap_iter_5.resume.npz", **record)
    shutil.copy("train.h5", "snap.h5")
    weights = solver()
    weights.step(10)
    shutil.copy("snap_iter_10.caffemodel", "snap_iter_5.caffemodel")
    np.savez("snap_iter_5.resume.npz", **record)
    assert outcome().endswith("left aside: it belongs to another snapshot, or another number of processes")


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "no record", "pickle"])
def test_a_damaged_file_is_named_with_what_to_do(folder, damage):
    solver().step(5)
    path = folder / "snap_iter_5.resume.npz"
    whole = path.read_bytes()
    if damage == "no record":
        np.savez(path, shuffle=np.zeros(31))
    elif damage == "pickle":
        np.savez(path, **entries(path) | {"torch": np.array([{}], dtype=object)})
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"not this", "empty": b""}[damage])
    with refused("damaged-file", file="snap_iter_5.resume.npz", hint="remove it"):
        solver().restore("snap_iter_5.solverstate")


def test_the_random_stream_continues_from_its_state():
    one, two = CRand(), CRand(5)
    for _ in range(100):
        one.rand()
    two.state = one.state
    assert [one.rand() for _ in range(50)] == [two.rand() for _ in range(50)]
