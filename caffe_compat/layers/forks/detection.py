"""DetectionOutput: decode SSD's predictions and suppress overlapping boxes, in torch and in ONNX's operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, count, register
from caffe_compat.layers.facts import Evidence, Gradient, OnnxType, OnnxWriter
from caffe_compat.layers.forks.boxes import Array, BoxCode, overlaps
from caffe_compat.layers.forks.std_sort import sorted_as_gcc
from caffe_compat.schema import forks_pb2 as fb


@dataclass(frozen=True)
class Rules:
    """The settings of DetectionOutput; scores must be above `threshold`."""

    num_classes: int
    share_location: bool
    background: int
    code_type: int
    variance_encoded_in_target: bool
    nms_threshold: float
    eta: float
    top_k: int
    keep_top_k: int
    threshold: float


_LEAST = float("-inf")  # the score of what is no detection


def write_detections(onnx: OnnxWriter, rules: Rules, priors: int) -> str:
    """Write decoding, suppression and counting out for batches of any size; return (1, 1, K, 7).

    A class of an image is a batch of its own to NonMaxSuppression, which so takes a class's own boxes. The candidates
    of a class are sorted first, so that a detection's place is its rank and the order of the rows is Caffe's.
    """
    classes, images = rules.num_classes, onnx.node("Slice", onnx.node("Shape", onnx.bottoms[0]), [0], [1])
    boxes, scores = _boxes(onnx, rules, priors), _scores(onnx, rules, priors)
    ranks = min(rules.top_k, priors) if rules.top_k > -1 else priors
    scores, order = onnx.nodes("TopK", scores, [ranks], outputs=2, axis=1)
    shape = onnx.node("Concat", onnx.node("Shape", scores), [4], axis=0)
    places = onnx.node("Expand", onnx.node("Unsqueeze", order, [2]), shape)
    boxes = onnx.node("GatherElements", boxes, places, axis=1)  # images * classes, ranks, 4

    remaining = _suppressed(onnx, rules, boxes, scores, ranks)
    remaining = onnx.node("Reshape", remaining, [-1, classes * ranks])
    count = min(rules.keep_top_k, classes * ranks) if rules.keep_top_k > -1 else classes * ranks
    best, where = onnx.nodes("TopK", remaining, [count], outputs=2, axis=1)
    blank = onnx.node("Expand", _LEAST, onnx.node("Shape", remaining))
    remaining = onnx.node("ScatterElements", blank, where, best, axis=1)

    detections = onnx.node("Transpose", onnx.node("NonZero", onnx.node("Greater", remaining, _LEAST)), perm=[1, 0])
    image, place = onnx.nodes("Split", detections, outputs=2, axis=1)
    label = onnx.node("Div", place, [ranks])
    score = onnx.node("Unsqueeze", onnx.node("GatherND", remaining, detections), [1])
    box = onnx.node("GatherND", onnx.node("Reshape", boxes, [-1, classes * ranks, 4]), detections)
    rows = onnx.node("Concat", *(onnx.node("Cast", x, to=OnnxType.FLOAT32) for x in (image, label)), score, box, axis=1)
    rows = onnx.node("Concat", rows, _rows_of_none(onnx, images, detections), axis=0)
    return onnx.node("Unsqueeze", rows, [0, 1])


def _scores(onnx: OnnxWriter, rules: Rules, priors: int) -> str:
    """Write the scores as (images * classes, priors), the background's as -inf."""
    scores = onnx.node("Reshape", onnx.bottoms[1], [-1, priors, rules.num_classes])
    scores = onnx.node("Transpose", scores, perm=[0, 2, 1])
    if 0 <= rules.background < rules.num_classes:
        counts = np.arange(rules.num_classes)[:, None] != rules.background
        scores = onnx.node("Where", counts, scores, _LEAST)
    return onnx.node("Reshape", scores, [-1, priors])


def _boxes(onnx: OnnxWriter, rules: Rules, priors: int) -> str:
    """Write the decoded boxes as (images * classes, priors, 4)."""
    given = 1 if rules.share_location else rules.num_classes
    moved = onnx.node("Reshape", onnx.bottoms[0], [-1, priors, given, 4])
    prior, variance = onnx.nodes("Split", onnx.node("Reshape", onnx.bottoms[2], [2, priors, 1, 4]), outputs=2, axis=0)
    if not rules.variance_encoded_in_target:
        moved = onnx.node("Mul", moved, variance)
    low, high = onnx.nodes("Split", prior, outputs=2, axis=3)
    size = onnx.node("Sub", high, low)
    if rules.code_type == fb.PriorBoxParameter.CENTER_SIZE:
        shift, growth = onnx.nodes("Split", moved, outputs=2, axis=3)
        middle = onnx.node("Div", onnx.node("Add", low, high), 2.0)
        centre = onnx.node("Add", onnx.node("Mul", shift, size), middle)
        half = onnx.node("Div", onnx.node("Mul", onnx.node("Exp", growth), size), 2.0)
        boxes = onnx.node("Concat", onnx.node("Sub", centre, half), onnx.node("Add", centre, half), axis=3)
    else:
        if rules.code_type == fb.PriorBoxParameter.CORNER_SIZE:
            moved = onnx.node("Mul", moved, onnx.node("Concat", size, size, axis=3))
        boxes = onnx.node("Add", prior, moved)
    boxes = onnx.node("Transpose", boxes, perm=[0, 2, 1, 3])
    if given < rules.num_classes:
        boxes = onnx.node("Tile", boxes, [1, rules.num_classes, 1, 1])
    return onnx.node("Reshape", boxes, [-1, priors, 4])


def _suppressed(onnx: OnnxWriter, rules: Rules, boxes: str, scores: str, ranks: int) -> str:
    """Write the scores of the boxes that remain, -inf for the others: (images * classes, ranks)."""
    low, high = onnx.nodes("Split", boxes, outputs=2, axis=2)
    upright = onnx.node("Concat", low, onnx.node("Max", low, high), axis=2)  # ONNX would turn a box that is inside out
    chosen = onnx.node(
        "NonMaxSuppression",
        upright,
        onnx.node("Unsqueeze", scores, [1]),
        [ranks],
        min(rules.nms_threshold, 1.0),
        rules.threshold,
    )
    places = onnx.node("Gather", chosen, [0, 2], axis=1)  # image and class, rank
    blank = onnx.node("Expand", _LEAST, onnx.node("Shape", scores))
    return onnx.node("ScatterND", blank, places, onnx.node("GatherND", scores, places))


def _rows_of_none(onnx: OnnxWriter, images: str, detections: str) -> str:
    """Write a row of -1 for each image if there are no detections, no row otherwise."""
    last = onnx.node("Squeeze", images, [0])
    number = onnx.node("Cast", onnx.node("Range", np.array(0), last, np.array(1)), to=OnnxType.FLOAT32)
    none = onnx.node("Expand", -1.0, onnx.node("Concat", images, [6], axis=0))
    rows = onnx.node("Concat", onnx.node("Unsqueeze", number, [1]), none, axis=1)
    empty = onnx.node("Equal", onnx.node("Slice", onnx.node("Shape", detections), [0], [1]), [0])
    return onnx.node("Compress", rows, onnx.node("Expand", empty, images), axis=0)


def suppress(rules: Rules, boxes: Array, scores: Array) -> list[int]:
    """Return the indices of the boxes of a class that remain after non-maximum suppression, best first.

    Scores at or below the threshold are out, and all but the best top_k.
    """
    candidates = np.flatnonzero(scores > rules.threshold)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    if rules.top_k > -1:
        candidates = candidates[: rules.top_k]
    limit, remaining = boxes.dtype.type(rules.nms_threshold), list[int]()
    for index in candidates.tolist():
        if remaining and not (overlaps(boxes[index], boxes[remaining]) <= limit).all():
            continue
        remaining.append(index)
        if rules.eta < 1 and limit > 0.5:
            limit = boxes.dtype.type(limit * rules.eta)
    return remaining


def detect(rules: Rules, location: Array, confidence: Array, prior: Array) -> Array:
    """Return (1, 1, K, 7): image, label, score and box of each detection; without any, a row of -1 per image.

    `location` is (N, priors * classes * 4), or (N, priors * 4) where classes share one; `confidence` is (N, priors *
    classes), `prior` (1, 2 * priors * 4), as PriorBox makes it.
    """
    priors, variances = prior.reshape(2, -1, 1, 4)
    count = len(priors)
    code = BoxCode(rules.code_type, rules.variance_encoded_in_target)
    boxes = code.decode(location.reshape(len(location), count, -1, 4), priors, variances)
    scores = confidence.reshape(len(confidence), count, rules.num_classes)
    rows: list[list[float]] = []
    for image in range(len(boxes)):
        detections: list[tuple[int, int]] = []
        for label in range(rules.num_classes):
            if label != rules.background:
                own = boxes[image, :, 0 if rules.share_location else label]
                detections += [(label, index) for index in suppress(rules, own, scores[image, :, label])]
        if -1 < rules.keep_top_k < len(detections):
            order = sorted_as_gcc([-scores[image, index, label] for label, index in detections])[: rules.keep_top_k]
            detections = sorted((detections[place] for place in order), key=lambda pair: pair[0])
        for label, index in detections:
            box = boxes[image, index, 0 if rules.share_location else label]
            rows.append([image, label, scores[image, index, label], *box])
    if not rows:
        rows = [[image, *[-1.0] * 6] for image in range(len(boxes))]
    return np.array(rows, location.dtype).reshape(1, 1, -1, 7)


def background_label(spec: LayerSpec, field: str) -> int:
    """Return the number of the background's class, which the fork turns from uint32 to int: it may be -1."""
    return int(np.uint32(spec.message(field).background_label_id).astype(np.int32))


def prediction_misfits(spec: LayerSpec, field: str) -> Iterator[CaffeCompatError]:
    """Yield an error unless locations and confidences match the priors and the classes of the message `field`."""
    location, confidence, prior = spec.bottoms[:3]
    if len(prior) != 3 or prior[:2] != (1, 2) or prior[2] % 4 or not location or location[0] != confidence[0]:
        problem = "needs locations and confidences of one batch, and priors of shape (1, 2, 4 K) from PriorBox"
        yield spec.misfit(problem, spec.bottoms)
        return
    priors, classes = prior[2] // 4, spec.message(field).num_classes
    expected = (priors * 4 * (1 if spec.message(field).share_location else classes), priors * classes)
    if classes > 0 and (count(location[1:]), count(confidence[1:])) != expected:
        problem = f"{priors} priors and {classes} classes need {expected[0]} and {expected[1]} values per image"
        yield spec.misfit(problem, spec.bottoms[:2])


class DetectionOutputModule(nn.Module):
    """Detections as (1, 1, K, 7); computed on the CPU, without a gradient, as in the fork."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules

    def forward(
        self, location: torch.Tensor, confidence: torch.Tensor, prior: torch.Tensor, *_: torch.Tensor
    ) -> torch.Tensor:
        """Return image, label, score, xmin, ymin, xmax, ymax in each row."""
        boxes, scores, priors = (x.detach().cpu().flatten(1).numpy() for x in (location, confidence, prior))
        detections = detect(self.rules, boxes, scores, priors)
        return torch.from_numpy(detections).to(location)


@register
class DetectionOutput(Layer):
    """Predictions decoded, thresholded, suppressed by overlap and limited in number."""

    type = "DetectionOutput"
    forks = ("ssd",)
    summary = "boxes with scores, after non-maximum suppression"
    origin = "src/caffe/layers/detection_output_layer.cpp"
    evidence = Evidence.RECORDED
    gradient = Gradient.REFUSED
    is_result = True
    open_axis = 2
    bottoms = Arity(3, 4)
    accounts = {
        "detection_output_param": Account(
            read=(
                *("num_classes", "share_location", "background_label_id", "nms_param", "code_type"),
                *("variance_encoded_in_target", "keep_top_k", "confidence_threshold"),
            ),
            ignored={
                "save_output_param": "writes files only where it has an output_directory, which is refused",
                "visualize_threshold": "only visualize uses it",
                "save_file": "only visualize uses it",
            },
            rejected={"visualize": "drawing while the net runs; draw the boxes of the top"},
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, field = spec.message("detection_output_param"), "detection_output_param"
        nms = message.nms_param
        if message.save_output_param.output_directory:
            hint = "write the top to a file yourself"
            problem = "result files are not supported"
            yield spec.error(problem, f"{field}.save_output_param.output_directory", hint=hint, code="unsupported")
        yield from spec.at_least_one(field, "num_classes")
        if nms.nms_threshold < 0:
            yield spec.fault("must not be negative", f"{field}.nms_param.nms_threshold")
        if not 0 < nms.eta <= 1:
            yield spec.fault("must be above 0 and at most 1", f"{field}.nms_param.eta")
        yield from prediction_misfits(spec, field)

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((1, 1, 1, 7),)  # the number of rows is known only after the boxes are

    def module(self, spec: LayerSpec) -> nn.Module:
        return DetectionOutputModule(self._rules(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        rules = self._rules(spec)
        if rules.eta < 1:
            problem, field = "cannot be exported to ONNX with a changing nms_threshold", "detection_output_param"
            raise spec.fault(problem, f"{field}.nms_param.eta", code="unsupported")
        return [write_detections(onnx, rules, spec.bottoms[2][2] // 4)]

    def _rules(self, spec: LayerSpec) -> Rules:
        message = spec.message("detection_output_param")
        nms = message.nms_param
        lowest = float(np.finfo(np.float32).min)
        return Rules(
            num_classes=message.num_classes,
            share_location=message.share_location,
            background=message.background_label_id,
            code_type=message.code_type,
            variance_encoded_in_target=message.variance_encoded_in_target,
            nms_threshold=nms.nms_threshold,
            eta=nms.eta,
            top_k=nms.top_k if nms.HasField("top_k") else -1,
            keep_top_k=message.keep_top_k,
            threshold=message.confidence_threshold if message.HasField("confidence_threshold") else lowest,
        )
