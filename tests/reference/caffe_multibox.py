"""MultiBoxLoss and DetectionEvaluate of weiliu89/caffe (ssd), box by box, in float32 as the fork has it (see caffe_layers).

Facts from util/bbox_util.cpp, layers/multibox_loss_layer.cpp and layers/detection_evaluate_layer.cpp.
"""

import math
from pathlib import Path

import numpy as np

from tests.reference.caffe_layers import FLT_MIN, Layer, check
from tests.reference.std_sort import std_sort

F = np.float32
CORNER, CENTER_SIZE, CORNER_SIZE = 1, 2, 3
NONE, MAX_NEGATIVE, HARD_EXAMPLE = 0, 1, 2


def exp(x):
    return F(math.exp(float(x)))


def log(x):
    return F(math.log(float(x)))


class Box:
    def __init__(self, corners, label=0, difficult=False, score=0.0):
        self.x0, self.y0, self.x1, self.y1 = (F(v) for v in corners)
        self.label, self.difficult, self.score = label, difficult, score

    @property
    def corners(self):
        return self.x0, self.y0, self.x1, self.y1

    def size(self):
        return F(0) if self.x1 < self.x0 or self.y1 < self.y0 else (self.x1 - self.x0) * (self.y1 - self.y0)

    def crosses(self):
        return any(v < 0 or v > 1 for v in self.corners)


def intersection(a, b):
    if b.x0 > a.x1 or b.x1 < a.x0 or b.y0 > a.y1 or b.y1 < a.y0:
        return Box((0, 0, 0, 0))
    return Box((max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)))


def jaccard(a, b, pixel=0):
    """`pixel` is 1 where boxes are in pixels, both ends included."""
    both = intersection(a, b)
    width, height = both.x1 - both.x0 + F(pixel), both.y1 - both.y0 + F(pixel)
    if width <= 0 or height <= 0:
        return F(0)
    return width * height / (a.size() + b.size() - width * height)


def encode(prior, variance, code, plain, box):
    if code == CORNER:
        out = [a - b for a, b in zip(box.corners, prior.corners, strict=True)]
    else:
        width, height = prior.x1 - prior.x0, prior.y1 - prior.y0
        check(width > 0 and height > 0, "prior area")
        if code == CORNER_SIZE:
            sides = (width, height, width, height)
            out = [(a - b) / s for a, b, s in zip(box.corners, prior.corners, sides, strict=True)]
        else:
            wide, high = box.x1 - box.x0, box.y1 - box.y0
            check(wide > 0 and high > 0, "box area")
            out = [
                (F((box.x0 + box.x1) / F(2)) - F((prior.x0 + prior.x1) / F(2))) / width,
                (F((box.y0 + box.y1) / F(2)) - F((prior.y0 + prior.y1) / F(2))) / height,
                log(wide / width),
                log(high / height),
            ]
    return out if plain else [a / v for a, v in zip(out, variance, strict=True)]


def decode(prior, variance, code, plain, location):
    moved = [F(v) if plain else k * F(v) for v, k in zip(location, variance, strict=True)]
    if code == CORNER:
        return Box([a + b for a, b in zip(prior.corners, moved, strict=True)])
    width, height = prior.x1 - prior.x0, prior.y1 - prior.y0
    check(width > 0 and height > 0, "prior area")
    if code == CORNER_SIZE:
        sides = (width, height, width, height)
        return Box([a + m * s for a, m, s in zip(prior.corners, moved, sides, strict=True)])
    x, y = moved[0] * width + (prior.x0 + prior.x1) / F(2), moved[1] * height + (prior.y0 + prior.y1) / F(2)
    w, h = exp(moved[2]) * width, exp(moved[3]) * height
    return Box((x - w / F(2), y - h / F(2), x + w / F(2), y + h / F(2)))


def match(truths, boxes, label, p):
    """The truth of each box (-1: none, -2: left out) and its overlap."""
    indices, best = [-1] * len(boxes), [F(0)] * len(boxes)
    among = [j for j, truth in enumerate(truths) if label == -1 or truth.label == label]
    if not among:
        return indices, best
    table = {}
    for i, box in enumerate(boxes):
        if p.ignore_cross_boundary_bbox and box.crosses():
            indices[i] = -2
            continue
        for j in among:
            overlap = jaccard(box, truths[j])
            if float(overlap) > 1e-6:
                best[i] = max(best[i], overlap)
                table[i, j] = overlap
    pool = list(among)
    while pool:
        largest = None
        for (i, j), overlap in sorted(table.items()):
            if indices[i] == -1 and j in pool and (largest is None or overlap > largest[0]):
                largest = overlap, i, j
        if largest is None:
            break
        overlap, i, j = largest
        indices[i], best[i] = j, overlap
        pool.remove(j)
    if p.match_type == 1:
        for i in range(len(boxes)):
            mine = [(table[i, j], -j) for j in among if (i, j) in table and table[i, j] >= F(p.overlap_threshold)]
            if indices[i] == -1 and mine:
                best[i], indices[i] = max(mine)[0], -max(mine)[1]
    return indices, best


class MultiBoxLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        p = self.p = self.param.multibox_loss_param
        location, confidence, prior, truth = bottoms
        self.classes, self.background = p.num_classes, p.background_label_id - (p.background_label_id > 2**31) * 2**32
        self.groups = 1 if p.share_location else self.classes
        priors = prior.reshape(2, -1, 4)
        self.priors, self.variances = [Box(row) for row in priors[0]], priors[1].astype(F)
        self.location = location.reshape(len(location), len(self.priors), self.groups, 4)
        self.confidence = confidence.reshape(len(location), len(self.priors), self.classes)
        self.truths = self.read(truth.reshape(-1, 8))
        self.matches = [self.find(image) for image in range(len(location))]
        self.negatives = [[] for _ in location]
        if p.mining_type != NONE:
            for image in range(len(location)):
                if self.matches[image]:
                    self.mine(image)
        self.compared = [
            (image, j, group, truth)
            for image, groups in enumerate(self.matches)
            for group, (indices, _) in sorted(groups.items())
            for j, truth in enumerate(indices)
            if truth > -1
        ]
        loss = 0.0
        passes = list(self.param.propagate_down) or [True, True]
        if passes[0]:
            loss += p.loc_weight * self.location_loss()
        if passes[1]:
            loss += self.class_loss()
        return [np.asarray(loss / self.normalizer())]

    def read(self, rows):
        truths = {}
        for row in rows:
            if int(row[0]) == -1:
                continue
            check(int(row[1]) != self.background, "background label")
            if self.p.use_difficult_gt or not row[7]:
                truths.setdefault(int(row[0]), []).append(Box(row[3:7], int(row[1]), bool(row[7])))
        return truths

    def decoded(self, image, group):
        return [
            decode(
                prior,
                self.variances[j],
                self.p.code_type,
                self.p.encode_variance_in_target,
                self.location[image, j, group],
            )
            for j, prior in enumerate(self.priors)
        ]

    def find(self, image):
        if image not in self.truths:
            return {}
        truths, p = self.truths[image], self.p
        if p.share_location:
            boxes = self.priors if p.use_prior_for_matching else self.decoded(image, 0)
            return {0: match(truths, boxes, -1, p)}
        own = [c for c in range(self.classes) if c != self.background]
        if not p.use_prior_for_matching:
            return {c: match(truths, self.decoded(image, c), c, p) for c in own}
        indices, best = match(truths, self.priors, -1, p)
        return {c: ([i if i > -1 and truths[i].label == c else -1 for i in indices], best) for c in own}

    def code(self, image, j, group, truth):
        """What is compared with the prediction, the prediction, and whether the coordinates count."""
        p = self.p
        target = encode(
            self.priors[j], self.variances[j], p.code_type, p.encode_variance_in_target, self.truths[image][truth]
        )
        prediction = list(self.location[image, j, group])
        counts = [True] * 4
        if p.bp_inside:
            box = self.priors[j]
            if not p.use_prior_for_matching:
                box = decode(box, self.variances[j], p.code_type, p.encode_variance_in_target, prediction)
            counts = [not (v < 0 or v > 1) for v in box.corners]
        if p.encode_variance_in_target:
            prediction = [v / k for v, k in zip(prediction, self.variances[j], strict=True)]
            target = [v / k for v, k in zip(target, self.variances[j], strict=True)]
        return target, prediction, counts

    def mine(self, image):
        p = self.p
        indices, best = self.matches[image][0]
        hard = p.mining_type == HARD_EXAMPLE
        losses = []
        for j, index in enumerate(indices):
            label = self.truths[image][index].label if index > -1 else self.background
            loss = self.score_loss(self.confidence[image, j].astype(F), label)
            if hard and index > -1:
                total = F(0)
                for target, prediction, counts in zip(*self.code(image, j, 0, index), strict=True):
                    d = float(F(prediction) - F(target)) if counts else 0.0
                    total = F(total + (0.5 * d * d if p.loc_loss_type == 0 or abs(d) < 1 else abs(d) - 0.5))
                loss = loss + total
            losses.append(loss)
        fits = [j for j in range(len(indices)) if hard or (indices[j] == -1 and best[j] < F(p.neg_overlap))]
        count = p.sample_size if hard else int(F(sum(i > -1 for i in indices)) * F(p.neg_pos_ratio))
        if not (p.HasField("nms_param") and p.nms_param.nms_threshold > 0):
            fits = std_sort(fits, lambda a, b: losses[a] > losses[b])
        else:
            fits.sort(key=lambda j: -losses[j])
            fits = self.suppress(fits, self.priors if p.use_prior_for_nms else self.decoded(image, 0))
        chosen = set(fits[: max(count, 0)])
        self.negatives[image] = [j for j in sorted(chosen) if indices[j] == -1]
        if hard:
            indices = [-1 if i > -1 and j not in chosen else i for j, i in enumerate(indices)]
        self.matches[image] = {0: (indices, best)}

    def suppress(self, order, boxes):
        nms = self.p.nms_param
        order = [j for j in (order[: nms.top_k] if nms.top_k > -1 else order) if not float(boxes[j].size()) < 1e-5]
        chosen = []
        for j in order:
            if all(not jaccard(boxes[k], boxes[j]) > F(nms.nms_threshold) for k in chosen):
                chosen.append(j)
        return chosen

    def score_loss(self, scores, label):
        """The loss that mining goes by, in float32."""
        if self.p.conf_loss_type == 0:
            total = F(0)
            for v in scores:
                total += exp(v - max(scores))
            return -log(max(exp(scores[label] - max(scores)) / total, F(FLT_MIN)))
        loss = F(0)
        for c, v in enumerate(scores):
            loss -= v * F(int(c == label) - int(v >= 0)) - log(F(1) + exp(v - 2 * v * F(v >= 0)))
        return loss

    def location_loss(self):
        self.slopes, loss = {}, 0.0
        for image, j, group, truth in self.compared:
            for k, (target, prediction, counts) in enumerate(zip(*self.code(image, j, group, truth), strict=True)):
                d = float(prediction) - float(target) if counts else 0.0
                near = self.p.loc_loss_type == 0 or abs(d) < 1
                loss += 0.5 * d * d if near else abs(d) - 0.5
                self.slopes[image, j, group, k] = d if near else np.sign(d)
        return loss

    def class_loss(self):
        """Targets of every pair of box and class; without mining, LOGISTIC's are written to odd places."""
        p, priors = self.p, len(self.priors)
        logistic = p.conf_loss_type == 1
        rows = [(image, j) for image in range(len(self.location)) for j in range(priors)]
        labels = {
            (i, j): self.background + 1 if p.map_object_to_agnostic else self.truths[i][t].label
            for i, j, _, t in self.compared
        }
        if p.mining_type != NONE:
            chosen = {(i, j): self.background for i, js in enumerate(self.negatives) for j in js} | labels
            rows = [row for row in rows if row in chosen]
            labels = chosen
        targets = np.full((len(rows), self.classes), float(self.background))
        for n, row in enumerate(rows):
            label = labels.get(row)
            if label is None:
                continue
            if p.mining_type == NONE:
                if logistic:
                    targets.reshape(-1)[row[0] * priors + row[1] * self.classes + label] = 1
            elif 0 <= label < self.classes:
                targets[n, label] = 1
        if p.mining_type == NONE and logistic and not p.share_location:
            for i, j, _, t in self.compared:  # a prior may be matched once for each class
                targets.reshape(-1)[i * priors + j * self.classes + self.truths[i][t].label] = 1
        self.scores_gradient, loss = np.zeros(self.confidence.shape), 0.0
        for n, row in enumerate(rows):
            scores = self.confidence[row]
            if logistic:
                for c, v in enumerate(scores):
                    loss -= v * (targets[n, c] - (v >= 0)) - math.log1p(math.exp(v - 2 * v * (v >= 0)))
                    self.scores_gradient[(*row, c)] = 1 / (1 + math.exp(-v)) - targets[n, c]
            else:
                label = labels.get(row, self.background)
                powers = np.exp(scores - scores.max())
                loss -= math.log(max(powers[label] / powers.sum(), FLT_MIN))
                self.scores_gradient[row] = powers / powers.sum()
                self.scores_gradient[(*row, label)] -= 1
        return loss

    def normalizer(self):
        p = self.param.loss_param
        mode = p.normalization
        if not p.HasField("normalization") and p.HasField("normalize"):
            mode = 1 if p.normalize else 2
        images = len(self.location)
        return max(1, {0: images * len(self.priors), 1: len(self.compared), 2: images, 3: 1}[mode])

    def backward(self, top_diffs):
        passes = list(self.param.propagate_down) or [True, True]
        scale = top_diffs[0] / self.normalizer()
        location = np.zeros(self.location.shape)
        if passes[0]:
            for (image, j, group, k), slope in self.slopes.items():
                location[image, j, group, k] = slope * self.p.loc_weight * scale
        confidence = self.scores_gradient * scale if passes[1] else np.zeros(self.confidence.shape)
        images = len(location)
        return [location.reshape(images, -1), confidence.reshape(images, -1), None, None]


class DetectionEvaluate(Layer):
    def __init__(self, param, phase, blobs=()):
        super().__init__(param, phase, blobs)
        self.sizes, self.at = [], 0
        p = param.detection_evaluate_param
        if p.HasField("name_size_file"):
            lines = Path(p.name_size_file).read_text().splitlines()
            self.sizes = [tuple(map(int, line.split()[1:])) for line in lines if line.strip()]

    def forward(self, bottoms):
        p = self.param.detection_evaluate_param
        truths, detections = {}, {}
        for row in bottoms[1].reshape(-1, 8):
            if int(row[0]) == -1:
                break
            check(int(row[1]) != p.background_label_id, "background label")
            boxes = truths.setdefault(int(row[0]), {}).setdefault(int(row[1]), [])
            boxes.append(Box(row[3:7], int(row[1]), bool(row[7])))
        for row in bottoms[0].reshape(-1, 7):
            if int(row[0]) != -1:
                check(int(row[1]) != p.background_label_id, "background label")
                boxes = detections.setdefault(int(row[0]), {}).setdefault(int(row[1]), [])
                boxes.append(Box(row[3:7], int(row[1]), score=row[2]))
        rows = []
        for c in range(p.num_classes):
            if c != p.background_label_id:
                mine = [b for labels in truths.values() for b in labels.get(c, ())]
                rows.append([-1, c, sum(p.evaluate_difficult_gt or not b.difficult for b in mine), -1, -1])
        for image in sorted(detections):
            for label in sorted(detections[image]):
                if label != -1:
                    rows += self.rate(p, image, label, detections[image][label], truths.get(image, {}).get(label, []))
            if self.sizes:
                self.at = (self.at + 1) % len(self.sizes)
        height = p.num_classes - (p.background_label_id != 2**32 - 1) + sum(bottoms[0].reshape(-1, 7)[:, 1] != -1)
        return [np.array(rows + [[0] * 5] * (height - len(rows)), float).reshape(1, 1, height, 5)]

    def rate(self, p, image, label, boxes, truths):
        if not truths:
            return [[image, label, box.score, 0, 1] for box in boxes]
        pixel = int(bool(self.sizes))
        if self.sizes:
            truths = [self.scaled(box) for box in truths]
        visited, rows = set(), []
        for box in std_sort(boxes, lambda a, b: a.score > b.score):
            box = self.scaled(box) if self.sizes else box
            overlaps = [jaccard(box, truth, pixel) for truth in truths]
            best = int(np.argmax(overlaps))
            hit = overlaps[best] >= F(p.overlap_threshold)
            right = hit and best not in visited
            if hit and truths[best].difficult and not p.evaluate_difficult_gt:
                rows.append([image, label, box.score, 0, 0])
                continue
            if hit:
                visited.add(best)
            rows.append([image, label, box.score, int(right), int(not right)])
        return rows

    def scaled(self, box):
        height, width = self.sizes[self.at]
        sides = (width, height, width, height)
        corners = [F(max(min(v, F(1)), F(0))) * F(s) for v, s in zip(box.corners, sides, strict=True)]
        return PixelBox(corners, box.label, box.difficult, box.score)


class PixelBox(Box):
    def size(self):
        """With both ends, where sides are longer than 1: the size that ScaleBBox stores."""
        return (
            F(0) if self.x1 < self.x0 or self.y1 < self.y0 else (self.x1 - self.x0 + F(1)) * (self.y1 - self.y0 + F(1))
        )
