"""Forests as plain numbers: applied by NumPy as scikit-learn applies them."""

import numpy as np
import pytest

from lq_emotion.quality.forest import Forest, learn_forest

STUMPS = Forest(
    measures=("size", "bits"),
    roots=(0, 3),
    feature=(0, -1, -1, -1),
    threshold=(20.0, 0.0, 0.0, 0.0),
    below=(1, -1, -1, -1),
    above=(2, -1, -1, -1),
    value=(0.0, 0.6, 0.2, 0.4),
)  # of the first tree: 0.6 up to a size of 20, else 0.2; of the second: 0.4


def test_a_sample_goes_below_up_to_the_threshold_and_trees_are_averaged():
    assert STUMPS([[20.0, 0], [20.1, 0], [5, 9]]).tolist() == [0.5, pytest.approx(0.3), 0.5]


def test_no_samples_have_no_values():
    assert STUMPS(np.empty((0, 2))).shape == (0,)


def test_a_forest_is_read_back_as_it_was_written():
    assert Forest.from_json(STUMPS.to_json()) == STUMPS


@pytest.mark.parametrize(
    "change",
    [
        {"below": [0, -1, -1, -1]},
        {"above": [9, -1, -1, -1]},
        {"feature": [2, -1, -1, -1]},
        {"value": [0.0]},
        {"roots": []},
    ],
)
def test_nodes_that_do_not_fit_each_other_are_refused(change):
    with pytest.raises(ValueError, match=r"fit each other|measure"):
        Forest.from_json(STUMPS.to_json() | change)


def test_numpy_gives_what_scikit_learn_gives():
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 100, (2000, 2))
    target = 1 / (1 + values[:, 0]) + rng.uniform(0, 0.1, 2000)
    learner = ensemble.RandomForestRegressor(
        n_estimators=8, max_leaf_nodes=32, min_samples_leaf=2, max_samples=1.0, monotonic_cst=[-1, -1], random_state=0
    ).fit(values, target)
    forest = learn_forest(("size", "bits"), values, target, (True, True))
    assert np.allclose(forest(values), learner.predict(values), rtol=1e-12)


def test_a_forest_does_not_rise_where_it_must_fall():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    values = rng.uniform(0, 1, (2000, 1))
    target = np.sin(9 * values[:, 0]) + rng.normal(0, 0.1, 2000)
    forest = learn_forest(("size",), values, target, (True,))
    assert (np.diff(forest(np.linspace(0, 1, 300)[:, None])) <= 1e-12).all()
