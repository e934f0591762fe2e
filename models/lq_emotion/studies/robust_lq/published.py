"""Table 1 of arXiv 1709.03126: valence on AVEC 2016's development set, nine recordings scored as one."""

from __future__ import annotations

from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import FACTORS, Method

_HR = Score(0.146, 0.430, 0.325)
_TABLE = {
    Method.LR: (
        (0.142, 0.392, 0.302), (0.155, 0.381, 0.283), (0.149, 0.300, 0.263),
        (0.161, 0.323, 0.238), (0.143, 0.291, 0.224), (0.137, 0.316, 0.212),
    ),
    Method.NON_JOINT: (
        (0.121, 0.363, 0.293), (0.123, 0.354, 0.281), (0.128, 0.344, 0.280),
        (0.129, 0.317, 0.265), (0.126, 0.287, 0.235), (0.124, 0.244, 0.191),
    ),
    Method.JOINT: (
        (0.132, 0.396, 0.323), (0.127, 0.380, 0.319), (0.127, 0.325, 0.274),
        (0.134, 0.320, 0.266), (0.125, 0.246, 0.204), (0.137, 0.219, 0.192),
    ),
    Method.JOINT_OA: (
        (0.129, 0.399, 0.328), (0.131, 0.391, 0.327), (0.134, 0.375, 0.309),
        (0.130, 0.358, 0.285), (0.132, 0.308, 0.223), (0.132, 0.273, 0.172),
    ),
}  # fmt: skip
METHODS = (Method.HR, *_TABLE)
"""The methods of the published table."""


def published(method: Method, factor: int) -> Score | None:
    """Return the published score of a method at a factor; None where the paper has none."""
    if method == Method.HR:
        return _HR
    if method not in _TABLE or factor not in FACTORS:
        return None
    return Score(*_TABLE[method][FACTORS.index(factor)])


def compare(
    measured: Score, method: Method, factor: int, dimension: str = "valence"
) -> tuple[Score | None, Score | None]:
    """Return the published score, and how a measured one differs from it; None, None where none is published."""
    score = published(method, factor) if dimension == "valence" else None
    return score, None if score is None else measured - score
