"""What coded recordings cost, and the table of a sweep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.studies.robust_lq.rd_cells import Cell

Point = dict[str, Any]
PUBLISHED_BPP = {3: 0.24, 4: 0.40}  # arXiv 1709.03126, section 4.2: nothing is gained beyond it, at QP < 24
PUBLISHED_QP = 24
_COLUMNS = (
    *("codec", "scale", "qp", "model", "frames", "bits", "vcl_bits", "bpp", "vcl_bpp", "psnr"),
    *("rmse", "cc", "ccc"),
)


def rate(out: Path, cells: Sequence[Cell]) -> Point:
    """Return the bits of several recordings, all and of the pictures alone, per pixel too, and their quality.

    The PSNR is that of the mean squared error of all pixels; None where nothing was lost.
    """
    if cells[0].qp is None:
        return dict.fromkeys(("bits", "vcl_bits", "bpp", "vcl_bpp", "psnr"))
    coded = [_coded(cell.path(out)) for cell in cells]
    pixels, bits = sum(one.pixels for one in coded), sum(one.bits for one in coded)
    pictures = [one.vcl_bits for one in coded if one.vcl_bits is not None]
    vcl = sum(pictures) if len(pictures) == len(coded) else None
    error = sum(one.error for one in coded)
    return {
        "bits": bits,
        "vcl_bits": vcl,
        "bpp": bits / pixels,
        "vcl_bpp": None if vcl is None else vcl / pixels,
        "psnr": 10 * math.log10(pixels / error) if error else None,
    }


class _Coded(NamedTuple):
    """A recording's bits, and the sum of the squared errors of its pixels."""

    pixels: int
    bits: int
    vcl_bits: int | None
    error: float


def _coded(path: Path) -> _Coded:
    with contents_of(path):
        told = read_json(path) or {}
        pixels, vcl, quality = math.prod(map(int, told["shape"])), told["vcl_bits"], told["psnr"]
        if pixels < 1 or not (quality is None or quality >= 0):
            raise ValueError(f"{pixels} pixels with a PSNR of {quality} dB")
        error = 0.0 if quality is None else pixels * 10 ** (-quality / 10)
        return _Coded(pixels, int(told["total_bits"]), None if vcl is None else int(vcl), error)


def rises(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return where a higher QP takes no fewer bits than the one before it."""
    rates: dict[tuple[str, int], dict[int, int]] = {}
    for point in points:
        if point["qp"] is not None:
            rates.setdefault((point["codec"], point["scale"]), {})[point["qp"]] = point["bits"]
    return [
        f"{codec}, 1/{scale}: QP {high} takes {bits[high]} bits, QP {low} {bits[low]}"
        for (codec, scale), bits in rates.items()
        for low, high in pairwise(sorted(bits))
        if bits[high] >= bits[low]
    ]


def write_csv(points: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write a row for every size, codec, QP and model; a field is empty where there is no number."""
    rows = [_COLUMNS, *(tuple(_text(point[column]) for column in _COLUMNS) for point in points)]
    with atomic_path(path) as partial:
        partial.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")


def _text(value: object) -> str:
    return "" if value is None else str(value)
