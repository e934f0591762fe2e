"""The detection test of SSD's solver: average precision from the rows of DetectionEvaluate.

Facts from weiliu89/caffe (ssd), solver.cpp (TestDetection) and util/bbox_util.cpp (ComputeAP); sums are float32's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.errors import CaffeCompatError, ParseError, SolverError
from caffe_compat.formats.extras import UnknownField, unknown_fields
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb

FORK_READ = frozenset({"eval_type", "ap_version", "show_per_class_result"})
"""The fields that SSD adds to SolverParameter."""
FORK_REJECTED = {"plateau_winsize": "the learning-rate policy plateau"}
_EVALUATIONS = ("classification", "detection")
_VERSIONS = ("11point", "MaxIntegral", "Integral")
_EPS = np.float32(1e-6)
_F = np.float32

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DetectionSettings:
    """The rating of detections: `version` of the average precision, and whether that of each class is logged."""

    version: str
    per_class: bool


def detection_settings(param: pb.SolverParameter) -> DetectionSettings | None:
    """Return how a solver rates detections; None where it averages outputs, as Caffe does."""
    message = fb.SSDSolver()
    for own in filter(_is_forks, unknown_fields(param)):
        try:
            message.MergeFrom(parse_text(own.text, fb.SSDSolver))
        except ParseError as error:
            raise SolverError(error.problem, code=error.code, file=own.file, line=own.line, field=own.field) from None
    for name, values in (("eval_type", _EVALUATIONS), ("ap_version", _VERSIONS)):
        value = getattr(message, name)
        if value not in values:
            hint = f"one of {', '.join(values)}"
            raise SolverError("no such value", code="name-unknown", field=name, value=value, hint=hint)
    if message.eval_type != "detection":
        return None
    return DetectionSettings(message.ap_version, message.show_per_class_result)


def _is_forks(unknown: UnknownField) -> bool:
    return unknown.field in FORK_READ and unknown.value is None


def foreign_fields(param: pb.SolverParameter) -> list[CaffeCompatError]:
    """Return an error for every field that is neither Caffe's nor one of SSD's that are read."""
    problems = [unknown.error(SolverError) for unknown in unknown_fields(param) if not _is_forks(unknown)]
    for problem in problems:
        if problem.field in FORK_REJECTED:
            problem.hint = f"not supported: {FORK_REJECTED[problem.field]}"
    return problems


@dataclass
class _Label:
    """The detections of one class, and how many objects there are."""

    objects: int = 0
    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)


class DetectionScores:
    """The rows of DetectionEvaluate layers over some batches."""

    def __init__(self) -> None:
        self._labels: dict[str, dict[int, _Label]] = defaultdict(lambda: defaultdict(_Label))

    def add(self, outputs: Mapping[str, torch.Tensor]) -> None:
        """Add a batch."""
        for name, blob in outputs.items():
            if blob.dim() == 0 or blob.shape[-1] != 5:
                problem = f"output {name!r} has shape {tuple(blob.shape)}, expected rows of 5 from DetectionEvaluate"
                hint = "end the test net with a DetectionEvaluate layer and Silence layers"
                raise SolverError(problem, code="shape-mismatch", field="eval_type", hint=hint)
            for image, label, score, right, wrong in blob.detach().cpu().float().reshape(-1, 5).tolist():
                entry = self._labels[name][int(label)]
                if int(image) == -1:
                    entry.objects += int(score)
                elif int(right) or int(wrong):
                    entry.scores.append(score)
                    entry.right.append(bool(int(right)))

    def precisions(self, version: str) -> dict[str, dict[int, np.float32 | None]]:
        """Return the average precision of each class by output; None for a class without a detection."""
        return {
            name: {
                label: average_precision(entry.scores, entry.right, entry.objects, version) if entry.scores else None
                for label, entry in sorted(labels.items())
            }
            for name, labels in self._labels.items()
        }


def mean_precision(precisions: Mapping[int, np.float32 | None]) -> float:
    """Return the mean over all classes; a class without a detection counts 0."""
    total = _F(0)
    for value in precisions.values():
        total = total + (_F(0) if value is None else value)
    return float(total / _F(len(precisions)))


def average_precision(scores: list[float], right: list[bool], objects: int, version: str) -> np.float32:
    """Return a class's average precision by 11point (VOC 2007), MaxIntegral (VOC 2012, ILSVRC) or Integral."""
    if not objects:
        return _F(0)
    hits = np.array(right)[np.argsort(-np.array(scores, _F), kind="stable")].cumsum()
    correct, ranks = np.asarray(hits, _F), np.arange(1, len(hits) + 1, dtype=_F)
    precision, recall = correct / ranks, correct / _F(objects)
    if version == "11point":
        return _eleven_points(precision, recall)
    if version == "MaxIntegral":
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return _max_integral(precision, recall)
    steps = np.diff(recall, prepend=_F(0))
    return _total(precision * np.where(steps > _EPS, steps, _F(0)))


def _eleven_points(precision: Floats, recall: Floats) -> np.float32:
    """Return the mean of the best precision from each of 11 recalls on."""
    best = [precision[recall.astype(np.float64) >= point / 10].max(initial=_F(0)) for point in range(10, -1, -1)]
    return _total(np.array(best, _F) / _F(11))


def _max_integral(precision: Floats, recall: Floats) -> np.float32:
    """Return the sum of steps in recall times precision, from the last detection to the first."""
    steps = np.abs(np.diff(recall))[::-1]
    terms = np.where(steps > _EPS, precision[-2::-1] * steps, _F(0))
    return _total(np.append(terms, recall[0] * precision[0]))


def _total(terms: Floats) -> np.float32:
    """Return the sum of terms, added one after the other."""
    return _F(np.cumsum(terms)[-1])
