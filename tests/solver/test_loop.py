"""The solver's loop: nets by Caffe's rules, tests, log lines, snapshots, interruption."""

import io
import re

import h5py
import numpy as np
import pytest
import torch

from caffe_compat.build.weights import caffe_blobs
from caffe_compat.errors import CaffeCompatError, FileError, ProblemsError, SolverError
from caffe_compat.formats.files import parse_text, read_binary, read_solverstate
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Action, CaffeLog, Solver
from tests.refusals import refused
from tests.solver.case import NET, SOLVER

READ = frozenset(
    {
        *(
            "net",
            "net_param",
            "train_net",
            "train_net_param",
            "test_net",
            "test_net_param",
            "train_state",
            "test_state",
        ),
        *("test_iter", "test_interval", "test_compute_loss", "test_initialization"),
        *("display", "average_loss", "max_iter", "iter_size", "clip_gradients"),
        *("base_lr", "lr_policy", "gamma", "power", "stepsize", "stepvalue"),
        *("momentum", "momentum2", "rms_decay", "delta", "weight_decay", "regularization_type", "type"),
        *("snapshot", "snapshot_prefix", "snapshot_diff", "snapshot_format", "snapshot_after_train"),
        *("random_seed", "weights", "solver_mode", "device_id", "debug_info"),
    }
)
IGNORED = {
    "layer_wise_reduce": "it orders the exchange between several GPUs; there is one device here",
    "solver_type": "the older spelling of type, which it was upgraded to",
}


def param(**fields):
    message = parse_text(SOLVER, pb.SolverParameter)
    for name, value in fields.items():
        if value is None:
            message.ClearField(name)
        elif isinstance(value, list):
            message.ClearField(name)
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message


def logged(message, **kwargs):
    """Solve, and return the log without the stamps, and the solver."""
    stream = io.StringIO()
    solver = Solver(message, log=CaffeLog(stream), **kwargs)
    solver.solve()
    return re.findall(r"^I\d{4} [\d:.]+ +\d+ (\S+:\d+\] .*)$", stream.getvalue(), re.MULTILINE), solver


def weight(solver):
    return solver.net.state_dict()["ip.weight"].clone()


def test_the_log_has_the_lines_of_caffes(case):
    lines, _ = logged(param())
    start = next(i for i, line in enumerate(lines) if "Solving" in line)
    numbers = re.compile(r"(?<!#)(?<!_)[-+]?\b\d+(\.\d+)?(e[-+]\d+)?(?= |$|,|\)|s/)")
    kinds = [numbers.sub("N", line.partition("] ")[2]) for line in lines[start:]]
    display = [
        "Iteration N (N iter/s, Ns/N iters), loss = N",
        "    Train net output #0: loss = N (* N = N loss)",
        "Iteration N, lr = N",
    ]
    tested = ["Iteration N, Testing net (#0)", "    Test net output #0: loss = N (* N = N loss)"]

    def saved(iteration):
        return [
            f"Snapshotting to binary proto file snap_iter_{iteration}.caffemodel",
            f"Snapshotting solver state to binary proto file snap_iter_{iteration}.solverstate",
        ]

    assert kinds == [
        "Solving tiny",
        "Learning Rate Policy: fixed",
        *tested,
        *display,
        *display,
        *saved(5),
        *tested,
        *display,
        *saved(10),
        *saved(12),
        "Iteration N, loss = N",
        *tested,
        "Optimization Done.",
    ]
    assert lines[0].startswith("solver.cpp:45] Initializing solver from parameters")


def test_test_scores_are_means_over_the_test_data_with_the_weights_of_the_moment(case):
    lines, solver = logged(param(test_compute_loss=True))
    with h5py.File("test.h5") as file:
        data, label = torch.tensor(file["data"][()]), torch.tensor(file["label"][()])
    with torch.no_grad():
        state = solver.net.state_dict()
        loss = ((data @ state["ip.weight"].T + state["ip.bias"] - label) ** 2).sum() / 2 / 15
    last = [line for line in lines if "Test net output" in line][-1]
    assert float(re.search(r"loss = (\S+)", last)[1]) == pytest.approx(float(loss), rel=1e-4)
    assert sum("Test loss: " in line for line in lines) == 3


def test_average_loss_smooths_what_is_shown_only(case):
    shown, plain = ([line for line in logged(param(average_loss=n, display=1))[0] if "), loss" in line] for n in (4, 1))
    values = [float(line.split("= ")[1]) for line in plain]
    smoothed = [float(line.split("= ")[1]) for line in shown]
    expected = [np.mean(values[max(0, i - 3) : i + 1]) for i in range(12)]
    assert smoothed == pytest.approx(expected, rel=1e-4)


def test_no_test_before_training_where_test_initialization_is_off(case):
    lines, _ = logged(param(test_initialization=False))
    assert [line for line in lines if "Testing net" in line] == [
        f"solver.cpp:347] Iteration {n}, Testing net (#0)" for n in (6, 12)
    ]


def test_random_seed_repeats_a_run(case):
    assert torch.equal(weight(Solver(param())), weight(Solver(param())))
    assert not torch.equal(weight(Solver(param(random_seed=2))), weight(Solver(param())))


def test_resuming_goes_on_to_the_same_end_where_the_data_starts_anew_as_well(case):
    """10 rows in batches of 4: after 5 iterations the data is at its beginning."""
    _, whole = logged(param())
    resumed = Solver(param())
    resumed.restore("snap_iter_5.solverstate")
    assert resumed.iter == 5
    resumed.solve()
    assert torch.equal(weight(whole), weight(resumed))


@pytest.mark.parametrize("fmt", ["BINARYPROTO", "HDF5"])
def test_a_snapshot_keeps_every_bit(case, fmt):
    message = param()
    message.snapshot_format = pb.SolverParameter.SnapshotFormat.Value(fmt)
    solver = Solver(message)
    solver.step(3)
    path = solver.snapshot()
    assert path.name == "snap_iter_3.solverstate" + (".h5" if fmt == "HDF5" else "")
    again = Solver(message)
    again.restore(path)
    assert torch.equal(weight(solver), weight(again))
    assert all(torch.equal(a, b) for a, b in zip(solver.history, again.history, strict=True))
    assert read_solverstate(path).learned_net == str(path).replace("solverstate", "caffemodel")


def test_snapshot_diff_writes_the_last_update(case):
    solver = Solver(param(snapshot_diff=True))
    solver.step(1)
    before = weight(solver)
    solver.step(1)
    solver.snapshot()
    message, store = read_binary("snap_iter_2.caffemodel", pb.NetParameter)
    (layer,) = [layer for layer in message.layer if layer.name == "ip"]
    diff = store.diff(layer.blobs[0])
    assert np.allclose(diff, (before - weight(solver)).numpy(), rtol=1e-4, atol=1e-8)
    solver.step(1)  # the written update is not taken for a gradient


def test_no_snapshot_is_written_with_snapshots_off(case):
    logged(param(snapshot=0, snapshot_after_train=False, snapshot_prefix=None))
    assert not list(case.glob("snap*"))


@pytest.mark.parametrize("after", [1, 4])
def test_stop_ends_after_the_iteration_with_a_snapshot(case, after):
    asked = iter([Action.NONE] * (3 + after - 1) + [Action.STOP])  # three test batches come first
    lines, solver = logged(param(), action=lambda: next(asked, Action.NONE))
    assert solver.iter == after
    assert lines[-1] == "solver.cpp:311] Optimization stopped early."
    assert (case / f"snap_iter_{after}.solverstate").is_file()


def test_stop_during_a_test_interrupts_it(case):
    asked = iter([Action.NONE, Action.STOP])
    lines, solver = logged(param(), action=lambda: next(asked, Action.NONE))
    assert solver.iter == 0
    assert "solver.cpp:396] Test interrupted." in lines


def test_snapshot_on_request_goes_on_training(case):
    asked = iter([Action.NONE] * 4 + [Action.SNAPSHOT])
    _, solver = logged(param(), action=lambda: next(asked, Action.NONE))
    assert solver.iter == 12
    assert (case / "snap_iter_2.caffemodel").is_file()


def test_sources_replace_those_of_the_definition(case):
    (case / "net.prototxt").write_text(NET.replace("train.txt", "PATH/TO/train.txt").replace("test.txt", "PATH/TO/x"))
    with pytest.raises(CaffeCompatError) as caught:
        Solver(param())
    assert (caught.value.field, caught.value.value) == ("hdf5_data_param.source", "PATH/TO/train.txt")
    Solver(param(), sources={"TRAIN": "train.txt", "TEST": "train.txt"}).step(1)


def test_files_are_looked_up_in_the_solvers_folder_as_well(case, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    solver = Solver(param(), base_dir=case)
    solver.step(1)
    assert solver.iter == 1


def test_net_fields_are_taken_as_caffe_does(case):
    net = parse_text(NET, pb.NetParameter)
    for fields in (
        {"train_net": "net.prototxt", "test_net": ["net.prototxt"]},
        {"train_net_param": net, "test_net_param": [net]},
        {"net_param": net},
    ):
        message = param(net=None)
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(message, name).extend(value)
            elif isinstance(value, str):
                setattr(message, name, value)
            else:
                getattr(message, name).CopyFrom(value)
        assert len(Solver(message).test_nets) == 1


def test_stages_of_train_and_test_state_choose_layers(case):
    staged = NET.replace('name: "ip"', 'name: "ip" include { stage: "a" } include { stage: "b" }')
    (case / "net.prototxt").write_text(staged)
    message = param()
    message.train_state.stage.append("a")
    with pytest.raises(CaffeCompatError):
        Solver(message)
    message.test_state.add(stage=["b"])
    Solver(message)


def test_several_test_nets_have_their_own_iterations(case):
    lines, _ = logged(param(test_iter=[1, 2]))
    assert "solver.cpp:347] Iteration 6, Testing net (#1)" in lines


@pytest.mark.parametrize(
    ("fields", "code", "expected"),
    [
        ({"net": None}, "field-missing", {"hint": "net, net_param"}),
        ({"train_net": "net.prototxt"}, "conflict", {"hint": "net, net_param"}),
        ({"net": "PATH/TO/net.prototxt"}, "file-missing", {"field": "net", "hint": "--net=FILE"}),
        ({"test_interval": 0}, "out-of-range", {"field": "test_interval", "value": 0}),
        ({"test_iter": [0]}, "out-of-range", {"field": "test_iter", "value": 0}),
        ({"test_net": ["net.prototxt"], "test_iter": []}, "wrong-count", {"field": "test_iter"}),
        ({"snapshot_prefix": "no/such/case/snap"}, "file-missing", {"field": "snapshot_prefix"}),
        ({"snapshot_prefix": None}, "field-missing", {"field": "snapshot_prefix"}),
        ({"lr_policy": "stpe"}, "name-unknown", {"field": "lr_policy", "hint": "'step'"}),
        ({"type": "sgd"}, "name-unknown", {"field": "type", "hint": "'SGD'"}),
        ({"average_loss": 0}, "out-of-range", {"field": "average_loss", "value": 0}),
    ],
)
def test_definitions_that_cannot_work_are_refused_before_anything_is_written(case, fields, code, expected):
    before = sorted(case.iterdir())
    with refused(code, **expected):
        Solver(param(**fields))
    assert sorted(case.iterdir()) == before


def test_weights_that_cannot_be_read_are_named_before_anything_is_written(case):
    before = sorted(case.iterdir())
    with pytest.raises(CaffeCompatError) as caught:
        Solver(param(weights=["gone.caffemodel"]))
    assert caught.value.file == "gone.caffemodel"
    assert sorted(case.iterdir()) == before


def test_the_prefix_of_the_last_snapshot_is_checked_before_training(case):
    solver = Solver(param(snapshot=0, snapshot_prefix="gone/snap"))
    with refused("file-missing", field="snapshot_prefix"):
        solver.solve()
    assert solver.iter == 0


def test_fields_of_forks_are_refused_by_name_and_line(case):
    message = parse_text(SOLVER + "\nclip_gradient: 3 plateau_winsize: 3\n", pb.SolverParameter, file="solver.prototxt")
    with pytest.raises(ProblemsError) as caught:
        Solver(message)
    assert [(error.code, error.line, error.field) for error in caught.value.problems] == [
        ("field-unknown", 7, "clip_gradient"),
        ("field-unknown", 7, "plateau_winsize"),
    ]


@pytest.mark.parametrize(
    ("net", "code", "fields"),
    [
        (NET + 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 } } }', "field-missing", {"hint": "data layers"}),
        (NET.replace("InnerProduct", "InnerProdukt"), "type-unknown", {"layer": "ip", "field": "type", "hint": "'InnerProduct'"}),
    ],
    ids=["an input without data", "an unknown type"],
)  # fmt: skip
def test_nets_that_cannot_train_are_refused(case, net, code, fields):
    (case / "net.prototxt").write_text(net)
    with refused(code, **fields):
        Solver(param())


def test_every_field_of_the_solver_is_accounted_for_once():
    names = [field.name for field in pb.SolverParameter.DESCRIPTOR.fields]
    assert sorted([*READ, *IGNORED]) == sorted(names)


def snapshot(case):
    solver = Solver(param())
    solver.step(1)
    return solver.snapshot()


def test_missing_weights_of_a_state_are_named(case):
    path = snapshot(case)
    (case / "snap_iter_1.caffemodel").unlink()
    with refused(
        "file-missing", field="learned_net", value="snap_iter_1.caffemodel", hint="put snap_iter_1.caffemodel"
    ):
        Solver(param()).restore(path)


def test_a_state_of_another_solver_or_net_is_refused(case):
    path = snapshot(case)
    with refused("wrong-count", file=path.name):
        Solver(param(type="Adam")).restore(path)
    changed = NET.replace("num_output: 1", "num_output: 2").replace('type: "EuclideanLoss"', 'type: "Silence"')
    (case / "net.prototxt").write_text(changed.replace('top: "loss"', ""))
    with refused("shape-mismatch", file=path.name):
        Solver(param()).restore(path)


@pytest.mark.parametrize("keep", [0, 10, 30])
def test_truncated_states_are_refused(case, keep):
    path = snapshot(case)
    path.write_bytes(path.read_bytes()[:keep])
    solver = Solver(param())
    before = weight(solver)
    with pytest.raises((FileError, SolverError)):
        solver.restore(path)
    assert torch.equal(before, weight(solver))


def test_the_history_of_old_caffe_with_four_axes_is_taken(case):
    path = snapshot(case)
    state, store = read_binary(path, pb.SolverState)
    raw = pb.SolverState.FromString(path.read_bytes())
    for blob, old in zip(raw.history, ((1, 1, 1, 3), (1, 1, 1, 1)), strict=True):
        blob.ClearField("shape")
        blob.num, blob.channels, blob.height, blob.width = old
    path.write_bytes(raw.SerializeToString())
    solver = Solver(param())
    solver.restore(path)
    assert np.array_equal(solver.history[0].numpy(), store.data(state.history[0]))


def test_layer_names_that_hdf5_does_not_allow_are_refused_at_the_start(case):
    (case / "net.prototxt").write_text(NET.replace('name: "ip"', 'name: "block/ip"'))
    Solver(param())
    message = param()
    message.snapshot_format = pb.SolverParameter.HDF5
    with pytest.raises(FileError, match="block/ip"):
        Solver(message)


def test_statistics_of_batch_norm_are_moved_by_the_forward_pass_alone(case):
    normed = NET.replace('bottom: "ip" bottom: "label"', 'bottom: "norm" bottom: "label"')
    layer = 'layer { name: "norm" type: "BatchNorm" bottom: "ip" top: "norm" }\n'
    (case / "net.prototxt").write_text(normed.replace('layer { name: "loss"', layer + 'layer { name: "loss"'))
    found = []
    for decay in (0.0, 0.5):
        solver = Solver(param(weight_decay=decay, base_lr=0.0, weights=[]))
        solver.step(3)
        found.append(caffe_blobs(solver.net)["norm"])
        assert float(found[-1][2]) == pytest.approx(1 + 0.999 + 0.999**2, rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_layers_that_share_weights_move_as_one(case):
    shared = 'param { name: "w" } param { name: "b" lr_mult: 2 decay_mult: 0 }'
    first = NET.replace("param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }", shared)
    twin = 'layer { name: "twin" type: "InnerProduct" bottom: "data" top: "twin" inner_product_param { num_output: 1 } '
    loss = 'layer { name: "loss2" type: "EuclideanLoss" bottom: "twin" bottom: "label" top: "loss2" }'
    (case / "net.prototxt").write_text(first + twin + shared.replace("lr_mult: 2 decay_mult: 0", "") + "}" + loss)
    solver = Solver(param(weight_decay=0.0))
    (case / "net.prototxt").write_text(NET.replace('top: "loss"', 'top: "loss" loss_weight: 2'))
    alone = Solver(param(weight_decay=0.0))
    alone.net.load_state_dict({key: value for key, value in solver.net.state_dict().items() if key.startswith("ip")})
    solver.step(5)
    alone.step(5)
    assert torch.allclose(weight(solver), weight(alone), rtol=1e-5)
    assert torch.equal(solver.net.state_dict()["twin.weight"], weight(solver))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_agrees_with_one_on_the_cpu(case):
    ends = []
    for device in ("cpu", "cuda"):
        solver = Solver(param(), device=device)
        solver.solve()
        ends.append(weight(solver).cpu())
    assert torch.allclose(*ends, rtol=1e-4)


def test_a_criterion_trains_and_tests_as_the_loss_layer_it_replaces(case):
    _, as_layer = logged(param())
    path = case / "net.prototxt"
    text = path.read_text()
    path.write_text(text[: text.rindex("layer {")])

    def half_the_squares(blobs):
        return (blobs["ip"] - blobs["label"]).square().sum() / (2 * len(blobs["ip"]))

    lines, solver = logged(param(), criterion=half_the_squares)
    torch.testing.assert_close(weight(solver), weight(as_layer))
    assert list(solver.outputs) == ["loss"]
    assert any(re.search(r"Test net output #0: loss = \S+ \(\* 1 = ", line) for line in lines)
    assert solver.test(0).loss == pytest.approx(solver.test(0).scores[0][1])


def test_a_criterion_together_with_a_loss_layer_is_refused(case):
    with refused("conflict"):
        Solver(param(), criterion=lambda blobs: blobs["ip"].sum())
