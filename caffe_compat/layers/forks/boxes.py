"""Boxes as SSD counts with them: corners (xmin, ymin, xmax, ymax) along the last axis, sizes of images taken as 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.schema import forks_pb2 as fb

Array = npt.NDArray[np.floating]
_CODES = fb.PriorBoxParameter


def area(boxes: Array) -> Array:
    """Return the areas (...) of boxes (..., 4); 0 where a box ends before it starts."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(np.where((sides < 0).any(-1), 0, sides.prod(-1)), boxes.dtype)


def shared_area(a: Array, b: Array) -> Array:
    """Return the areas that boxes have in common; 0 where they only touch. The leading axes are broadcast."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.where((sides > 0).all(-1), sides.prod(-1), 0), sides.dtype)


def overlaps(a: Array, b: Array) -> Array:
    """Return the intersection over union of boxes; the leading axes are broadcast."""
    shared = shared_area(a, b)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def rounded(function: Callable[[Array], Array], x: Array) -> Array:
    """Return a function of values rounded once, as a C library does it: NumPy's own loops differ between processors."""
    return function(x.astype(np.float64)).astype(x.dtype)


@dataclass(frozen=True)
class BoxCode:
    """How a box is written relative to its prior box.

    Attributes
    ----------
    kind : CORNER, CENTER_SIZE or CORNER_SIZE of PriorBoxParameter.
    plain : whether the variances are left out of the code (variance_encoded_in_target, encode_variance_in_target).
    """

    kind: int
    plain: bool

    def decode(self, code: Array, priors: Array, variances: Array) -> Array:
        """Return the boxes (..., 4) that codes stand for; refuse a prior box without area where its size matters."""
        moved = code if self.plain else code * variances
        if self.kind == _CODES.CORNER:
            return np.asarray(priors + moved)
        size = self._sizes(priors, "prior box")
        if self.kind == _CODES.CORNER_SIZE:
            return np.asarray(priors + moved * np.concatenate([size, size], -1))
        centre = moved[..., :2] * size + _centres(priors)
        half = rounded(np.exp, moved[..., 2:]) * size / 2
        return np.concatenate([centre - half, centre + half], -1)

    def encode(self, boxes: Array, priors: Array, variances: Array) -> Array:
        """Return the codes of boxes (..., 4); refuse boxes without area where sizes matter, and bad variances."""
        code = boxes - priors
        if self.kind != _CODES.CORNER:
            size = self._sizes(priors, "prior box")
            code /= np.concatenate([size, size], -1)
        if self.kind == _CODES.CENTER_SIZE:
            code[..., :2] = (_centres(boxes) - _centres(priors)) / size
            code[..., 2:] = rounded(np.log, self._sizes(boxes, "ground truth box") / size)
        if self.plain:
            return code
        if self.kind != _CODES.CENTER_SIZE:
            check_variances(variances)
        return np.asarray(code / variances)

    def _sizes(self, boxes: Array, what: str) -> Array:
        size = boxes[..., 2:] - boxes[..., :2]
        if not (size > 0).all():
            raise DataError(f"a {what} has no area", code="invalid", value=boxes[~(size > 0).all(-1)][0].tolist())
        return size


def _centres(boxes: Array) -> Array:
    return np.asarray((boxes[..., :2] + boxes[..., 2:]) / 2)


def check_variances(variances: Array) -> None:
    """Refuse variances to divide by that are not positive."""
    if not (variances > 0).all():
        raise DataError("a variance of a prior box is not positive", code="invalid", value=float(variances.min()))
