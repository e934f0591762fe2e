"""A forest of regression trees as plain numbers: learned by scikit-learn, applied by NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lq_emotion.common.records import Record

Doubles = npt.NDArray[np.float64]
_LEAF = -1


@dataclass(frozen=True)
class Forest(Record):
    """The mean of several regression trees.

    The nodes of all trees are in common lists. A sample goes from a root to a leaf: to `below` where its measure is
    at most the threshold, else to `above`.
    """

    measures: tuple[str, ...]
    """Names of the columns of a sample."""
    roots: tuple[int, ...]
    """The nodes where the trees begin."""
    feature: tuple[int, ...]
    """Column that a node compares, -1 in a leaf."""
    threshold: tuple[float, ...]
    """Threshold that it is compared with, as float32."""
    below: tuple[int, ...]
    above: tuple[int, ...]
    """The next nodes of a node."""
    value: tuple[float, ...]
    """Value of the leaves."""

    def __post_init__(self) -> None:
        count = len(self.feature)
        places = (*self.roots, *(place for place in (*self.below, *self.above) if place != _LEAF))
        fits = {count} == {len(self.threshold), len(self.below), len(self.above), len(self.value)}
        # children come after their parents: every walk ends
        forward = all(
            feature == _LEAF or min(below, above) > node
            for node, (feature, below, above) in enumerate(zip(self.feature, self.below, self.above, strict=False))
        )
        if not (fits and forward and self.roots and all(0 <= place < count for place in places)):
            raise ValueError("the lists of nodes do not fit each other")
        if not all(_LEAF <= feature < len(self.measures) for feature in self.feature):
            raise ValueError("a node compares a measure that there is not")

    def __call__(self, values: npt.ArrayLike) -> Doubles:
        """Return the forest's value of each sample, (n,), from finite measures, (n, number of measures)."""
        feature, threshold, below, above, value = self._nodes
        samples = np.asarray(values, np.float32)
        node = np.tile(np.array(self.roots), (len(samples), 1))
        rows = np.arange(len(samples))[:, None]
        while (inner := feature[node] != _LEAF).any():
            goes_below = samples[rows, np.where(inner, feature[node], 0)] <= threshold[node]
            node = np.where(inner, np.where(goes_below, below[node], above[node]), node)
        return np.asarray(value[node].mean(axis=1), np.float64)

    @cached_property
    def _nodes(self) -> tuple[npt.NDArray[Any], ...]:
        return (
            np.array(self.feature, np.int64),
            np.array(self.threshold, np.float64),
            np.array(self.below, np.int64),
            np.array(self.above, np.int64),
            np.array(self.value, np.float64),
        )


def learn_forest(measures: tuple[str, ...], values: Doubles, target: Doubles, falls: tuple[bool, ...]) -> Forest:
    """Learn a forest of targets (n,) from values (n, measures); it does not rise in the measures that `falls` marks."""
    from sklearn.ensemble import RandomForestRegressor

    learner = RandomForestRegressor(
        n_estimators=8, max_leaf_nodes=32, min_samples_leaf=max(1, len(target) // 1000),
        max_samples=min(1.0, 60_000 / len(target)), monotonic_cst=[-int(fall) for fall in falls], random_state=0,
    ).fit(values, target)  # fmt: skip
    roots: list[int] = []
    nodes: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "below", "above", "value")}
    for estimator in learner.estimators_:
        tree, start = estimator.tree_, len(nodes["feature"])
        roots.append(start)
        inner = tree.children_left != _LEAF
        nodes["feature"] += np.where(inner, tree.feature, _LEAF).tolist()
        nodes["threshold"] += np.where(inner, tree.threshold, 0.0).tolist()
        nodes["below"] += np.where(inner, tree.children_left + start, _LEAF).tolist()
        nodes["above"] += np.where(inner, tree.children_right + start, _LEAF).tolist()
        nodes["value"] += tree.value.reshape(-1).tolist()
    return Forest(measures, tuple(roots), *(tuple(values) for values in nodes.values()))
