"""Pictures as scikit-image reads and resizes them, without scikit-image.

The witness in the tests is scikit-image 0.26: ``imread``, ``img_as_float``, ``rgb2gray``, ``resize``.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np

from caffe_compat.errors import FileError

Array = np.ndarray[Any, np.dtype[Any]]
LUMINANCE = (0.2125, 0.7154, 0.0721)  # scikit-image's, of ITU-R BT.709


def read_picture(source: str | os.PathLike[str] | BinaryIO) -> Array:
    """Return a picture, (H, W) or (H, W, 3 or 4), with values from 0 to 1 in float64."""
    from PIL import Image, UnidentifiedImageError

    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "an open file")
    try:
        with Image.open(source) as image:
            if image.mode == "1":
                image = image.convert("L")  # type: ignore[assignment]
            elif image.mode not in ("L", "RGB", "RGBA", "F") and not image.mode.startswith("I"):
                alpha = "A" in image.mode or "transparency" in image.info
                image = image.convert("RGBA" if alpha else "RGB")  # type: ignore[assignment]
            values = np.array(image)
            wide = image.mode == "I" and image.format != "PNG"
    except UnidentifiedImageError:
        raise FileError("this is no picture that Pillow can read", file=name) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise FileError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=name) from error
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    top = 255 if values.dtype == np.uint8 else 2**31 - 1 if wide else 65535  # older Pillow gives 16-bit PNGs as int32
    return values / np.float64(top)


def grey(picture: Array) -> Array:
    """Return the luminance (H, W) of a picture (H, W, 3 or 4)."""
    return np.asarray(picture[..., :3] @ np.array(LUMINANCE))


def resize(image: Array, size: tuple[int, int], order: int, *, anti_aliasing: bool) -> Array:
    """Return a picture (H, W, K) in another size, float64; 0 lies beyond the border.

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
