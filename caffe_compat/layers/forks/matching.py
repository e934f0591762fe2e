"""Which ground truth each box is trained towards, and which boxes are trained as background: SSD's matching and mining.

Facts from weiliu89/caffe (ssd), util/bbox_util.cpp. Everything is counted in float32, whatever the net's type.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.layers.forks.boxes import Array, area, overlaps, rounded
from caffe_compat.layers.forks.std_sort import best

Indices = npt.NDArray[np.int64]
FREE, IGNORED = -1, -2
"""What stands for the number of a ground truth where a box has none, and where it lies across the image's border."""

_LEAST_OVERLAP = 1e-6
_LEAST_AREA = 1e-5  # smaller boxes do not take part in non-maximum suppression


@dataclass(frozen=True)
class Matcher:
    """When a box matches a ground truth.

    Attributes
    ----------
    per_prediction : whether boxes beyond each ground truth's best one may match it.
    threshold : the overlap that these need.
    inside_only : whether boxes across the image's border are left out.
    """

    per_prediction: bool
    threshold: float
    inside_only: bool

    def match(self, boxes: Array, truths: Array, among: Indices) -> tuple[Indices, Array]:
        """Return the ground truth of each box, FREE or IGNORED, and the overlap with it, of a free box the largest.

        `boxes` are (P, 4), `truths` (G, 4), of which those `among` these numbers may be matched; both results are (P,).
        """
        matches = np.full(len(boxes), FREE)
        if not among.size:
            return matches, np.zeros(len(boxes), np.float32)
        table = overlaps(boxes[:, None], truths[None, among])
        table[~(table.astype(np.float64) > _LEAST_OVERLAP)] = 0
        if self.inside_only:
            outside = ((boxes < 0) | (boxes > 1)).any(1)
            matches[outside], table[outside] = IGNORED, 0
        overlap = table.max(1)
        self._pair(table.copy(), matches, overlap, among)
        if self.per_prediction:
            free = (matches == FREE) & (overlap > 0) & (overlap >= np.float32(self.threshold))
            matches[free] = among[table[free].argmax(1)]
        return matches, overlap

    def _pair(self, table: Array, matches: Indices, overlap: Array, among: Indices) -> None:
        """Give each ground truth the box that overlaps it most, the largest overlap of all first."""
        for _ in among:
            box, truth = divmod(int(table.argmax()), len(among))
            if table[box, truth] <= 0:
                return
            matches[box], overlap[box] = among[truth], table[box, truth]
            table[box], table[:, truth] = 0, 0


@dataclass(frozen=True)
class Miner:
    """Which boxes are trained beside the matched ones.

    Attributes
    ----------
    hard_examples : whether the boxes of the largest loss are chosen, matched or not (HARD_EXAMPLE), else those without
        a match (MAX_NEGATIVE).
    ratio : for MAX_NEGATIVE, how many for each match.
    below : for MAX_NEGATIVE, the overlap that they stay below.
    sample_size : for HARD_EXAMPLE, how many for each image.
    nms : threshold and top_k of the suppression before the choice; None without it.
    prior_nms : whether prior boxes are compared there, else the predicted ones.
    """

    hard_examples: bool
    ratio: float
    below: float
    sample_size: int
    nms: tuple[float, int] | None
    prior_nms: bool

    def mine(self, matches: Indices, overlap: Array, losses: Array, boxes: Array | None) -> tuple[Indices, Indices]:
        """Return the matches that remain, and which boxes (P, 4) of an image are trained as background.

        `matches` and `overlap` are those that :meth:`Matcher.match` returns; all have the length P.
        """
        if self.hard_examples:
            eligible, count = np.arange(len(matches)), self.sample_size
        else:
            eligible = np.flatnonzero((matches == FREE) & (overlap < np.float32(self.below)))
            count = int(np.float32((matches > FREE).sum()) * np.float32(self.ratio))
        count = max(min(count, len(eligible)), 0)
        if self.nms is None or boxes is None:
            chosen = eligible[best(losses[eligible], count)]
        else:
            chosen = eligible[_suppress(boxes[eligible], losses[eligible], *self.nms, count)]
        is_chosen = np.zeros(len(matches), bool)
        is_chosen[chosen] = True
        negatives = np.flatnonzero(is_chosen & (matches == FREE))
        if self.hard_examples:
            matches = np.where((matches > FREE) & ~is_chosen, FREE, matches)
        return matches, negatives


def _suppress(boxes: Array, losses: Array, threshold: float, top_k: int, count: int) -> list[int]:
    """Return up to `count` boxes in the order of their losses, without those that overlap one before."""
    order = np.argsort(-losses, kind="stable")
    order = order[:top_k] if top_k > -1 else order
    order = order[~(area(boxes[order]).astype(np.float64) < _LEAST_AREA)]
    chosen: list[int] = []
    while len(order) and len(chosen) < count:
        chosen.append(int(order[0]))
        order = order[1:]
        order = order[~(overlaps(boxes[chosen[-1]], boxes[order]) > np.float32(threshold))]
    return chosen


def softmax_losses(scores: Array, labels: Indices) -> Array:
    """Return -log softmax(scores)[label] of each row of (P, C)."""
    powers = rounded(np.exp, scores - scores.max(1, keepdims=True))
    total = np.zeros(len(scores), scores.dtype)
    for column in powers.T:  # in the fork's order
        total += column
    chosen = powers[np.arange(len(scores)), labels] / total
    return -rounded(np.log, np.maximum(chosen, np.finfo(np.float32).tiny))


def logistic_losses(scores: Array, labels: Indices) -> Array:
    """Return the logistic cross entropy of each row of (P, C), summed over the classes."""
    loss = np.zeros(len(scores), scores.dtype)
    for label, column in enumerate(scores.T):
        positive = (column >= 0).astype(scores.dtype)
        soft = rounded(np.log, 1 + rounded(np.exp, column - 2 * column * positive))
        loss -= column * ((labels == label) - positive) - soft
    return loss


def location_losses(differences: Array, *, smooth: bool) -> Array:
    """Return the loss of each row of (M, 4) differences, each value added in float64 and rounded."""
    loss = np.zeros(len(differences), np.float32)
    for column in differences.T.astype(np.float64):
        size = np.abs(column)
        terms = np.where(size < 1, 0.5 * column * column, size - 0.5) if smooth else 0.5 * column * column
        loss = (loss + terms).astype(np.float32)
    return loss
