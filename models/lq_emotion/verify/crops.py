"""Folders of crops to score on, and the factor of each: by name, by option, or by their contents.

Crops at a factor s are ``imresize(imresize(x, 1/s), [96 96])``. So each of their rows and columns is a sum of the
ceil(96 / s) curves that bicubic enlargement knows. Up to rounding, no other picture is: the parts of synthetic crops
outside of these sums are 1e-7 of the whole at their own factor, and 2e-4 or more at every other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.progress import Say
from lq_emotion.datasets.avec.layout import DIMENSIONS
from lq_emotion.datasets.avec.partitions import Partitions, stored_partitions
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.names import FACTORS, crops_folder, factor_of_crops
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames, variable_names
from matlab_ports.run_eval import read_label_names

_FRAMES = 5  # inspected
_ROUNDING = 2e-5  # of a frame's deviation from its mean; the crops are computed in single


class CropsFolders(NamedTuple):
    """The folders of development crops below ROOT."""

    base: Path
    """Their common parent, such as ROOT/data/raw_data."""
    folders: Mapping[int, Path]
    """By factor; 1 is HQ."""
    unknown: tuple[Path, ...] = ()
    """Folders whose factor is not known."""


def read_crops(text: str) -> tuple[str, int]:
    """Read FOLDER=S, where S is a factor or HQ."""
    name, _, factor = text.rpartition("=")
    number = int(factor) if factor.isdecimal() else factor_of_crops(factor)
    if not name or not number:
        hint = f"FOLDER=HQ, or FOLDER=S with a factor S such as {', '.join(map(str, FACTORS))}"
        raise DataError("names no folder with its factor", code="invalid", field="--crops", value=text, hint=hint)
    return name, number


def find_crops(
    root: Path,
    partitions: Partitions | None = None,
    named: Mapping[str, int] | None = None,
    say: Say = print,
) -> CropsFolders:
    """Return the folders of development crops below ROOT, or below a folder of ROOT.

    `partitions` are by default those stored by prepare, else those of AVEC's names. `named` has the factors of folders
    that the user names: paths, or names of folders in the same parent. `say` receives a line for each folder whose
    factor follows from its contents. Two folders of one factor, and crops at another factor than stated, are refused.
    """
    if not root.is_dir():
        raise FileError("no such folder", code="file-missing", file=root, field="--recordings")
    bases = (root / "data" / "raw_data", root / "raw_data", root)
    by_base = {base: _development(base, partitions) for base in bases}
    base = next((base for base in bases if by_base[base]), root)
    chosen = {name: _named(base, name, partitions) for name in named or {}}
    crops = _sorted_out(base, by_base[base], [(*chosen[name], factor) for name, factor in (named or {}).items()], say)
    if crops.folders:
        return crops
    if crops.unknown:
        problem = f"the factor of the crops in {', '.join(path.name for path in crops.unknown)} is not known"
        hint = f"name it: --crops {crops.unknown[0].name}=HQ, or =3"
        raise FileError(problem, code="not-prepared", file=base, field="--recordings", hint=hint)
    hint = "the ROOT of lq-emotion data prepare --out ROOT; --dev names the recordings where AVEC's names do not"
    problem = "has no folder of crops with development recordings, such as data/raw_data/HQ or LR3"
    raise FileError(problem, code="not-prepared", file=root, field="--recordings", hint=hint)


def _development(base: Path, partitions: Partitions | None) -> dict[Path, Path]:
    """Return the folders of crops in a folder, with the first development recording of each."""
    folders = {folder: _first(folder, base, partitions) for folder in sorted(base.glob("*")) if folder.is_dir()}
    return {folder: crops for folder, crops in folders.items() if crops is not None and _has_crops(folder, crops)}


def _first(folder: Path, base: Path, partitions: Partitions | None) -> Path | None:
    members = (partitions or stored_partitions(base.parent)).members
    names = members("dev", (path.stem for path in folder.glob("*.mat")))
    return folder / f"{names[0]}.mat" if names else None


def _has_crops(folder: Path, crops: Path) -> bool:
    """Tell whether a folder is for crops by its name, or by a file in it: gray, 96 x 96, with valence."""
    if factor_of_crops(folder.name):
        return True
    if not {"video", "video_time"} <= set(variable_names(crops)) or read_label_names(crops) != DIMENSIONS[:1]:
        return False
    with open_frames(crops) as frames:
        return frames.shape[:2] == (SIZE, SIZE)


def _named(base: Path, name: str, partitions: Partitions | None) -> tuple[Path, Path]:
    """Return the folder that the user names, and its first development recording."""
    folder = next((path for path in (base / name, Path(name)) if path.is_dir()), None)
    if folder is None:
        present = ", ".join(sorted(path.name for path in base.glob("*") if path.is_dir()))
        hint = f"{base} has {present}" if present else None
        raise FileError("no such folder of crops", code="file-missing", file=name, field="--crops", hint=hint)
    crops = _first(folder, base, partitions)
    if crops is None:
        hint = "--dev names the recordings where AVEC's names do not"
        raise FileError("no development recording", code="not-prepared", file=folder, field="--crops", hint=hint)
    return folder, crops


def _sorted_out(
    base: Path,
    development: Mapping[Path, Path],
    chosen: Sequence[tuple[Path, Path, int]],
    say: Say,
) -> CropsFolders:
    """Take the folders that the user names first, then those named HQ and LR<s>, then those known by their contents."""
    folders: dict[int, Path] = {}
    for folder, crops, factor in chosen:
        _require_factor(folder, crops, factor)
        _require_single(folders, folder, factor)
        folders[factor] = folder
    others = {folder: crops for folder, crops in development.items() if folder not in folders.values()}
    for folder, crops in others.items():
        stated = factor_of_crops(folder.name)
        if stated and stated not in folders:
            _require_factor(folder, crops, stated)
            folders[stated] = folder
    by_contents: dict[int, Path] = {}
    unknown = []
    for folder, crops in others.items():
        if factor_of_crops(folder.name):
            continue
        seen = factor_in(crops)
        if seen is None:
            unknown.append(folder)
        elif seen not in folders:
            _require_single(by_contents, folder, seen)
            by_contents[seen] = folder
            say(f"{folder.name}: crops at the factor {seen}, by their contents")
    return CropsFolders(base, dict(sorted((folders | by_contents).items())), tuple(unknown))


def _require_single(folders: Mapping[int, Path], folder: Path, factor: int) -> None:
    if factor in folders:
        problem = f"has the same factor as {folders[factor].name}"
        hint = f"choose one of them: --crops {folder.name}={factor}"
        raise DataError(problem, code="ambiguous", file=folder, field="--crops", value=factor, hint=hint)


def _require_factor(folder: Path, crops: Path, factor: int) -> None:
    seen = factor_in(crops)
    if seen is not None and _curves(seen) != _curves(factor):
        problem = f"the crops in it are at the factor {seen}, which {crops_folder(factor)} is not"
        hint = f"state their factor: --crops {folder.name}={seen}"
        raise DataError(problem, code="mismatch", file=folder, field="--crops", value=factor, hint=hint)


def factor_in(crops: Path) -> int | None:
    """Return the factor of Table 1 at which a file's crops are; None if they are at none, as HQ is.

    A few frames decide, all alike. A frame of one value, which is so at every factor, does not count.
    The factor 13, which the paper does not have, leaves as many pixels as 12 and is taken for it.
    """
    with open_frames(crops) as frames:
        height, width, count = frames.shape
        if (height, width) != (SIZE, SIZE):
            return None
        chosen = frames.take(np.unique(np.linspace(0, count - 1, _FRAMES).round().astype(int))).astype(np.float64)
    factors = {_factor_of(frame) for frame in np.moveaxis(chosen, -1, 0) if np.ptp(frame) > 0}
    return factors.pop() if len(factors) == 1 else None


def _factor_of(frame: npt.NDArray[np.float64]) -> int | None:
    allowed = _ROUNDING * float(np.linalg.norm(frame - frame.mean()))
    for factor in FACTORS:
        curves = _basis(factor)
        inside = curves @ (curves.T @ frame @ curves) @ curves.T
        if np.linalg.norm(frame - inside) <= allowed:
            return factor
    return None


def _curves(factor: int) -> int:
    return -(-SIZE // factor)


@cache
def _basis(factor: int) -> npt.NDArray[np.float64]:
    """Return orthonormal columns, (96, ceil(96 / s)), that span all enlargements from ceil(96 / s) pixels."""
    pixels = _curves(factor)
    columns, _ = np.linalg.qr(imresize(np.eye(pixels), output_size=(SIZE, pixels)))
    return np.asarray(columns, np.float64)
