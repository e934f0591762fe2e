"""MultiBoxLoss, the loss of SSD: a location loss of matched boxes and a class loss of these and of hard negatives.

Facts from weiliu89/caffe (ssd), multibox_loss_layer.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.layers.base import Account, LayerSpec, exactly, register
from caffe_compat.layers.class_losses import LOG_FLT_MIN
from caffe_compat.layers.facts import Evidence
from caffe_compat.layers.forks.boxes import BoxCode
from caffe_compat.layers.forks.detection import background_label, prediction_misfits
from caffe_compat.layers.forks.multibox_targets import Locations, Matcher, Miner, MultiBoxRules, Targets, assign
from caffe_compat.layers.forks.rcnn import SmoothL1LossModule
from caffe_compat.layers.labels import precise
from caffe_compat.layers.losses import UNREAD_BY_FORK, EuclideanLossModule, Loss, normalization_of
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb

_FIELD = "multibox_loss_param"
_PASSES = (True, True, False, False)


class MultiBoxLossModule(nn.Module):
    """The loss; targets are chosen on the CPU, without a gradient.

    `terms`: whether the location loss and the class loss count. `normalization` VALID divides by the number of matches.
    """

    def __init__(self, rules: MultiBoxRules, loc_weight: float, terms: tuple[bool, bool], normalization: str) -> None:
        super().__init__()
        self.rules, self.loc_weight, self.terms, self.normalization = rules, loc_weight, terms, normalization
        self.location_loss = SmoothL1LossModule(1.0) if rules.smooth else EuclideanLossModule()

    def forward(
        self, location: torch.Tensor, confidence: torch.Tensor, prior: torch.Tensor, truth: torch.Tensor
    ) -> torch.Tensor:
        """Return the scalar loss of (N, P * groups * 4), (N, P * C), (1, 2, P * 4) and (1, 1, R, 8)."""
        images, classes = location.shape[0], self.rules.num_classes
        boxes = location.reshape(images, -1, 1 if self.rules.share_location else classes, 4)
        scores = confidence.reshape(images, -1, classes)
        given = (boxes, scores, prior.reshape(2, -1, 4), truth.reshape(-1, 8))
        with np.errstate(over="ignore", invalid="ignore"):  # of predictions that have run away
            targets = assign(self.rules, *(x.detach().float().cpu().numpy() for x in given))
        loss = precise(confidence).new_zeros(())
        if self.terms[0]:
            loss = loss + self.loc_weight * self._location_loss(boxes, targets)
        if self.terms[1]:
            rows = scores.flatten(0, 1)[torch.from_numpy(targets.rows).to(scores.device)]
            labels = torch.from_numpy(targets.labels).to(rows.device)
            loss = loss + _class_loss(precise(rows), labels, logistic=self.rules.logistic)
        return loss / self._normalizer(images, scores.shape[1], targets.matches)

    def _location_loss(self, boxes: torch.Tensor, targets: Targets) -> torch.Tensor:
        parts = [_compared(boxes[image], part) for image, part in targets.locations.items()]
        predictions, codes = (torch.cat([boxes.new_zeros(0, 4), *side]) for side in _columns(parts))
        if not len(predictions):
            return boxes.sum() * 0
        loss: torch.Tensor = self.location_loss(predictions.reshape(1, -1), codes.reshape(1, -1))
        return loss

    def _normalizer(self, images: int, priors: int, matches: int) -> int:
        counts = {"FULL": images * priors, "VALID": matches, "BATCH_SIZE": images, "NONE": 1}
        return max(1, counts[self.normalization])


def _class_loss(scores: torch.Tensor, labels: torch.Tensor, *, logistic: bool) -> torch.Tensor:
    """Return the loss of (K, C) scores, its terms added up one after the other, as Caffe's losses add them."""
    if logistic:
        terms = F.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype), reduction="none")
    else:
        terms = F.cross_entropy(scores, labels, reduction="none")
        terms = terms + (terms.clamp(max=-LOG_FLT_MIN) - terms).detach()
    total = terms.sum()
    if terms.device.type != "cpu" or not terms.numel():
        return total
    in_order = torch.from_numpy(np.cumsum(terms.detach().numpy().ravel())[-1:])
    return total + (in_order[0] - total).detach()


def _columns(parts: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return [a for a, _ in parts], [b for _, b in parts]


def _compared(boxes: torch.Tensor, part: Locations) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and targets, (M, 4) each; the gradient ignores the divisor, as in the fork."""
    prior, group, inside, divisor, codes = (
        torch.from_numpy(x).to(boxes.device) for x in (part.prior, part.group, part.inside, part.divisor, part.codes)
    )
    chosen = boxes[prior, group]
    expected = codes.to(chosen.dtype)
    quotient = (chosen / divisor).detach() + (chosen - chosen.detach())
    return torch.where(inside, quotient, expected), expected


@register
class MultiBoxLoss(Loss):
    """The loss of SSD."""

    type = "MultiBoxLoss"
    forks = ("ssd",)
    summary = "locations of matched boxes, classes of these and of hard negatives"
    origin = "src/caffe/layers/multibox_loss_layer.cpp"
    evidence = Evidence.RECORDED
    bottoms = exactly(4)
    no_gradient = (2, 3)
    unforced = 1
    accounts = {
        _FIELD: Account(
            read=(
                *("loc_loss_type", "conf_loss_type", "loc_weight", "num_classes", "share_location", "match_type"),
                *("overlap_threshold", "use_prior_for_matching", "background_label_id", "use_difficult_gt"),
                *("neg_pos_ratio", "neg_overlap", "code_type", "encode_variance_in_target", "map_object_to_agnostic"),
                *("ignore_cross_boundary_bbox", "bp_inside", "mining_type", "nms_param", "sample_size"),
                "use_prior_for_nms",
            ),
            ignored={"do_neg_mining": "the older form of mining_type, with which it must agree"},
        ),
        "loss_param": Account(
            read=("normalization", "normalize"), ignored={"ignore_label": UNREAD_BY_FORK["ignore_label"]}
        ),
    }

    def setup(self, param: pb.LayerParameter) -> None:
        super().setup(param)
        if not param.propagate_down:
            param.propagate_down.extend(_PASSES)

    def whole_number_bottoms(self, count: int) -> Sequence[int]:
        return ()

    def check(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        yield from self._check_fields(spec)
        yield from prediction_misfits(spec, _FIELD)
        truth = spec.bottoms[3]
        if len(truth) != 4 or truth[:2] != (1, 1) or truth[3] != 8:
            yield spec.misfit("needs ground truth of shape (1, 1, R, 8): image, label, instance, box, difficult", truth)

    def _check_fields(self, spec: LayerSpec) -> Iterator[CaffeCompatError]:
        message, background = spec.message(_FIELD), background_label(spec, _FIELD)
        classes, mines = message.num_classes, message.mining_type != fb.MultiBoxLossParameter.NONE
        logistic = message.conf_loss_type == fb.MultiBoxLossParameter.LOGISTIC
        if classes < 1:
            yield spec.fault("must be given and positive", f"{_FIELD}.num_classes")
        elif background >= classes if logistic and mines else not (logistic or 0 <= background < classes):
            problem = f"must be a class, 0 to {classes - 1}"
            yield spec.error(problem, f"{_FIELD}.background_label_id", background, code="out-of-range")
        if mines and not message.share_location:
            problem, hint = "mining needs classes that share locations", "set mining_type: NONE"
            yield spec.error(problem, f"{_FIELD}.share_location", False, hint, code="conflict")
        if message.HasField("do_neg_mining") and message.do_neg_mining != mines:
            problem = "contradicts mining_type"
            yield spec.fault(problem, f"{_FIELD}.do_neg_mining", code="conflict")
        if message.map_object_to_agnostic and classes != (needed := 2 if background >= 0 else 1):
            problem = f"map_object_to_agnostic needs {needed} classes"
            yield spec.fault(problem, f"{_FIELD}.num_classes", code="conflict")
        if message.mining_type == fb.MultiBoxLossParameter.HARD_EXAMPLE and message.sample_size < 1:
            yield spec.fault("must be positive", f"{_FIELD}.sample_size")

    def module(self, spec: LayerSpec) -> nn.Module:
        passes, weight = list(spec.param.propagate_down) or _PASSES, spec.message(_FIELD).loc_weight
        normalization = normalization_of(spec.param.loss_param)
        return MultiBoxLossModule(self._rules(spec), weight, (passes[0], passes[1]), normalization)

    def _rules(self, spec: LayerSpec) -> MultiBoxRules:
        message, kinds = spec.message(_FIELD), fb.MultiBoxLossParameter
        return MultiBoxRules(
            num_classes=message.num_classes,
            share_location=message.share_location,
            background=background_label(spec, _FIELD),
            use_difficult=message.use_difficult_gt,
            code=BoxCode(message.code_type, message.encode_variance_in_target),
            matcher=Matcher(
                message.match_type == kinds.PER_PREDICTION,
                message.overlap_threshold,
                message.ignore_cross_boundary_bbox,
            ),
            miner=self._miner(spec),
            prior_matching=message.use_prior_for_matching,
            bp_inside=message.bp_inside,
            agnostic=message.map_object_to_agnostic,
            logistic=message.conf_loss_type == kinds.LOGISTIC,
            smooth=message.loc_loss_type == kinds.SMOOTH_L1,
        )

    def _miner(self, spec: LayerSpec) -> Miner | None:
        message, kinds = spec.message(_FIELD), fb.MultiBoxLossParameter
        if message.mining_type == kinds.NONE:
            return None
        nms = message.nms_param  # without top_k it is 0 here, and nothing is chosen
        suppresses = message.HasField("nms_param") and nms.nms_threshold > 0
        return Miner(
            hard_examples=message.mining_type == kinds.HARD_EXAMPLE,
            ratio=message.neg_pos_ratio,
            below=message.neg_overlap,
            sample_size=message.sample_size,
            nms=(nms.nms_threshold, nms.top_k) if suppresses else None,
            prior_nms=message.use_prior_for_nms,
        )
