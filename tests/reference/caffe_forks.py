"""The layer types of Caffe's forks as those forks compute them on the CPU, one value at a time (see caffe_layers).

Facts from weiliu89/caffe (ssd), rbgirshick/caffe-fast-rcnn, alexgkendall/caffe-segnet, hszhao/PSPNet, hujie-frank/SENet,
yonghenglh6/DepthwiseConvolution, farmingyard/ShuffleNet, eric612/MobileNet-YOLO and happynear/caffe-windows.
"""

import math

import numpy as np

from tests.reference.caffe_layers import FLT_MAX, Layer, check
from tests.reference.caffe_losses import SoftmaxWithLoss
from tests.reference.caffe_multibox import DetectionEvaluate, MultiBoxLoss
from tests.reference.caffe_shapes import Mover, numbers
from tests.reference.caffe_windows import Convolution, Pooling
from tests.reference.std_sort import std_sort

F = np.float32


class ForkMessage:
    """A layer's message with what a fork added to it: its fields, and those added to the messages inside."""

    def __init__(self, param, added, type_):
        self._param, self._added, self.type = param, added, type_

    def __getattr__(self, name):
        if hasattr(self._param, name):
            part = getattr(self._param, name)
            return Part(part, self._added[name]) if name in self._added else part
        return getattr(self._added[""], name) if "" in self._added else None


class Part:
    def __init__(self, part, more):
        self._part, self._more = part, more

    def __getattr__(self, name):
        return getattr(self._part if hasattr(self._part, name) else self._more, name)


class Normalize(Layer):
    def forward(self, bottoms):
        (self.x,) = bottoms
        p = self.param.norm_param
        self.axes = (1, 2) if p is None or p.across_spatial else 1
        self.scale = self.blobs[0].reshape(-1, 1)
        x = self.x.reshape(*self.x.shape[:2], -1)
        self.norm = np.sqrt((x * x).sum(self.axes, keepdims=True) + F(1e-10 if p is None else p.eps))
        return [(x / self.norm * self.scale).reshape(self.x.shape)]

    def backward(self, top_diffs):
        x = self.x.reshape(*self.x.shape[:2], -1)
        diff = top_diffs[0].reshape(x.shape)
        channels = (x / self.norm * diff).sum((0, 2))
        self.diffs[0] += channels.sum() if self.blobs[0].size == 1 else channels
        dot = (x * diff).sum(self.axes, keepdims=True)
        return [((diff - x * dot / self.norm**2) / self.norm * self.scale).reshape(self.x.shape)]


class HappynearNormalize(Layer):
    def forward(self, bottoms):
        (self.x,) = bottoms
        p = self.param.normalize_param
        self.l1 = p is not None and p.normalize_type == "L1"
        x = self.x.reshape(self.x.shape[0], self.x.shape[1], -1)
        self.norm = np.zeros((x.shape[0], x.shape[2]))
        for n, s in np.ndindex(self.norm.shape):
            total = sum(abs(v) if self.l1 else v * v for v in x[n, :, s]) + 1e-6
            self.norm[n, s] = total if self.l1 else math.sqrt(total)
        self.top = x / self.norm[:, None]
        shape = (*self.x.shape, 1, 1)[:4]
        return [self.top.reshape(shape), self.norm.reshape(shape[0], 1, *shape[2:])][: len(self.param.top)]

    def backward(self, top_diffs):
        x, diff = self.x.reshape(self.top.shape), top_diffs[0].reshape(self.top.shape)
        bottom = np.zeros(x.shape)
        for n, s in np.ndindex(self.norm.shape):
            dot = np.sum(self.top[n, :, s] * diff[n, :, s])
            along = np.sign(x[n, :, s]) if self.l1 else self.top[n, :, s]
            bottom[n, :, s] = (diff[n, :, s] - along * dot) / self.norm[n, s]
            p = self.param.normalize_param
            if p is not None and p.bp_norm and len(top_diffs) == 2:
                bottom[n, :, s] += along * top_diffs[1].reshape(self.norm.shape)[n, s]
        return [bottom.reshape(self.x.shape)]


class Permute(Mover):
    def source(self, bottoms):
        (x,) = bottoms
        order = [] if self.param.permute_param is None else list(self.param.permute_param.order)
        return [self.of(numbers(x).transpose(order + [axis for axis in range(x.ndim) if axis not in order]))]


class PriorBox(Layer):
    def forward(self, bottoms):
        features, image = bottoms
        p = self.param.prior_box_param
        self.shapes = features.shape, image.shape
        ratios = [F(1)]
        for ratio in p.aspect_ratio:
            if all(abs(F(ratio) - other) >= 1e-6 for other in ratios):
                ratios += [F(ratio), F(1.0 / F(ratio))] if p.flip else [F(ratio)]
        high, wide = image.shape[2:]
        if p.HasField("img_h"):
            high, wide = p.img_h, p.img_w
        elif p.HasField("img_size"):
            high = wide = p.img_size
        step_w, step_h = F(wide) / F(features.shape[3]), F(high) / F(features.shape[2])
        if p.HasField("step_h"):
            step_w, step_h = F(p.step_w), F(p.step_h)
        elif p.HasField("step"):
            step_w = step_h = F(p.step)
        rows = []
        for h in range(features.shape[2]):
            for w in range(features.shape[3]):
                x, y = (F(w) + F(p.offset)) * step_w, (F(h) + F(p.offset)) * step_h
                for width, height in self.sides(p, ratios):
                    rows += [
                        F((float(x) - float(width) / 2) / wide),
                        F((float(y) - float(height) / 2) / high),
                        F((float(x) + float(width) / 2) / wide),
                        F((float(y) + float(height) / 2) / high),
                    ]
        if p.clip:
            rows = [min(max(v, F(0)), F(1)) for v in rows]
        variance = [F(v) for v in p.variance] or [F(0.1)]
        return [np.array([[rows, [variance[i % len(variance)] for i in range(len(rows))]]], np.float64)]

    @staticmethod
    def sides(p, ratios):
        for s, low in enumerate(p.min_size):
            size = int(low)
            yield F(size), F(size)
            if p.max_size:
                both = F(math.sqrt(size * int(p.max_size[s])))
                yield both, both
            for ratio in ratios:
                if abs(ratio - 1.0) >= 1e-6:
                    yield F(size * np.sqrt(ratio)), F(size / np.sqrt(ratio))

    def backward(self, top_diffs):
        return [None, None]


def box_size(box):
    return 0.0 if box[2] < box[0] or box[3] < box[1] else (box[2] - box[0]) * (box[3] - box[1])


def jaccard(a, b):
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return 0.0
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (box_size(a) + box_size(b) - width * height)


class DetectionOutput(Layer):
    def forward(self, bottoms):
        location, confidence, prior = bottoms[:3]
        p = self.param.detection_output_param
        priors = prior.reshape(2, -1, 4)
        number, classes = priors.shape[1], p.num_classes
        location = location.reshape(len(location), number, 1 if p.share_location else classes, 4)
        confidence = confidence.reshape(len(confidence), number, classes)
        threshold = p.confidence_threshold if p.HasField("confidence_threshold") else -FLT_MAX
        rows = []
        for image in range(len(location)):
            indices = {}
            for cls in range(classes):
                if cls == p.background_label_id:
                    continue
                boxes = [
                    self.decode(p, location[image, i, 0 if p.share_location else cls], priors[:, i])
                    for i in range(number)
                ]
                indices[cls] = self.nms(p, boxes, confidence[image, :, cls], threshold), boxes
            pairs = [(cls, i) for cls, (selected, _) in indices.items() for i in selected]
            if p.keep_top_k > -1 and len(pairs) > p.keep_top_k:
                pairs = std_sort(pairs, lambda a, b, own=confidence[image]: own[a[1], a[0]] > own[b[1], b[0]])[
                    : p.keep_top_k
                ]
                pairs.sort(key=lambda pair: pair[0])
            rows += [[image, cls, confidence[image, i, cls], *indices[cls][1][i]] for cls, i in pairs]
        return [np.array(rows or [[i, *[-1] * 6] for i in range(len(location))], float).reshape(1, 1, -1, 7)]

    @staticmethod
    def decode(p, loc, prior):
        (x0, y0, x1, y1), variance = prior
        moved = [v if p.variance_encoded_in_target else v * k for v, k in zip(loc, variance, strict=True)]
        if p.code_type == 1:
            return [a + b for a, b in zip((x0, y0, x1, y1), moved, strict=True)]
        width, height = x1 - x0, y1 - y0
        check(width > 0 and height > 0, "prior area")
        if p.code_type == 3:
            return [x0 + moved[0] * width, y0 + moved[1] * height, x1 + moved[2] * width, y1 + moved[3] * height]
        x, y = moved[0] * width + (x0 + x1) / 2, moved[1] * height + (y0 + y1) / 2
        w, h = math.exp(moved[2]) * width, math.exp(moved[3]) * height
        return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]

    @staticmethod
    def nms(p, boxes, scores, threshold):
        order = sorted((i for i in range(len(boxes)) if scores[i] > threshold), key=lambda i: -scores[i])
        if p.nms_param.HasField("top_k") and p.nms_param.top_k > -1:
            order = order[: p.nms_param.top_k]
        limit, selected = p.nms_param.nms_threshold, []
        for i in order:
            if all(jaccard(boxes[i], boxes[k]) <= limit for k in selected):
                selected.append(i)
                if p.nms_param.eta < 1 and limit > 0.5:
                    limit *= p.nms_param.eta
        return selected


def rounded(value):
    """C's round(): half away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


class ROIPooling(Layer):
    def forward(self, bottoms):
        x, rois = bottoms
        p = self.param.roi_pooling_param
        self.shapes = x.shape, rois.shape
        self.taken = {}
        top = np.zeros((len(rois), x.shape[1], p.pooled_h, p.pooled_w))
        for n, (image, x1, y1, x2, y2) in enumerate(rois.reshape(len(rois), 5)):
            left, above, right, below = (rounded(v * p.spatial_scale) for v in (x1, y1, x2, y2))
            high, wide = max(below - above + 1, 1) / p.pooled_h, max(right - left + 1, 1) / p.pooled_w
            check(0 <= int(image) < len(x), "image")
            for c, i, j in np.ndindex(*top.shape[1:]):
                best = None
                for h in range(math.floor(i * high) + above, math.ceil((i + 1) * high) + above):
                    for w in range(math.floor(j * wide) + left, math.ceil((j + 1) * wide) + left):
                        if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                            value = x[int(image), c, h, w]
                            if best is None or value > best[0]:
                                best = value, (int(image), c, h, w)
                if best is not None:
                    top[n, c, i, j], self.taken[n, c, i, j] = best
        return [top]

    def backward(self, top_diffs):
        bottom = np.zeros(self.shapes[0])
        for at, source in self.taken.items():
            bottom[source] += top_diffs[0][at]
        return [bottom, None]


class SmoothL1Loss(Layer):
    is_loss = True

    def forward(self, bottoms):
        sigma2 = (1.0 if self.param.smooth_l1_loss_param is None else self.param.smooth_l1_loss_param.sigma) ** 2
        a, b = bottoms[:2]
        self.inside, self.outside = bottoms[2:] if len(bottoms) == 4 else (np.ones_like(a), np.ones_like(a))
        self.count, self.slope, total = len(bottoms), np.zeros(a.shape), 0.0
        for at in np.ndindex(a.shape):
            d = self.inside[at] * (a[at] - b[at])
            near = abs(d) < 1.0 / sigma2
            total += self.outside[at] * (0.5 * d * d * sigma2 if near else abs(d) - 0.5 / sigma2)
            self.slope[at] = sigma2 * d if near else np.sign(d)
        return [np.asarray(total / len(a))]

    def backward(self, top_diffs):
        diff = top_diffs[0] / len(self.slope) * self.slope * self.inside * self.outside
        return [diff, -diff, None, None][: self.count]


class SegNetUpsample(Layer):
    def forward(self, bottoms):
        x, self.mask = bottoms
        p = self.param.upsample_param
        high, wide = 2, 2
        out_h, out_w = False, False
        if p is not None:
            high, wide = (p.scale_h, p.scale_w) if p.HasField("scale_h") else (p.scale, p.scale)
            out_h, out_w = p.pad_out_h, p.pad_out_w
        size = [x.shape[2] * high - int(out_h), x.shape[3] * wide - int(out_w)]
        if p is not None and p.HasField("upsample_h"):
            size = [p.upsample_h, p.upsample_w]
        top = np.zeros((*x.shape[:2], size[0] * size[1]))
        for n, c, h, w in np.ndindex(x.shape):
            place = int(self.mask[n, c, h, w])
            check(0 <= place < size[0] * size[1], "place")
            top[n, c, place] = x[n, c, h, w]
        return [top.reshape(*x.shape[:2], *size)]

    def backward(self, top_diffs):
        diff = top_diffs[0].reshape(*self.mask.shape[:2], -1)
        bottom = np.zeros(self.mask.shape)
        for n, c, h, w in np.ndindex(bottom.shape):
            bottom[n, c, h, w] = diff[n, c, int(self.mask[n, c, h, w])]
        return [bottom, None]


class SegNetBN(Layer):
    def forward(self, bottoms):
        self.shape = bottoms[0].shape
        x = bottoms[0].reshape(*self.shape, *[1] * (4 - bottoms[0].ndim))
        self.learn = self.param.bn_param.bn_mode == 0
        mean = x.mean((0, 2, 3), keepdims=True)
        variance = (x * x).mean((0, 2, 3), keepdims=True) - mean**2
        self.deviation = np.sqrt(variance + 1e-9)
        self.unit = (x - mean) / self.deviation if self.learn else x
        return [self.unit * self.blobs[0] + self.blobs[1], mean, variance][: len(self.param.top)]

    def backward(self, top_diffs):
        diff = top_diffs[0]
        self.diffs[0] += (diff * self.unit).sum((0, 2, 3), keepdims=True)
        self.diffs[1] += diff.sum((0, 2, 3), keepdims=True)
        g = diff * self.blobs[0]
        if self.learn:
            g = g - g.mean((0, 2, 3), keepdims=True) - self.unit * (g * self.unit).mean((0, 2, 3), keepdims=True)
            g = g / self.deviation
        return [g.reshape(self.shape)]


class BN(Layer):
    """Of PSPNet; its gradient in TEST is not followed where the layer is not frozen."""

    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.bn_param
        self.moving = p.frozen or not self.train
        self.slope, bias, mean, variance = (b.reshape(-1, 1, 1) for b in self.blobs)  # views
        if not self.moving:
            for moving, batch in ((mean, x.mean((0, 2, 3))), (variance, x.var((0, 2, 3)))):
                moving[:, 0, 0] = p.momentum * moving[:, 0, 0] + (1 - p.momentum) * batch
            mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        self.deviation = np.sqrt(variance + p.eps)
        self.unit = (x - mean) / self.deviation
        return [self.unit * self.slope + bias]

    def backward(self, top_diffs):
        (diff,) = top_diffs
        if not self.param.bn_param.frozen:
            self.diffs[0].reshape(-1)[:] += (diff * self.unit).sum((0, 2, 3))
            self.diffs[1].reshape(-1)[:] += diff.sum((0, 2, 3))
        g = diff * self.slope
        if not self.moving:
            g = g - g.mean((0, 2, 3), keepdims=True) - self.unit * (g * self.unit).mean((0, 2, 3), keepdims=True)
        return [g / self.deviation]


class Interp(Layer):
    def forward(self, bottoms):
        (x,) = bottoms
        p = self.param.interp_param
        self.shape, self.terms = x.shape, []
        high, wide = x.shape[2] + p.pad_beg + p.pad_end, x.shape[3] + p.pad_beg + p.pad_end
        shrink, zoom = p.HasField("shrink_factor"), p.HasField("zoom_factor")
        size = [high, wide]
        if shrink != zoom or not (p.HasField("height") and p.HasField("width")):
            if shrink:
                size = [(n - 1) // p.shrink_factor + 1 for n in size]
            if zoom:
                size = [n + (n - 1) * (p.zoom_factor - 1) for n in size]
        else:
            size = [p.height, p.width]
        top = np.zeros((*x.shape[:2], *size))
        for h, w in np.ndindex(*size):
            for i, a in self.weights(h, high, size[0]):
                for j, b in self.weights(w, wide, size[1]):
                    self.terms.append((h, w, i - p.pad_beg, j - p.pad_beg, a * b))
        for h, w, i, j, weight in self.terms:
            top[:, :, h, w] += weight * x[:, :, i, j]
        return [top]

    @staticmethod
    def weights(at, before, after):
        if before == after:
            return [(at, 1.0)]
        place = at * ((before - 1) / (after - 1) if after > 1 else 0.0)
        low = int(place)
        return [(low, 1 - (place - low)), (low + (low < before - 1), place - low)]

    def backward(self, top_diffs):
        bottom = np.zeros(self.shape)
        for h, w, i, j, weight in self.terms:
            bottom[:, :, i, j] += weight * top_diffs[0][:, :, h, w]
        return [bottom]


class Axpy(Layer):
    def forward(self, bottoms):
        self.a, self.x, y = bottoms
        top = y.copy()
        for n, c in np.ndindex(*self.x.shape[:2]):
            top[n, c] += self.a.reshape(self.x.shape[:2])[n, c] * self.x[n, c]
        return [top]

    def backward(self, top_diffs):
        (diff,) = top_diffs
        a, x = np.zeros(self.a.shape), np.zeros(diff.shape)
        for n, c in np.ndindex(*diff.shape[:2]):
            a.reshape(diff.shape[:2])[n, c] = np.sum(diff[n, c] * self.x[n, c])
            x[n, c] = self.a.reshape(diff.shape[:2])[n, c] * diff[n, c]
        return [a, x, diff]


class ConvolutionDepthwise(Convolution):
    """A convolution of every channel alone, whatever `group` says."""

    def forward(self, bottoms):
        param = type(self.param._param)()
        param.CopyFrom(self.param._param)
        param.convolution_param.group = param.convolution_param.num_output = bottoms[0].shape[1]
        self.param = param
        return super().forward(bottoms)


class ReLU6(Layer):
    def forward(self, bottoms):
        (self.x,) = bottoms
        return [np.minimum(np.maximum(self.x, 0), 6)]

    def backward(self, top_diffs):
        return [top_diffs[0] * ((self.x > 0) & (self.x < 6))]


class ShuffleChannel(Mover):
    def source(self, bottoms):
        (x,) = bottoms
        rows = 1 if self.param.shuffle_channel_param is None else self.param.shuffle_channel_param.group
        columns = x.shape[1] // rows
        return [self.of(numbers(x)[:, [i * columns + j for j in range(columns) for i in range(rows)]])]


class YOLOUpsample(Mover):
    def source(self, bottoms):
        (x,) = bottoms
        scale = 1 if self.param.upsample_param is None else self.param.upsample_param.scale
        return [self.of(numbers(x).repeat(scale, 2).repeat(scale, 3))]


class CeilModePooling(Pooling):
    """Caffe's pooling with the rounding the other way about: true is up."""

    def __init__(self, param, phase, blobs=()):
        plain = type(param._param)()
        plain.CopyFrom(param._param)
        plain.pooling_param.round_mode = 0 if param._added["pooling_param"].ceil_mode else 1
        super().__init__(plain, phase, blobs)


class SegNetSoftmaxWithLoss(SoftmaxWithLoss):
    def weights(self):
        p = self.param.loss_param
        return list(p.class_weighting) if p.weight_by_label_freqs else [1.0] * self.probabilities.shape[1]

    def forward(self, bottoms):
        tops = super().forward(bottoms)
        loss = 0.0
        for i, j, cls in self.counted():
            loss -= math.log(max(self.probabilities[i, cls, j], 1.1754943508222875e-38)) * self.weights()[cls]
        return [np.asarray(loss / self.normalizer()), *tops[1:]]

    def backward(self, top_diffs):
        bottom = np.zeros_like(self.probabilities)
        for i, j, cls in self.counted():
            bottom[i, :, j] = self.probabilities[i, :, j]
            bottom[i, cls, j] -= 1
            bottom[i, :, j] *= self.weights()[cls]
        return [(bottom * (top_diffs[0] / self.normalizer())).reshape(self.shape), None]


FORK_TYPES = {
    "fast-rcnn ROIPooling": ROIPooling,
    "fast-rcnn SmoothL1Loss": SmoothL1Loss,
    "depthwise DepthwiseConvolution": Convolution,
    "happynear BN": BN,
    "happynear Normalize": HappynearNormalize,
    "mobilenet ConvolutionDepthwise": ConvolutionDepthwise,
    "mobilenet ReLU6": ReLU6,
    "pr3057 Pooling": CeilModePooling,
    "pspnet BN": BN,
    "pspnet Interp": Interp,
    "segnet BN": SegNetBN,
    "segnet SoftmaxWithLoss": SegNetSoftmaxWithLoss,
    "segnet Upsample": SegNetUpsample,
    "senet Axpy": Axpy,
    "shufflenet ShuffleChannel": ShuffleChannel,
    "ssd DetectionEvaluate": DetectionEvaluate,
    "ssd DetectionOutput": DetectionOutput,
    "ssd MultiBoxLoss": MultiBoxLoss,
    "ssd Normalize": Normalize,
    "ssd Permute": Permute,
    "ssd PriorBox": PriorBox,
    "yjxiong BN": BN,
    "yolov3 Upsample": YOLOUpsample,
}
"""Fork and type -> its transcription."""
