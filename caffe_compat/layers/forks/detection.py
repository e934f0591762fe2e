"""DetectionOutput: decode SSD's predictions and suppress overlapping boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, Arity, Layer, LayerSpec, Shape, count, register
from caffe_compat.layers.facts import Gradient, OnnxWriter, Witness
from caffe_compat.layers.forks.boxes import Array, BoxCode, overlaps
from caffe_compat.layers.forks.detection_onnx import write_detections
from caffe_compat.layers.forks.detection_rules import Rules
from caffe_compat.layers.forks.std_sort import sorted_as_gcc


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
    """Predictions decoded, thresholded, thinned out by overlap and counted out."""

    type = "DetectionOutput"
    forks = ("ssd",)
    summary = "boxes with scores, after non-maximum suppression"
    origin = "src/caffe/layers/detection_output_layer.cpp"
    witness = Witness.RECORDED
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
                "visualize_threshold": "is for visualize",
                "save_file": "is for visualize",
            },
            rejected={"visualize": "drawing while the net runs; draw the boxes of the top"},
        )
    }

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, field = spec.message("detection_output_param"), "detection_output_param"
        classes, nms = message.num_classes, message.nms_param
        if message.save_output_param.output_directory:
            hint = "write the top to a file yourself"
            problem = "not supported: writing result files"
            yield spec.error(problem, f"{field}.save_output_param.output_directory", hint=hint, code="unsupported")
        if classes < 1:
            yield spec.error("must be given and positive", f"{field}.num_classes", classes, code="out-of-range")
        if nms.nms_threshold < 0:
            yield spec.error(
                "must not be negative", f"{field}.nms_param.nms_threshold", nms.nms_threshold, code="out-of-range"
            )
        if not 0 < nms.eta <= 1:
            yield spec.error("must be above 0 and at most 1", f"{field}.nms_param.eta", nms.eta, code="out-of-range")
        location, confidence, prior = spec.bottoms[:3]
        if len(prior) != 3 or prior[:2] != (1, 2) or prior[2] % 4 or not location or location[0] != confidence[0]:
            problem = "needs locations and confidences of one batch, and priors of shape (1, 2, 4 K) from PriorBox"
            yield spec.error(problem, "bottom", spec.bottoms, code="shape-mismatch")
            return
        priors = prior[2] // 4
        expected = (priors * 4 * (1 if message.share_location else classes), priors * classes)
        if (count(location[1:]), count(confidence[1:])) != expected:
            problem = f"{priors} priors and {classes} classes need {expected[0]} and {expected[1]} values per image"
            yield spec.error(problem, "bottom", spec.bottoms[:2], code="shape-mismatch")

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        return ((1, 1, 1, 7),)  # the number of rows is known only after the boxes are

    def module(self, spec: LayerSpec) -> nn.Module:
        return DetectionOutputModule(self._rules(spec))

    def onnx(self, spec: LayerSpec, onnx: OnnxWriter) -> Sequence[str]:
        rules = self._rules(spec)
        if rules.eta < 1:
            problem, field = "cannot be exported to ONNX with a changing nms_threshold", "detection_output_param"
            raise spec.error(problem, f"{field}.nms_param.eta", rules.eta, code="unsupported")
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
