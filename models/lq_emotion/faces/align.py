"""Align faces: turn, scale and shift them so that their landmarks lie where a template has them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.faces.face import Face, Image

Doubles = npt.NDArray[np.float64]

TEMPLATE: Doubles = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""(5, 2) x and y of the landmarks in a crop of 112 x 112 pixels: ArcFace's (Deng et al., CVPR 2019), which many nets
for faces were trained with."""
SIDE = 112


def similarity(points: npt.ArrayLike, targets: npt.ArrayLike) -> Doubles:
    """Return the rotation, scale and shift, without reflection, that brings points closest to targets.

    Parameters
    ----------
    points, targets : (n, 2), n >= 2.

    Returns
    -------
    (2, 3) float64: ``targets ~ points @ result[:, :2].T + result[:, 2]``, with least squared distances.

    Raises
    ------
    DataError
        The points are not finite or all the same.

    Notes
    -----
    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 13 (1991); in
    two dimensions a similarity is the product by a complex number.
    """
    a, b = (np.asarray(values, np.float64) @ [1, 1j] for values in (points, targets))
    a_mean, b_mean = a.mean(), b.mean()
    spread = float((abs(a - a_mean) ** 2).sum())
    if not np.isfinite([a, b]).all() or spread == 0:
        raise DataError("landmarks must be finite and differ", code="invalid", field="points", value=points)
    turn = np.vdot(a - a_mean, b - b_mean) / spread
    shift = b_mean - turn * a_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align(image: Image, face: Face, *, side: int = SIDE, template: Doubles = TEMPLATE) -> Image:
    """Return the face upright, its landmarks where the template has them.

    Parameters
    ----------
    image : (H, W, 3) uint8.
    face : with landmarks in the image's pixels.
    side : of the crop; the template is scaled with it.
    template : (5, 2) x and y of the landmarks in a crop of 112 x 112 pixels.

    Returns
    -------
    (side, side, 3) uint8, interpolated bilinearly; what lies outside the image repeats its edge.

    Raises
    ------
    DataError
        The face has no landmarks, or all in one point.
    """
    if face.landmarks is None:
        raise DataError(
            "this face has no landmarks", code="field-missing", field="landmarks", hint="MTCNN finds landmarks"
        )
    # pixels have their middle at whole numbers: the crop from -0.5 to 111.5 becomes that from -0.5 to side - 0.5
    targets = (template + 0.5) * (side / SIDE) - 0.5
    transform = similarity(face.landmarks, targets)
    crop = cv2.warpAffine(image, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)
