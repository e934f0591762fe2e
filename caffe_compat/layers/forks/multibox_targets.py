"""What MultiBoxLoss compares predictions with: the ground truth that each prior box is given, and its class.

Facts from weiliu89/caffe (ssd), multibox_loss_layer.cpp and util/bbox_util.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.layers.forks.boxes import Array, BoxCode, check_variances
from caffe_compat.layers.forks.matching import (
    FREE,
    Indices,
    Matcher,
    Miner,
    location_losses,
    logistic_losses,
    softmax_losses,
)
from caffe_compat.layers.labels import whole_numbers


@dataclass(frozen=True)
class MultiBoxRules:
    """The settings of MultiBoxLoss that decide what is compared.

    Attributes
    ----------
    miner : None where every box is trained.
    prior_matching : whether prior boxes are matched, else the predicted ones.
    bp_inside : whether coordinates outside the image are left out.
    agnostic : whether every object has the class after the background's.
    logistic, smooth : whether the losses are LOGISTIC and SMOOTH_L1, else SOFTMAX and L2.
    """

    num_classes: int
    share_location: bool
    background: int
    use_difficult: bool
    code: BoxCode
    matcher: Matcher
    miner: Miner | None
    prior_matching: bool
    bp_inside: bool
    agnostic: bool
    logistic: bool
    smooth: bool


@dataclass(frozen=True)
class Truth:
    """The ground truth of one image: (G,) labels and (G, 4) boxes."""

    labels: Indices
    boxes: Array


@dataclass(frozen=True)
class Locations:
    """The predicted locations of an image that are compared, and with what.

    Attributes
    ----------
    prior, group : (M,) which ones; `group` is the class, or 0 where classes share locations.
    inside : (M, 4) whether a coordinate is compared; elsewhere there is no difference.
    divisor : (M, 4) what the prediction is divided by.
    codes : (M, 4) what the quotient should be.
    """

    prior: Indices
    group: Indices
    inside: npt.NDArray[np.bool_]
    divisor: Array
    codes: Array


@dataclass(frozen=True)
class Targets:
    """What the predictions of a batch are compared with.

    Attributes
    ----------
    locations : by image, for those with ground truth.
    rows : (K,) the scores that are compared, numbers of (image, prior) pairs.
    labels : (K,) the classes they should be, of SOFTMAX; of LOGISTIC (K, C) what each score should be.
    """

    locations: dict[int, Locations]
    rows: Indices
    labels: npt.NDArray[np.generic]

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
    """One image with ground truth.

    Attributes
    ----------
    location : (P, groups, 4).
    confidence : (P, C).
    priors, variances : (P, 4).
    """

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
    """Return what the predictions of a batch are compared with.

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
    """Return what each of the scores should be: 1 for the class; the rest is set to the background's number."""
    out = np.full((len(labels), rules.num_classes), rules.background, np.float32)
    known = (labels >= 0) & (labels < rules.num_classes)  # without a background's class, a negative has none
    out[np.flatnonzero(known), labels[known]] = 1
    return out


def _of_all(rules: MultiBoxRules, images: int, priors: int, rows: Indices, labels: Indices) -> npt.NDArray[np.generic]:
    """Return what the scores of every box should be, where nothing is mined.

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
