"""Layer types of forks that train detectors, faces, text and poses, one value at a time (see caffe_layers).

Facts from daijifeng001/caffe-rfcn and CMU's caffe_rtpose (their CUDA code: they have no other), ydwen/caffe-face,
wy1iu/sphereface, yalecyu/crnn.caffe and hszhao/PSPNet (their CPU code).
"""

import itertools
import math

import numpy as np

from tests.reference.caffe_layers import Layer, check
from tests.reference.caffe_losses import SoftmaxWithLoss

F = np.float32
FLT_MIN = 1.1754943508222875e-38


def rounded(value):
    return math.copysign(math.floor(abs(value) + 0.5), value)


class PSROIPooling(Layer):
    def bins(self, roi):
        """Yield (bin row, bin column, rows, columns)."""
        p, (high, wide) = self.param.psroi_pooling_param, self.x.shape[2:]
        x1, y1 = rounded(roi[1]) * p.spatial_scale, rounded(roi[2]) * p.spatial_scale
        x2, y2 = (rounded(roi[3]) + 1) * p.spatial_scale, (rounded(roi[4]) + 1) * p.spatial_scale
        step_y, step_x = max(y2 - y1, 0.1) / p.group_size, max(x2 - x1, 0.1) / p.group_size
        for i, j in np.ndindex(p.group_size, p.group_size):
            rows = range(
                min(max(math.floor(i * step_y + y1), 0), high), min(max(math.ceil((i + 1) * step_y + y1), 0), high)
            )
            columns = range(
                min(max(math.floor(j * step_x + x1), 0), wide), min(max(math.ceil((j + 1) * step_x + x1), 0), wide)
            )
            yield i, j, rows, columns

    def forward(self, bottoms):
        self.x, self.rois = bottoms
        p = self.param.psroi_pooling_param
        top = np.zeros((len(self.rois), p.output_dim, p.group_size, p.group_size))
        for n, roi in enumerate(self.rois.reshape(-1, 5)):
            for i, j, rows, columns in self.bins(roi):
                for c in range(p.output_dim):
                    values = [
                        self.x[int(roi[0]), (c * p.group_size + i) * p.group_size + j, h, w]
                        for h in rows
                        for w in columns
                    ]
                    top[n, c, i, j] = sum(values) / len(values) if values else 0
        return [top]

    def backward(self, top_diffs):
        p, bottom = self.param.psroi_pooling_param, np.zeros(self.x.shape)
        for n, roi in enumerate(self.rois.reshape(-1, 5)):
            for i, j, rows, columns in self.bins(roi):
                for c, h, w in itertools.product(range(p.output_dim), rows, columns):
                    share = top_diffs[0][n, c, i, j] / (len(rows) * len(columns))
                    bottom[int(roi[0]), (c * p.group_size + i) * p.group_size + j, h, w] += share
        return [bottom, None]


class BoxAnnotatorOHEM(Layer):
    def forward(self, bottoms):
        rois, loss, labels, weights = (b.reshape(*b.shape, *[1] * (4 - b.ndim)) for b in bottoms)
        p = self.param.box_annotator_ohem_param
        left = [p.roi_per_img] * (int(rois[:, 0].max()) + 1)
        out, out_weights = np.full(labels.shape, float(p.ignore_label)), np.zeros(weights.shape)
        places = list(np.ndindex(loss.shape[0], *loss.shape[2:]))
        for n, h, w in sorted(places, key=lambda at: -loss[at[0], 0, at[1], at[2]]):
            image = int(rois[n, 0, h, w])
            if left[image] > 0:
                left[image] -= 1
                out[n, 0, h, w] = labels[n, 0, h, w]
                out_weights[n, :, h, w] = weights[n, :, h, w]
        return [out, out_weights]

    def backward(self, top_diffs):
        return [None] * 4


def normalizer(param, outer, inner, valid):
    p = param.loss_param
    added = getattr(p, "_more", None)
    if added is not None and added.HasField("normalization"):
        mode = added.DESCRIPTOR.enum_types_by_name["NormalizationMode"].values_by_number[added.normalization].name
    else:
        plain = getattr(p, "_part", p)
        mode = plain.NormalizationMode.Name(plain.normalization)
        if not plain.HasField("normalization") and plain.HasField("normalize"):
            mode = "VALID" if plain.normalize else "BATCH_SIZE"
    fixed = added.pre_fixed_normalizer if added is not None else 1
    return max(1.0, {"FULL": outer * inner, "VALID": valid, "BATCH_SIZE": outer, "PRE_FIXED": fixed, "NONE": 1}[mode])


class SmoothL1Loss(Layer):
    is_loss = True

    def forward(self, bottoms):
        a, b = (v.reshape(*v.shape, *[1] * (4 - v.ndim)) for v in bottoms[:2])
        self.count, self.shapes = len(bottoms), [v.shape for v in bottoms]
        weights = bottoms[2].reshape(a.shape) if len(bottoms) == 3 else np.ones(a.shape)
        self.diff = weights * (a - b)
        errors = np.zeros(a.shape)
        for at in np.ndindex(a.shape):
            d = self.diff[at]
            errors[at] = 0.5 * d * d if abs(d) < 1 else abs(d) - 0.5
        places = a.shape[0] * a.shape[2] * a.shape[3]
        self.by = normalizer(self.param, a.shape[0], places // a.shape[0], places)
        return [np.asarray(errors.sum() / self.by), errors.sum(1, keepdims=True)][: len(self.param.top)]

    def backward(self, top_diffs):
        slope = np.array([d if abs(d) < 1 else np.sign(d) for d in self.diff.ravel()]).reshape(self.shapes[0])
        diff = slope * (top_diffs[0] / self.by)
        return [diff, -diff, None][: self.count]


class SSDSmoothL1Loss(SmoothL1Loss):
    def forward(self, bottoms):
        (top,) = super().forward(bottoms)
        top = np.asarray(top * self.by / len(bottoms[0]))
        self.by = len(bottoms[0])
        return [top]


class InstanceSoftmaxWithLoss(SoftmaxWithLoss):
    def forward(self, bottoms):
        tops = super().forward(bottoms)
        each = np.zeros(self.probabilities.shape[::2])
        for i, j, cls in self.counted():
            each[i, j] = -math.log(max(self.probabilities[i, cls, j], FLT_MIN))
        return [*tops, each.reshape(bottoms[1].shape)][: len(self.param.top)]


class CenterLoss(Layer):
    is_loss = True

    def forward(self, bottoms):
        x, label = bottoms
        self.shape, self.labels = x.shape, [int(v) for v in label.ravel()]
        self.distance = x.reshape(len(x), -1) - np.stack([self.blobs[0][v] for v in self.labels])
        return [np.asarray((self.distance**2).sum() / len(x) / 2)]

    def backward(self, top_diffs):
        for n in range(len(self.blobs[0])):
            mine = [m for m, label in enumerate(self.labels) if label == n]
            self.diffs[0][n] += sum((-self.distance[m] for m in mine), np.zeros(self.distance.shape[1])) / (
                len(mine) + 1
            )
        return [(self.distance * (top_diffs[0] / len(self.labels))).reshape(self.shape), None]


class MarginInnerProduct(Layer):
    passes = None

    def forward(self, bottoms):
        p = self.param.margin_inner_product_param
        self.x, self.labels = bottoms[0].reshape(len(bottoms[0]), -1), [int(v) for v in bottoms[1].ravel()]
        self.shape = bottoms[0].shape
        self.passes = (p.iteration if self.passes is None else self.passes) + 1
        self.weighing = max(p.base * (1 + p.gamma * self.passes) ** -p.power, p.lambda_min)
        for row in self.blobs[0]:
            row /= math.sqrt((row * row).sum())
        top = self.x @ self.blobs[0].T
        plain = top.copy()
        self.norm = [math.sqrt((row * row).sum()) for row in self.x]
        if p.type:
            for i, label in enumerate(self.labels):
                cosine = plain[i, label] / self.norm[i]
                top[i, label] = self.norm[i] * self.margin(cosine)[0]
            top = (top + self.weighing * plain) / (1 + self.weighing)
        self.plain = plain
        return [top, np.array([self.weighing])]

    def margin(self, cosine):
        """Return psi, and the factors of w and of x (without |x|) in the gradient, each from the fork's lines."""
        sign_0 = np.sign(cosine)
        if self.param.margin_inner_product_param.type == 1:
            return 2 * sign_0 * cosine**2 - 1, 4 * sign_0 * cosine, 2 * sign_0 * cosine**2 + 1
        if self.param.margin_inner_product_param.type == 2:
            sign_1 = np.sign(abs(cosine) - 0.5)
            sign_2 = sign_0 * (1 + sign_1) - 2
            return (
                sign_1 * (4 * cosine**3 - 3 * cosine) + sign_2,
                sign_1 * (12 * cosine**2 - 3),
                8 * sign_1 * cosine**3 - sign_2,
            )
        sign_3 = sign_0 * np.sign(2 * cosine**2 - 1)
        sign_4 = 2 * sign_0 + sign_3 - 3
        return (
            sign_3 * (8 * cosine**4 - 8 * cosine**2 + 1) + sign_4,
            sign_3 * (32 * cosine**3 - 16 * cosine),
            sign_3 * (24 * cosine**4 - 8 * cosine**2 - 1) - sign_4,
        )

    def backward(self, top_diffs):
        diff, weight = top_diffs[0], self.blobs[0]
        self.diffs[0] += diff.T @ self.x
        if not self.param.margin_inner_product_param.type:
            return [(diff @ weight).reshape(self.shape), None]
        bottom, share = np.zeros(self.x.shape), 1 / (1 + self.weighing)
        for (i, label), j in itertools.product(enumerate(self.labels), range(len(weight))):
            if j != label:
                bottom[i] += share * diff[i, j] * weight[j]
                continue
            _, along_w, along_x = self.margin(self.plain[i, j] / self.norm[i])
            along_x = -along_x / self.norm[i]
            length = math.sqrt(along_w**2 + along_x**2)
            bottom[i] += share * diff[i, j] * (along_w / length * weight[j] + along_x / length * self.x[i])
        return [(bottom + self.weighing * share * (diff @ weight)).reshape(self.shape), None]


def collapsed(path, blank):
    """A path of labels without repeats and blanks."""
    return [label for label, before in zip(path, [blank, *path], strict=False) if label not in (before, blank)]


class CtcLoss(Layer):
    """By summing the probability of every path."""

    is_loss = True

    def forward(self, bottoms):
        x, labels = bottoms
        p = self.param.ctc_loss_param
        steps, batch, letters = p.time_step, x.shape[1], x.shape[2]
        self.gradient, total = np.zeros(x.shape), 0.0
        for n in range(batch):
            expected = [int(v) for v in labels[n] if int(v) != p.blank_label]
            scores = np.exp(x[:steps, n] - x[:steps, n].max(1, keepdims=True))
            y = scores / scores.sum(1, keepdims=True)
            whole, through = 0.0, np.zeros((steps, letters))
            for path in itertools.product(range(letters), repeat=steps):
                if collapsed(path, p.blank_label) == expected:
                    chance = math.prod(y[t, k] for t, k in enumerate(path))
                    whole += chance
                    for t, k in enumerate(path):
                        through[t, k] += chance
            if whole:
                total -= math.log(whole)
                self.gradient[:steps, n] = y - through / whole
        return [np.asarray(total / batch)]

    def backward(self, top_diffs):
        return [self.gradient * top_diffs[0], None]


class ContinuationIndicator(Layer):
    def forward(self, bottoms):
        p = self.param.continuation_indicator_param
        return [np.array([[0.0 if t == 0 else 1.0] * p.batch_size for t in range(p.time_step)])]

    def backward(self, top_diffs):
        return []


class LabelsequenceAccuracy(Layer):
    def forward(self, bottoms):
        x, labels = bottoms
        p = self.param.labelsequence_accuracy_param
        blank = 0 if p is None else p.blank_label
        hits = 0
        for rows, true in zip(x, labels, strict=True):
            best = [max(range(len(row)), key=lambda k, row=row: (row[k], -k)) for row in rows]
            hits += collapsed(best, blank) == [int(v) for v in true if v != blank]
        return [np.asarray(hits / len(x))]

    def backward(self, top_diffs):
        return [None, None]


class SegAccuracy(Layer):
    counts = None

    def forward(self, bottoms):
        x, label = bottoms
        p, classes = self.param.seg_accuracy_param, x.shape[1]
        ignored = () if p is None else tuple(p.ignore_label)
        if self.counts is None or p is None or p.reset:
            self.counts = np.zeros((classes, classes))
        for n, h, w in np.ndindex(x.shape[0], *x.shape[2:]):
            true = int(label[n, 0, h, w])
            if true not in ignored:
                check(0 <= true < classes, "label")
                self.counts[true, max(range(classes), key=lambda c: (x[n, c, h, w], c))] += 1
        m = self.counts
        recalls = [m[i, i] / m[i].sum() for i in range(classes) if m[i].sum() > 0]
        unions = [m[i].sum() + m[:, i].sum() - m[i, i] for i in range(classes)]
        overlaps = [1.0 if m[i, i] == u else m[i, i] / u for i, u in enumerate(unions)]
        accuracy = np.trace(m) / m.sum() if m.sum() else 0
        recall = sum(recalls) / len(recalls) if recalls else 0
        return [np.array([accuracy, recall, sum(overlaps) / classes]).reshape(1, 1, 1, 3)]

    def backward(self, top_diffs):
        return [None, None]


class ImResize(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.imresize_param
        high, wide = x.shape[2:]
        th, tw = 368, 368
        start, gap = F(1), F(0.1)
        if p is not None:
            th, tw, start, gap = p.target_spatial_height, p.target_spatial_width, F(p.start_scale), F(p.scale_gap)
            if p.factor != 0:
                th, tw = int(F(high) * F(p.factor)), int(F(wide) * F(p.factor))
        top = np.zeros((1, x.shape[1], th, tw))
        for c, ty, tx in np.ndindex(x.shape[1], th, tw):
            for n in range(len(x)):
                pad_x = math.floor(F(wide // 2) * (F(1) - start + F(n) * gap))
                pad_y = math.floor(F(high // 2) * (F(1) - start + F(n) * gap))
                xs, dx = self.neighbours(tx, tw, wide - 2 * pad_x, pad_x)
                ys, dy = self.neighbours(ty, th, high - 2 * pad_y, pad_y)
                rows = [self.cubic([x[n, c, v, u] for u in xs], dx) for v in ys]
                top[0, c, ty, tx] += self.cubic(rows, dy) / len(x)
        return [top]

    @staticmethod
    def neighbours(at, target, size, pad):
        offset = F(F(target) / F(size) / F(2) - np.float64(0.5))
        place = F(F(F(at) - offset) * F(F(size) / F(target)))
        one = max(int(float(place) + 1e-5), 0)
        two = size - 1 if one + 1 >= size else one + 1
        three = size - 1 if two + 1 >= size else two + 1
        return [max(one - 1, 0) + pad, one + pad, two + pad, three + pad], float(F(place - F(one)))

    @staticmethod
    def cubic(v, d):
        a = -0.5 * v[0] + 1.5 * v[1] - 1.5 * v[2] + 0.5 * v[3]
        b = v[0] - 2.5 * v[1] + 2.0 * v[2] - 0.5 * v[3]
        return ((a * d + b) * d + (-0.5 * v[0] + 0.5 * v[2])) * d + v[1]

    def backward(self, top_diffs):
        return [None]


class Nms(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.nms_param
        threshold, peaks, parts = (0.5, 20, 15) if p is None else (p.threshold, p.max_peaks, p.num_parts)
        high, wide = x.shape[2:]
        memory = [*x.ravel(), *[0.0] * (10 * wide * wide)]
        top = np.zeros((len(x), parts, peaks + 1, 3))
        for n, c in np.ndindex(len(x), parts):
            begin = (n * parts + c) * high * wide
            at = lambda row, column, begin=begin: memory[begin + row * wide + column]  # noqa: E731
            count = 0
            for row, column in itertools.product(range(1, high - 1), range(1, wide - 1)):
                value = at(row, column)
                around = [at(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
                if not (value > threshold and all(value > other for other in around)):
                    continue
                if count < peaks:
                    sums = [F(0)] * 3
                    for i, j in itertools.product(range(-3, 4), range(-3, 4)):
                        if 0 < row + i < wide and 0 < column + j < wide and at(row + i, column + j) > 0:
                            score = F(at(row + i, column + j))
                            sums = [sums[0] + F(column + j) * score, sums[1] + F(row + i) * score, sums[2] + score]
                    top[n, c, count + 1] = [float(sums[0] / sums[2]), float(sums[1] / sums[2]), value]
                count += 1
            top[n, c, 0, 0] = count
        return [top]

    def backward(self, top_diffs):
        return [None]


MORE_FORK_TYPES = {
    "caffe-face CenterLoss": CenterLoss,
    "crnn ContinuationIndicator": ContinuationIndicator,
    "crnn CtcLoss": CtcLoss,
    "crnn LabelsequenceAccuracy": LabelsequenceAccuracy,
    "pspnet SegAccuracy": SegAccuracy,
    "py-rfcn SmoothL1LossOHEM": SmoothL1Loss,
    "py-rfcn SoftmaxWithLossOHEM": InstanceSoftmaxWithLoss,
    "rfcn BoxAnnotatorOHEM": BoxAnnotatorOHEM,
    "rfcn PSROIPooling": PSROIPooling,
    "rfcn SmoothL1Loss": SmoothL1Loss,
    "rfcn SoftmaxWithLoss": InstanceSoftmaxWithLoss,
    "rtpose ImResize": ImResize,
    "rtpose Nms": Nms,
    "ssd SmoothL1Loss": SSDSmoothL1Loss,
    "sphereface MarginInnerProduct": MarginInnerProduct,
}
"""Fork and type -> its transcription."""
