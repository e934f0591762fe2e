"""DetectionOutput in ONNX's operators."""

from __future__ import annotations

import numpy as np

from caffe_compat.layers.facts import OnnxType, OnnxWriter
from caffe_compat.layers.forks.detection_rules import Rules
from caffe_compat.schema import forks_pb2 as fb

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
    """Write the scores as (images * classes, priors), the background's out of the question."""
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
