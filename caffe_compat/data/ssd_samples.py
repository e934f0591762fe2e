"""Crops that SSD trains on: random boxes that overlap the objects of an image as batch samplers ask.

Facts from weiliu89/caffe (ssd), util/sampler.cpp. Boxes are relative to the image, float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe_compat.data.ssd_images import Draw
from caffe_compat.layers.forks.box_frames import box, coverage
from caffe_compat.layers.forks.boxes import Array, overlaps

_F = np.float32


def sample_boxes(samplers: Sequence[Any], objects: Array, draw: Draw) -> list[Array]:
    """Return the boxes that BatchSamplers accept for an image with the objects (N, 4)."""
    accepted: list[Array] = []
    for sampler in samplers:
        count = 0
        for _ in range(sampler.max_trials if sampler.use_original_image else 0):
            if sampler.HasField("max_sample") and count >= sampler.max_sample:
                break
            sample = _sample(sampler.sampler, draw)
            if satisfies(sample, objects, sampler.sample_constraint):
                count += 1
                accepted.append(sample)
    return accepted


def _sample(sampler: Any, draw: Draw) -> Array:
    scale = draw.uniform(sampler.min_scale, sampler.max_scale)
    ratio = draw.uniform(sampler.min_aspect_ratio, sampler.max_aspect_ratio)
    square = float(scale) ** 2
    ratio = min(max(ratio, _F(square)), _F(1 / square))
    wide, high = scale * np.sqrt(ratio), scale / np.sqrt(ratio)
    left, top = (draw.uniform(0, max(float(_F(1) - side), 0.0)) for side in (wide, high))
    return box(left, top, left + wide, top + high)


def satisfies(sample: Array, objects: Array, constraint: Any) -> bool:
    """Tell whether a SampleConstraint holds for one of the objects (N, 4).

    Of several demands (jaccard_overlap, sample_coverage, object_coverage) the first one given decides: the fork
    remembers that it held, whatever the others say.
    """
    for name in ("jaccard_overlap", "sample_coverage", "object_coverage"):
        if constraint.HasField(f"min_{name}") or constraint.HasField(f"max_{name}"):
            return any(_within(constraint, name, value) for value in _values(name, sample, objects))
    return True


def _values(name: str, sample: Array, objects: Array) -> Array:
    if name == "jaccard_overlap":
        return overlaps(sample[None], objects)
    if name == "object_coverage":
        return coverage(objects, sample)
    return np.array([coverage(sample[None], one)[0] for one in objects], _F)


def _within(constraint: Any, name: str, value: np.float32) -> bool:
    low, high = f"min_{name}", f"max_{name}"
    if constraint.HasField(low) and value < _F(getattr(constraint, low)):
        return False
    return not (constraint.HasField(high) and value > _F(getattr(constraint, high)))
