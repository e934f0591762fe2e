"""What DetectionOutput is set to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """The settings of DetectionOutput; scores must lie above `threshold`."""

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
