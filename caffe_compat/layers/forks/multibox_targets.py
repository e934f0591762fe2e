"""The targets of MultiBoxLoss: the ground truth that is matched to each prior box, and its class.

That is SSD's matching; its mining chooses the boxes that are trained as background.

Facts from weiliu89/caffe (ssd), multibox_loss_layer.cpp and util/bbox_util.cpp. Everything is counted in
float32, whatever the net's type.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.layers.forks.boxes import Array, BoxCode, area, check_variances, overlaps, rounded
from caffe_compat.layers.forks.std_sort import best
from caffe_compat.layers.labels import whole_numbers

Indices = npt.NDArray[np.int64]
FREE, IGNORED = -1, -2
"""In place of the number of a ground truth: a box that has none, and one across the image's border."""

_LEAST_OVERLAP = 1e-6
_LEAST_AREA = 1e-5  # smaller boxes do not take part in non-maximum suppression


@dataclass(frozen=True)
class Matcher:
    """The rule by which a box matches a ground truth."""

    per_prediction: bool
    """Boxes beyond each ground truth's best one may match it, from the overlap `threshold` on."""
    threshold: float
    inside_only: bool
    """Boxes across the image's border are left out."""

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
    """The choice of boxes to train in addition to the matched ones."""

    hard_examples: bool
    """HARD_EXAMPLE: boxes of the largest loss, matched or not; else MAX_NEGATIVE: boxes without a match."""
    ratio: float
    """Of MAX_NEGATIVE: boxes for each match."""
    below: float
    """Of MAX_NEGATIVE: the largest overlap."""
    sample_size: int
    """Of HARD_EXAMPLE: boxes for each image."""
    nms: tuple[float, int] | None
    """Threshold and top_k of the suppression before the choice; None without it."""
    prior_nms: bool
    """It compares the prior boxes, else the predicted ones."""

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


@dataclass(frozen=True)
class MultiBoxRules:
    """The settings of MultiBoxLoss that decide its targets."""

    num_classes: int
    share_location: bool
    background: int
    use_difficult: bool
    code: BoxCode
    matcher: Matcher
    miner: Miner | None
    """None where every box is trained."""
    prior_matching: bool
    """Prior boxes are matched, else the predicted ones."""
    bp_inside: bool
    """Coordinates outside the image are left out."""
    agnostic: bool
    """Every object has the class after the background's."""
    logistic: bool
    """The class loss is LOGISTIC, else SOFTMAX."""
    smooth: bool
    """The location loss is SMOOTH_L1, else L2."""


@dataclass(frozen=True)
class Truth:
    """The ground truth of one image: (G,) labels and (G, 4) boxes."""

    labels: Indices
    boxes: Array


@dataclass(frozen=True)
class Locations:
    """The predicted locations of an image that the loss compares, and their targets."""

    prior: Indices
    """(M,)"""
    group: Indices
    """(M,) the class, or 0 where classes share locations."""
    inside: npt.NDArray[np.bool_]
    """(M, 4) whether a coordinate is compared; elsewhere there is no difference."""
    divisor: Array
    """(M, 4) divisor of the prediction."""
    codes: Array
    """(M, 4) target of the quotient."""


@dataclass(frozen=True)
class Targets:
    """The targets of a batch."""

    locations: dict[int, Locations]
    """By image, for those with ground truth."""
    rows: Indices
    """(K,) the scores to compare, numbers of (image, prior) pairs."""
    labels: npt.NDArray[np.generic]
    """Their targets: of SOFTMAX classes (K,), of LOGISTIC scores (K, C)."""

    @property
    def matches(self) -> int:
        """The number of matches."""
        return sum(len(part.prior) for part in self.locations.values())


def read_truth(rows: Array, background: int, *, use_difficult: bool) -> dict[int, Truth]:
    """Return the ground truth by image, of rows (R, 8): image (-1: none), label, instance, box, difficult."""
    images = whole_numbers(rows[:, 0], "image")
    rows, images = rows[images != -1], images[images != -1]
    labels = whole_numbers(rows[:, 1], "label")
    if (labels == background).any():
        raise DataError("the ground truth has the label of the background", code="invalid", value=background)
    counted = use_difficult | (rows[:, 7] == 0)
    places = {image: counted & (images == image) for image in np.unique(images[counted]).tolist()}
    return {image: Truth(labels[mine], rows[mine, 3:7]) for image, mine in places.items()}


@dataclass(frozen=True)
class Scene:
    """One image with ground truth: `location` (P, groups, 4), `confidence` (P, C), `priors` and `variances` (P, 4)."""

    rules: MultiBoxRules
    location: Array
    confidence: Array
    priors: Array
    variances: Array
    truth: Truth

    def match(self) -> dict[int, tuple[Indices, Array]]:
        """Return by group the number of each prior's ground truth, negative without one, and their overlaps."""
        rules, labels = self.rules, self.truth.labels
        groups = [0] if rules.share_location else [c for c in range(rules.num_classes) if c != rules.background]
        matcher, every = rules.matcher, np.arange(len(labels))
        if not rules.prior_matching:
            among = {g: every if rules.share_location else np.flatnonzero(labels == g) for g in groups}
            return {g: matcher.match(self._decoded(g), self.truth.boxes, among[g]) for g in groups}
        matches, overlap = matcher.match(self.priors, self.truth.boxes, every)
        if rules.share_location:
            return {0: (matches, overlap)}
        own = self._labels(matches, FREE)
        return {g: (np.where(own == g, matches, FREE), overlap) for g in groups}

    def mine(self, miner: Miner, matches: Indices, overlap: Array) -> tuple[Indices, Indices]:
        """Return the matches that remain, and the priors that are trained as background."""
        _check_labels(self.truth.labels[matches[matches >= 0]], self.rules.num_classes)
        labels = self._labels(matches, self.rules.background)
        losses = (logistic_losses if self.rules.logistic else softmax_losses)(self.confidence, labels)
        if miner.hard_examples:
            part = self.locations({0: matches})
            predictions = self.location[part.prior, 0] / part.divisor
            differences = np.where(part.inside, predictions - part.codes, 0)
            losses[part.prior] += location_losses(differences, smooth=self.rules.smooth)
        boxes = None
        if miner.nms is not None:
            boxes = self.priors if miner.prior_nms else self._decoded(0)
        return miner.mine(matches, overlap, losses, boxes)

    def locations(self, matches: dict[int, Indices]) -> Locations:
        """Return the locations that are compared, by group and prior."""
        group, prior, truth = _matched(matches)
        priors, variances = self.priors[prior], self.variances[prior]
        codes, divisor = self.rules.code.encode(self.truth.boxes[truth], priors, variances), np.ones_like(priors)
        if self.rules.code.plain:
            check_variances(variances)
            codes, divisor = codes / variances, variances
        inside = np.ones(codes.shape, bool)
        if self.rules.bp_inside:
            boxes = priors
            if not self.rules.prior_matching:
                boxes = self.rules.code.decode(self.location[prior, group], priors, variances)
            inside = ~((boxes < 0) | (boxes > 1))
        return Locations(prior, group, inside, divisor, codes)

    def _labels(self, matches: Indices, otherwise: int) -> Indices:
        return np.where(matches >= 0, self.truth.labels[np.maximum(matches, 0)], otherwise)

    def _decoded(self, group: int) -> Array:
        return self.rules.code.decode(self.location[:, group], self.priors, self.variances)


def _matched(matches: dict[int, Indices]) -> tuple[Indices, Indices, Indices]:
    """Return group, prior and ground truth of the matches, group by group."""
    priors = [np.flatnonzero(found >= 0) for found in matches.values()]
    groups = [np.full(len(prior), group) for group, prior in zip(matches, priors, strict=True)]
    truths = [found[found >= 0] for found in matches.values()]
    return _joined(groups), _joined(priors), _joined(truths)


def _joined(parts: list[Indices]) -> Indices:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _check_labels(labels: Indices, num_classes: int) -> None:
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.size:
        problem = f"a label of the ground truth is out of range 0 to {num_classes - 1}"
        raise DataError(problem, code="out-of-range", field="label", value=int(wrong[0]))


def assign(rules: MultiBoxRules, location: Array, confidence: Array, prior: Array, truth: Array) -> Targets:
    """Return the targets of the predictions of a batch.

    `location` is (N, P, groups, 4), `confidence` (N, P, C), `prior` (2, P, 4): boxes and variances; all are float32.
    """
    images, priors = confidence.shape[:2]
    matches: dict[int, dict[int, Indices]] = {}
    locations: dict[int, Locations] = {}
    truths = read_truth(truth, rules.background, use_difficult=rules.use_difficult)
    rows: list[Indices] = []
    labels: list[Indices] = []
    for image in sorted(set(truths) & set(range(images))):
        scene = Scene(rules, location[image], confidence[image], prior[0], prior[1], truths[image])
        by_group = scene.match()
        matches[image] = {group: numbers for group, (numbers, _) in by_group.items()}
        negatives = np.zeros(0, np.int64)
        if rules.miner is not None:
            remaining, negatives = scene.mine(rules.miner, *by_group[0])
            matches[image] = {0: remaining}
        locations[image] = scene.locations(matches[image])
        objects = truths[image].labels[_matched(matches[image])[2]]
        objects = np.full_like(objects, rules.background + 1) if rules.agnostic else objects
        _check_labels(objects, rules.num_classes)
        rows += [locations[image].prior + image * priors, negatives + image * priors]
        labels += [objects, np.full(len(negatives), rules.background)]
    boxes, classes = _joined(rows), _joined(labels)
    if rules.miner is None:
        return Targets(locations, np.arange(images * priors), _of_all(rules, images, priors, boxes, classes))
    return Targets(locations, boxes, _of_each(rules, classes) if rules.logistic else classes)


def _of_each(rules: MultiBoxRules, labels: Indices) -> Array:
    """Return the target of each score: 1 for the class; the rest is set to the background's number."""
    out = np.full((len(labels), rules.num_classes), rules.background, np.float32)
    known = (labels >= 0) & (labels < rules.num_classes)  # without a background's class, a negative has none
    out[np.flatnonzero(known), labels[known]] = 1
    return out


def _of_all(rules: MultiBoxRules, images: int, priors: int, rows: Indices, labels: Indices) -> npt.NDArray[np.generic]:
    """Return the targets of the scores of every box, where nothing is mined.

    LOGISTIC writes the classes of an image where those of image / C begin, as if a box had one number.
    """
    if not rules.logistic:
        out = np.full(images * priors, rules.background)
        out[rows] = labels
        return out
    each = np.full((images * priors, rules.num_classes), rules.background, np.float32)
    image, prior = np.divmod(rows, priors)
    each.reshape(-1)[image * priors + prior * rules.num_classes + labels] = 1
    return each
