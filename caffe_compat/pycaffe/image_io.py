"""Read and resize images like scikit-image, without scikit-image.

The tests compare with scikit-image 0.26: ``imread``, ``img_as_float``, ``rgb2gray``, ``resize``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from caffe_compat.errors import FileError
from caffe_compat.formats.image_size import has_several, open_image

Array = np.ndarray[Any, np.dtype[Any]]
LUMINANCE = (0.2125, 0.7154, 0.0721)  # scikit-image's, of ITU-R BT.709


def load_image(filename: str | os.PathLike[str] | BinaryIO, color: bool = True) -> Array:  # noqa: FBT001, FBT002
    """Read an image.

    Parameters
    ----------
    filename : a path or an open binary file, in any format that Pillow reads.
    color : return RGB if True, else the luminance.

    Returns
    -------
    float32 from 0 to 1, (H, W, 3), or (H, W, 1) if `color` is False.

    Raises
    ------
    CaffeCompatError
        If the file is not an image, or is truncated.
    """
    if isinstance(filename, str) and "://" in filename:
        raise FileError("URLs are not supported", code="unsupported", file=filename, hint="download the file first")
    image = _read(filename)
    if not color and image.ndim == 3:
        image = np.asarray(image[..., :3] @ np.array(LUMINANCE))
    image = image.astype(np.float32)
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
        if color:
            image = np.tile(image, (1, 1, 3))
    return image[:, :, :3]


def resize_image(im: Array, new_dims: ArrayLike, interp_order: int = 1, *, anti_aliasing: bool = False) -> Array:
    """Resize an image.

    Parameters
    ----------
    im : (H, W, K).
    new_dims : height and width.
    interp_order : order of the spline, 0 (nearest) to 5; 1 is linear.
    anti_aliasing : smooth before shrinking, the default of scikit-image since 0.15. Caffe 1.0 (2017) was used with
        scikit-image 0.9 to 0.13, which did not.

    Returns
    -------
    float32, (height, width, K).

    Notes
    -----
    Images of one and three channels are scaled to the range 0 to 1 and back, and padded with 0, so that the border of
    an enlarged image tends to its minimum. Other images are interpolated from corner to corner.
    """
    from scipy.ndimage import zoom

    height, width = (int(v) for v in np.asarray(new_dims).ravel())
    if im.shape[-1] not in (1, 3):
        scale = (height / im.shape[0], width / im.shape[1], 1.0)
        zoomed: Array = zoom(im, scale, order=interp_order)
        return zoomed.astype(np.float32)
    low, high = im.min(), im.max()
    if not high > low:  # constant
        return np.full((height, width, im.shape[-1]), low, dtype=np.float32)
    normal = (im - low) / (high - low)
    resized = _resize(normal, (height, width), interp_order, anti_aliasing=anti_aliasing)
    return np.asarray(resized * (high - low) + low).astype(np.float32)


def oversample(images: Sequence[Array], crop_dims: ArrayLike) -> Array:
    """Crop the four corners and the centre of images, and mirror the crops.

    Parameters
    ----------
    images : (H, W, K) each, all of the same size.
    crop_dims : height and width of the crops.

    Returns
    -------
    float32, (10 N, height, width, K): for each image the corners from left to right and top to bottom, the centre, then
    the mirrored crops in the same order.
    """
    height, width = (int(v) for v in np.asarray(crop_dims).ravel())
    rows, columns, channels = np.asarray(images[0]).shape
    if height > rows or width > columns:
        raise ValueError(f"crops of {height} x {width} do not fit in images of {rows} x {columns}")
    corners = [(y, x) for y in (0, rows - height) for x in (0, columns - width)]
    corners.append((int(rows / 2 - height / 2), int(columns / 2 - width / 2)))
    crops = np.empty((10 * len(images), height, width, channels), dtype=np.float32)
    for index, image in enumerate(images):
        unflipped = np.stack([image[y : y + height, x : x + width] for y, x in corners])
        crops[10 * index : 10 * index + 5] = unflipped
        crops[10 * index + 5 : 10 * index + 10] = unflipped[:, :, ::-1]
    return crops


def _read(source: str | os.PathLike[str] | BinaryIO) -> Array:
    """Return an image, (H, W) or (H, W, 3 or 4), float64 from 0 to 1."""
    from PIL import UnidentifiedImageError

    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "an open file")
    try:
        with open_image(source) as image:
            if has_several(image):
                hint = "store each in a file of its own"
                raise FileError("contains several images, expected one", code="unsupported", file=name, hint=hint)
            if image.mode == "1":
                image = image.convert("L")
            elif image.mode not in ("L", "RGB", "RGBA", "F") and not image.mode.startswith("I"):
                alpha = "A" in image.mode or "transparency" in image.info
                image = image.convert("RGBA" if alpha else "RGB")
            values = np.array(image)
            wide = image.mode == "I" and image.format != "PNG"
    except UnidentifiedImageError:
        raise FileError("Pillow cannot read this image", code="wrong-format", file=name) from None
    except (OSError, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"cannot be read: {reason}", code="file-unreadable", file=name) from error
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    top = 255 if values.dtype == np.uint8 else 2**31 - 1 if wide else 65535  # older Pillow gives 16-bit PNGs as int32
    return values / np.float64(top)


def _resize(image: Array, size: tuple[int, int], order: int, *, anti_aliasing: bool) -> Array:
    """Resize an image (H, W, K), padded with 0; float64.

    Source: scikit-image, ``resize(image, size, order=order, mode="constant", anti_aliasing=anti_aliasing)``.
    """
    from scipy.ndimage import gaussian_filter, zoom

    image = image.astype(np.float64)
    shape = (*size, image.shape[2])
    factors = np.divide(image.shape, shape)
    source = image
    if anti_aliasing:
        source = gaussian_filter(image, np.maximum(0, (factors - 1) / 2), mode="grid-constant", cval=0.0)
    out: Array = zoom(source, [1 / f for f in factors], order=order, mode="grid-constant", cval=0.0, grid_mode=True)
    return np.clip(out, image.min(), image.max(), out=out)
