"""A rate divided when the test loss stalls: when, how often, and the same after a kill."""

import json

import pytest

from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.training.plateau import PlateauSolver, best_iteration, divisions
from tests.refusals import refused
from tests.solver.case import SOLVER, write_case

NAN = float("nan")


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([5, 4, 3, 2, 1], []),
        ([5, 4, 4, 4], []),
        ([5, 4, 4, 4, 4], [4]),
        ([5, 4, 6, 6, 3, 3, 3, 3], [7]),  # a better one begins the count again
        ([1, 2, 2, 2, 2, 2, 2, 0.5, 1, 1, 1], [3, 6, 10]),
        ([1] * 20, [3, 6, 9]),  # at most three times
        ([NAN] * 4, [2]),
        ([], []),
    ],
)
def test_three_tests_no_better_than_the_best_divide_the_rate(losses, expected):
    assert divisions(dict(enumerate(losses))) == expected


def test_the_order_of_the_tests_does_not_matter():
    losses = {0: 1.0, 10: 2.0, 20: 2.0, 30: 2.0}
    assert divisions(dict(reversed(losses.items()))) == [30]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A net that gets worse from test to test, as its rate is much too high."""
    monkeypatch.chdir(tmp_path)
    return write_case(tmp_path)


def solver(folder, only_best=False, **fields):
    param = parse_text(SOLVER, pb.SolverParameter)
    param.lr_policy, param.gamma, param.base_lr, param.test_interval = "multistep", 0.1, 0.6, 1
    for name, value in fields.items():
        setattr(param, name, value)
    return PlateauSolver(param, tests=folder / "plateau.json", only_best=only_best)


def weight(trained):
    return trained.net.state_dict()["ip.weight"].tolist()


def rates(trained):
    return list(trained.param.stepvalue)


def test_the_rate_falls_from_the_iteration_of_the_test_on(folder, monkeypatch):
    trained = solver(folder)
    used = []
    apply = trained._updater.apply
    monkeypatch.setattr(trained._updater, "apply", lambda rate, at: (used.append(rate), apply(rate, at))[1])
    trained.solve()
    steps = rates(trained)
    assert steps  # it did get worse
    assert [round(0.6 / rate) for rate in used] == [10 ** sum(at >= step for step in steps) for at in range(12)]
    losses = {int(at): loss for at, loss in json.loads((folder / "plateau.json").read_text()).items()}
    assert list(losses) == list(range(13))
    assert steps == divisions(losses)


@pytest.mark.parametrize("killed_at", [6, 8, 9])
def test_a_killed_run_forgets_the_tests_behind_its_snapshot_and_ends_in_the_same_weights(folder, killed_at):
    uninterrupted = solver(folder)
    uninterrupted.solve()
    (folder / "plateau.json").unlink()
    solver(folder).step(killed_at)  # its last snapshot is of iteration 5; tests beyond it are in the file
    assert len(json.loads((folder / "plateau.json").read_text())) == killed_at
    again = solver(folder)
    again.restore("snap_iter_5.solverstate")
    again.solve()
    assert weight(again) == weight(uninterrupted)
    assert rates(again) == rates(uninterrupted)


def test_only_the_best_snapshot_and_the_last_one_stay(folder):
    trained = solver(folder, snapshot=1, only_best=True)
    trained.solve()
    losses = {int(at): loss for at, loss in json.loads((folder / "plateau.json").read_text()).items() if at != "0"}
    best = best_iteration({at: loss for at, loss in losses.items() if at < 12})
    names = sorted(path.name for path in folder.glob("snap_iter_*.caffemodel"))
    assert names == sorted({f"snap_iter_{best}.caffemodel", "snap_iter_12.caffemodel"})


def test_the_best_test_is_the_first_of_the_smallest_finite_losses():
    assert best_iteration({0: 3.0, 5: NAN, 10: 1.0, 15: 1.0}) == 10
    assert best_iteration({0: NAN}) is None


def test_a_new_run_forgets_the_tests_of_an_old_run(folder):
    solver(folder).step(9)
    assert rates(solver(folder)) == []


def test_a_file_that_lacks_the_tests_of_a_snapshot_is_refused(folder):
    solver(folder).step(12)
    for content, code, hint in (
        ("{}", "mismatch", "--fresh"), ("[1]", "wrong-format", ""), ('{"10": [1]}', "damaged-file", "--fresh"),
    ):  # fmt: skip
        (folder / "plateau.json").write_text(content)
        with refused(code, file="plateau.json", hint=hint):
            solver(folder).restore("snap_iter_10.solverstate")


def test_another_policy_is_refused(folder):
    with refused("conflict", field="lr_policy", value="fixed"):
        solver(folder, lr_policy="fixed")
