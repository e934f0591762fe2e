"""The demo's images: those in scikit-image, or a folder of the user's; written as 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from caffe_compat.errors import DataError
from caffe_compat.formats.files import atomic_path
from caffe_compat.formats.image_size import has_several, open_image

Pixels = npt.NDArray[np.uint8]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# Bounds on time: an image of 512 x 512 takes the net a few seconds on two cores.
LONGEST_SIDE = 512
MOST_IMAGES = 24
MOST_HELD_OUT = 4
SHORTEST_SIDE = 64  # gives a few patches of 32 x 32 whatever the scale

# Held out: a face, then a drink; with row and column of the centre of the part that the figure shows.
_BUILT_IN_TRAIN = ("camera", "chelsea", "motorcycle", "rocket")
_BUILT_IN_TEST = {"astronaut": (120, 222), "coffee": (150, 330)}


@dataclass(frozen=True)
class ImageSource:
    """An image before it is written."""

    name: str
    """Of the file to write, without suffix."""
    held_out: bool
    """Not trained on; the net is tried on it."""
    focus: tuple[int, int] | None
    """Row and column of the centre of the part to show enlarged, if chosen."""
    load: Callable[[], Pixels]
    """Returns (H, W, 3), uint8."""
    identity: str
    """Changes when the image does."""


def built_in() -> list[ImageSource]:
    """Return the images of scikit-image; no network is needed."""
    try:
        from skimage import data
    except ImportError:
        hint = "pip install 'caffe-compat[demo]', or give --images FOLDER"
        problem = "the demo's images ship with scikit-image, which is not installed"
        raise DataError(problem, code="dependency-missing", hint=hint) from None
    shipped: Any = data
    version = f"scikit-image {metadata.version('scikit-image')}"

    def source(name: str, focus: tuple[int, int] | None) -> ImageSource:
        def load() -> Pixels:
            pixels = shipped.stereo_motorcycle()[0] if name == "motorcycle" else getattr(shipped, name)()
            return _fitted(Image.fromarray(pixels).convert("RGB"))

        return ImageSource(name, focus is not None, focus, load, f"{version}: {name}")

    return [source(name, None) for name in _BUILT_IN_TRAIN] + [source(*item) for item in _BUILT_IN_TEST.items()]


def of_folder(folder: Path) -> list[ImageSource]:
    """Return the images of a folder without its subfolders; the last fifth, one to four, is held out.

    Of more than 24 images, 24 evenly spread by name are used.
    """
    if not folder.is_dir():
        raise DataError("folder of images not found", code="file-missing", file=folder)
    paths = in_folder(folder)
    if not paths:
        hint = f"files that end in {', '.join(sorted(SUFFIXES))}"
        raise DataError("no images found", code="empty", file=folder, hint=hint)
    if len(paths) == 1:
        hint = "add another: one to train on, one to try"
        raise DataError("only one image found", code="wrong-count", file=folder, hint=hint)
    if len(paths) > MOST_IMAGES:
        paths = [paths[i * len(paths) // MOST_IMAGES] for i in range(MOST_IMAGES)]
    held_out = max(1, min(MOST_HELD_OUT, len(paths) // 5))
    return [_source(path, number, number >= len(paths) - held_out) for number, path in enumerate(paths)]


def in_folder(folder: Path) -> list[Path]:
    """Return the images of a folder by their suffixes, sorted: not Thumbs.db, not hidden files."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in paths if not path.name.startswith("."))


def _source(path: Path, number: int, held_out: bool) -> ImageSource:  # noqa: FBT001
    status = path.stat()
    identity = f"{path.name}, {status.st_size} bytes, {status.st_mtime_ns}"
    return ImageSource(f"{number:02d}_{path.stem}", held_out, None, lambda: _read(path), identity)


def _read(path: Path) -> Pixels:
    try:
        with open_image(path) as image:
            if image.mode[:1] in ("I", "F"):
                kind = f"has pixels of mode {image.mode}"
                raise DataError(kind, code="unsupported", file=path, hint="convert it to 8-bit RGB")
            if has_several(image):
                hint = "store each in a file of its own"
                raise DataError("contains several images, expected one", code="unsupported", file=path, hint=hint)
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            upright: Image.Image = ImageOps.exif_transpose(image)
            pixels = _fitted(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"not a readable image ({error})", code="damaged-file", file=path) from None
    if min(pixels.shape[:2]) < SHORTEST_SIDE:
        size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels are too few"
        hint = f"at least {SHORTEST_SIDE} x {SHORTEST_SIDE} are needed"
        raise DataError(size, code="out-of-range", file=path, hint=hint)
    return pixels


def _fitted(image: Image.Image) -> Pixels:
    """Return the pixels, shrunk to `LONGEST_SIDE` if larger."""
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return np.array(image)


def path_of(source: ImageSource, folder: Path) -> Path:
    """Return the file of an image: ``train/NAME.png`` or ``test/NAME.png`` below `folder`."""
    return folder / ("test" if source.held_out else "train") / f"{source.name}.png"


def has_pixels(path: Path, pixels: Pixels) -> bool:
    """Tell whether an image has these pixels, as one that `write` wrote before it was killed."""
    try:
        with open_image(path) as image:
            return np.array_equal(np.array(image), pixels)
    except (OSError, SyntaxError, ValueError):
        return False


def write(sources: Sequence[ImageSource], folder: Path, earlier: Iterable[Path]) -> None:
    """Write the images below `folder`, and remove those that an earlier run wrote there: `earlier`."""
    images = {path_of(source, folder): source.load() for source in sources}
    for path in set(earlier) - images.keys():
        path.unlink()
    for path, pixels in images.items():
        with atomic_path(path) as partial:
            Image.fromarray(pixels).save(partial, format="PNG")
