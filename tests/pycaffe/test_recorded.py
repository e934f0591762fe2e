"""Everything genuine Caffe recorded, through pycaffe: blobs, gradients, training runs, snapshots.

There is one path: pycaffe runs layer by layer on torch's modules, never on compiled ones.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.formats.files import read_binary, read_solverstate
from caffe_compat.pycaffe import mode
from caffe_compat.schema import caffe_pb2 as pb
from tests.records import BACKWARD, CASES, FORKS, FORWARD, RUNS, difference

LOSS, WEIGHTS = 5e-6, 1e-4  # as tests/solver/test_recorded.py does


def replayed(folder):
    record = np.load(folder / "record.npz")
    case = json.loads((folder / "case.json").read_text())
    phase = caffe.TRAIN if case["phase"] == "TRAIN" else caffe.TEST
    net = caffe.Net(str(folder / "net.prototxt"), phase, weights=str(folder / "weights.caffemodel"))
    for key in record.files:
        kind, _, name = key.partition("/")
        if kind == "in":
            net.blobs[name].data[...] = record[key]
        if kind == "param":
            np.testing.assert_array_equal(param(net, name).data, record[key])
    for _ in range(case["forwards"]):
        net.forward()
    return net, record, case["backward"]


def param(net, name):
    layer, _, index = name.rpartition("/")
    return net.params[layer][int(index)]


def largest(record, kind, name):
    """The magnitude a parameter's gradient is rounded against: that of its layer's gradients (a bias below a
    BatchNorm has the gradient 0)."""
    keys = [k for k in record.files if k.startswith(f"{kind}/{name.rpartition('/')[0]}/")]
    return max(float(np.abs(record[k]).max()) for k in keys)


@pytest.mark.parametrize("folder", CASES)
def test_a_recorded_layer_matches_caffe_forward_and_backward(folder, request):
    if folder in FORKS:
        mode.set_forks((folder.parent.name,))
        request.addfinalizer(lambda: mode.set_forks(()))
    net, record, backward = replayed(folder)
    actual = {key: net.blobs[key[4:]].data for key in record.files if key.startswith("out/")}
    assert actual
    for key, ours in actual.items():
        assert difference(key, ours, record[key]).relative <= FORWARD, key
    if backward:
        for key in record.files:
            if key.startswith("seed/"):
                net.blobs[key[5:]].diff[...] = record[key]
        net.backward()
        for key in record.files:
            kind, _, name = key.partition("/")
            if kind == "grad":
                assert difference(key, net.blobs[name].diff, record[key]).relative <= BACKWARD, key
            if kind == "pgrad":
                scale = largest(record, kind, name)
                assert difference(key, param(net, name).diff, record[key], scale).relative <= BACKWARD, key
    for key in record.files:
        if key.startswith("after/"):
            assert difference(key, param(net, key[6:]).data, record[key]).relative <= FORWARD, key


@pytest.fixture(params=RUNS)
def run(request, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(request.param, folder)
    (folder / "caffe").mkdir()
    for file in folder.glob("snap_*"):
        file.rename(folder / "caffe" / file.name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    return folder


def compare(net, record, prefix):
    for key in record.files:
        if key.startswith(f"{prefix}/"):
            assert difference(key, param(net, key.removeprefix(f"{prefix}/")).data, record[key]).relative <= WEIGHTS, (
                key
            )


def test_a_recorded_run_and_its_snapshots_match_caffe(run):
    record = np.load("record.npz")
    solver = caffe.get_solver("solver.prototxt")
    solver.net.copy_from("init.caffemodel")
    losses = []
    for done in range(1, len(record["loss"]) + 1):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
        compare(solver.net, record, f"iter{done}")
    assert solver.iter == len(losses)
    assert difference("loss", np.array(losses), record["loss"]).relative <= LOSS
    for theirs in sorted(Path("caffe").iterdir()):
        assert Path(theirs.name).is_file()
        if "solverstate" in theirs.name:
            ours, recorded = read_solverstate(theirs.name), read_solverstate(theirs)
            assert (ours.iter, ours.current_step, ours.learned_net) == (
                recorded.iter,
                recorded.current_step,
                recorded.learned_net,
            )
            assert [h.shape for h in ours.history] == [h.shape for h in recorded.history]
        elif theirs.suffix == ".caffemodel":
            (ours, _), (recorded, _) = (read_binary(p, pb.NetParameter) for p in (Path(theirs.name), theirs))
            assert [(x.name, x.type, len(x.blobs)) for x in ours.layer] == [
                (x.name, x.type, len(x.blobs)) for x in recorded.layer
            ]
    assert not list(Path().glob("*.resume.npz")), "Caffe writes two files"


def test_a_run_resumes_from_caffes_snapshot(run):
    record = np.load("record.npz")
    for file in Path("caffe").glob("*_iter_20.*"):
        shutil.copy(file, file.name)
    solver = caffe.get_solver("solver.prototxt")
    solver.restore(next(str(p) for p in Path().glob("*_iter_20.solverstate*")))
    assert solver.iter == 20
    losses = []
    for _ in range(len(record["resumed_loss"])):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    assert difference("loss", np.array(losses), record["resumed_loss"]).relative <= LOSS
    compare(solver.net, record, "resumed25")
