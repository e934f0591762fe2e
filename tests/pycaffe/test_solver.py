"""Solvers as scripts use them: from Python, an iteration or a part of one at a time."""

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from tests.refusals import refused

NET = """
layer { name: "data" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "constant" } data_filler { type: "constant" } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.1 momentum: 0.9 weight_decay: 0.01 lr_policy: "step" stepsize: 2 gamma: 0.5
max_iter: 6 test_iter: 1 test_interval: 3 snapshot_prefix: "s" random_seed: 3 """


@pytest.fixture
def make(folder, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")

    def solver_of(extra="", cls=caffe.SGDSolver, net=NET):
        (folder / "net.prototxt").write_text(net)
        (folder / "solver.prototxt").write_text(SOLVER + extra)
        solver = cls("solver.prototxt")
        for built in (solver.net, *solver.test_nets):
            rng = np.random.default_rng(0)
            built.blobs["x"].data[...] = rng.standard_normal((4, 3))
            built.blobs["t"].data[...] = rng.standard_normal((4, 2))
        return solver

    return solver_of


def test_a_step_computes_caffes_update(make):
    solver = make()
    net = solver.net
    weight, bias = (blob.data.copy() for blob in net.params["ip"])
    solver.step(1)
    x, t = net.blobs["x"].data, net.blobs["t"].data
    seed = (x @ weight.T + bias - t) / 4
    step = 0.1 * (seed.T @ x + 0.01 * weight)
    np.testing.assert_allclose(net.params["ip"][0].data, weight - step, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.params["ip"][1].data, bias - 0.2 * seed.sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.params["ip"][0].diff, step, rtol=1e-5, atol=1e-6)


def test_manual_passes_and_apply_update_equal_a_step(make):
    ours, theirs = make(), make()
    theirs.net.params["ip"][0].data[...] = ours.net.params["ip"][0].data
    for _ in range(4):
        ours.step(1)
        theirs.net.clear_param_diffs()
        theirs.net.forward()
        theirs.net.backward()
        theirs.apply_update()
    assert theirs.iter == 4
    np.testing.assert_array_equal(ours.net.params["ip"][0].data, theirs.net.params["ip"][0].data)


def test_the_update_uses_values_written_to_the_gradients(make):
    solver = make()
    weight = solver.net.params["ip"][0]
    weight.data[...], weight.diff[...] = 0, 1
    solver.apply_update()
    np.testing.assert_allclose(weight.data, -0.1, rtol=1e-6)
    assert solver.iter == 1


def test_the_rate_follows_its_policy_and_base_lr_can_be_changed(make):
    solver = make()
    assert solver.lr == np.float32(0.1)
    solver.step(2)
    assert solver.lr == pytest.approx(0.05)
    solver.param.base_lr = 0.4
    assert solver.lr == pytest.approx(0.2)
    assert solver.param.max_iter == 6


def test_callbacks_see_an_iteration_begin_and_its_gradients(make):
    solver = make()
    seen = []
    weight = solver.net.params["ip"][0]
    solver.add_callback(lambda: seen.append("start"), lambda: seen.append(bool(weight.diff.any())))
    solver.step(2)
    assert seen == ["start", True, "start", True]


def test_iter_size_sums_the_gradients_of_its_passes(make):
    single, double = make(), make("iter_size: 2")
    double.net.params["ip"][0].data[...] = single.net.params["ip"][0].data
    single.step(1)
    double.step(1)
    np.testing.assert_allclose(single.net.params["ip"][0].data, double.net.params["ip"][0].data, rtol=1e-6)


def test_solve_trains_tests_and_writes_a_snapshot(make, tmp_path):
    solver = make()
    before = float(solver.net.forward()["loss"])
    solver.solve()
    assert solver.iter == 6
    assert {p.name for p in tmp_path.glob("s_iter_*")} == {"s_iter_6.caffemodel", "s_iter_6.solverstate"}
    assert float(solver.net.forward()["loss"]) < before
    np.testing.assert_array_equal(solver.test_nets[0].params["ip"][0].data, solver.net.params["ip"][0].data)


def test_a_run_resumes_from_its_snapshot(make, tmp_path):
    ours, theirs = make(), make()
    ours.step(3)
    ours.snapshot()
    theirs.restore("s_iter_3.solverstate")
    assert theirs.iter == 3
    for solver in (ours, theirs):
        solver.step(2)
    np.testing.assert_array_equal(ours.net.params["ip"][0].data, theirs.net.params["ip"][0].data)
    third = make()
    third.solve("s_iter_3.solverstate")
    assert third.iter == 6


def test_weights_of_a_solver_can_be_shared_with_any_net(make):
    solver = make()
    net = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(net)
    solver.step(1)
    np.testing.assert_array_equal(net.params["ip"][0].data, solver.net.params["ip"][0].data)


def test_a_net_whose_memory_was_replaced_continues_training(make):
    solver = make()
    other = caffe.Net("net.prototxt", caffe.TRAIN)
    solver.step(1)
    solver.net.share_with(other)
    before = other.params["ip"][0].data.copy()
    solver.step(1)
    assert (other.params["ip"][0].data != before).any()


def test_nets_outlive_their_solver(make):
    net = make().net
    assert np.isfinite(net.forward()["loss"])


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_get_solver_returns_the_class_of_the_type(make, tmp_path, kind):
    make()
    momentum = "" if kind in ("AdaGrad", "RMSProp") else "momentum: 0.9"
    text = f'net: "net.prototxt" type: "{kind}" base_lr: 0.1 {momentum} lr_policy: "fixed" delta: 1e-4 max_iter: 2 rms_decay: 0.9'
    (tmp_path / "other.prototxt").write_text(text)
    solver = caffe.get_solver("other.prototxt")
    assert type(solver) is getattr(caffe, f"{kind}Solver")
    assert isinstance(solver, caffe.SGDSolver)
    solver.step(1)
    assert solver.param.snapshot_prefix == "other", "Caffe takes the file's name where there is none"


def test_a_class_has_its_own_type_whatever_type_the_file_has(make):
    assert make('type: "Adam"').param.type == "SGD"


def test_missing_files_and_unknown_types_are_errors(make, tmp_path):
    make()
    with refused("file-missing", file="nowhere.prototxt"):
        caffe.get_solver("nowhere.prototxt")
    (tmp_path / "odd.prototxt").write_text('net: "net.prototxt" type: "Adams"')
    with refused("name-unknown", hint="did you mean 'Adam'?"):
        caffe.get_solver("odd.prototxt")
    with refused("file-missing", file="none.solverstate"):
        make().restore("none.solverstate")
