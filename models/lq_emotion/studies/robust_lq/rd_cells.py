"""One recording, at one size, by one codec: coded at several QPs, decoded, enlarged and predicted by several nets.

What is made is kept in small files under OUT/cells, each with a hash of all it was made from; what is there and still
holds is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import contents_of, read_json, write_json
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.encode import Pictures, encode, versions
from matlab_ports.eval_video import FrameSource
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames

UNCODED = "none"  # in a codec's place: small pictures that were not coded, what a curve ends in
Predict = Callable[[FrameSource], npt.NDArray[np.float64]]
_BLOCK = 256  # frames read at once
_WHITE = 255


class Cell(NamedTuple):
    """A point of the sweep, of one recording.

    Attributes
    ----------
    name : of the recording.
    scale : how many times smaller than the crops the coded pictures are.
    codec, qp : `UNCODED` and None for pictures that were not coded.
    """

    name: str
    scale: int
    codec: str
    qp: int | None

    def path(self, out: Path) -> Path:
        """Return the file that tells of its coding."""
        how = self.codec if self.qp is None else f"{self.codec}_qp{self.qp}"
        return out / "cells" / f"s{self.scale}_{how}" / f"{self.name}.json"

    def predictions(self, out: Path, model: str) -> Path:
        """Return the file of a model's predictions."""
        return self.path(out).with_name(f"{self.name}.{model}.npz")


@dataclass(frozen=True)
class Coding:
    """How pictures are coded, beside codec and QP.

    Attributes
    ----------
    frames : no more of a recording than its first ones; None for all.
    fps, gop, preset : see `codec.encode`; the preset is left to codecs that know none.
    """

    frames: int | None = None
    fps: int = 25
    gop: int = 250
    preset: str = "medium"


class Enlarged:
    """Decoded pictures as frames of the nets' size, made when they are asked for.

    Parameters
    ----------
    small : uint8 (T, h, w).
    size : H and W of the frames.
    """

    def __init__(self, small: Pictures, size: tuple[int, int]) -> None:
        self._small = small
        self.shape = (*size, small.shape[0])

    def take(self, indices: Any) -> npt.NDArray[np.float32]:
        """Return frames (H, W, n), single, by bicubic interpolation; as in the authors' data they are not clipped."""
        single = self._small[np.asarray(indices)].astype(np.float32) / np.float32(_WHITE)
        return imresize(single, self.shape[:2], axes=(1, 2)).transpose(1, 2, 0)


def shrunk(frames: FrameSource, scale: int, count: int) -> Pictures:
    """Return the first `count` crops 1/scale as large, as codecs take them: uint8 (count, h, w).

    The crops go through MATLAB's imresize in single, as in the authors' low-resolution data, which holds what comes out
    of it. A codec takes whole numbers: 255 times the value, clipped to 0-255 and rounded, halves upwards.
    """
    blocks = []
    for start in range(0, count, _BLOCK):
        block = frames.take(range(start, min(start + _BLOCK, count))).transpose(2, 0, 1).astype(np.float32)
        small = imresize(block, 1 / scale, axes=(1, 2)).astype(np.float64)
        blocks.append(np.floor(np.clip(small * _WHITE, 0, _WHITE) + 0.5).astype(np.uint8))
    return np.concatenate(blocks)


def psnr(found: Pictures, original: Pictures) -> float | None:
    """Return the peak signal-to-noise ratio in dB; None where nothing was lost."""
    error = np.mean([np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(found, original, strict=True)])
    return float(10 * np.log10(_WHITE**2 / error)) if error else None


@dataclass(frozen=True)
class Unit:
    """What is done in one go: the cells of one recording, size and codec, with the crops read and shrunk once.

    Attributes
    ----------
    source : the recording's .mat file, and its SHA-256.
    cells : all of one recording, scale and codec.
    coding : see `Coding`.
    models : what identifies each model, by name: JSON.
    out : the sweep's folder.
    """

    source: tuple[Path, str]
    cells: tuple[Cell, ...]
    coding: Coding
    models: Mapping[str, Mapping[str, Any]]
    out: Path

    def missing(self) -> dict[Cell, list[str]]:
        """Return the cells with something to do, and the models they lack."""
        found = {}
        for cell in self.cells:
            lacking = self._lacking(cell)
            if lacking is not None:
                found[cell] = lacking
        return found

    def run(self, predictors: Mapping[str, Predict]) -> Iterator[Cell]:
        """Do what is missing, a cell at a time.

        Raises
        ------
        CaffeCompatError, PortError, OSError
        """
        todo = self.missing()
        if not todo:
            return
        with closing(open_frames(self.source[0], "video")) as frames:
            height, width, total = frames.shape
            small = shrunk(frames, self.cells[0].scale, min(self.coding.frames or total, total))
        for cell in todo:
            decoded, told = self._coded(cell, small)
            path = cell.path(self.out)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(told, path)
            for model in self._lacking(cell) or ():  # with the pictures known: what fits them is kept
                found = predictors[model](Enlarged(decoded, (height, width)))
                if not np.isfinite(found).all():
                    place = int(np.flatnonzero(~np.isfinite(found))[0])
                    problem = f"predicts {found[place]} for frame {place + 1} of {cell.name}"
                    raise DataError(problem, field="model", value=model)
                _save(cell.predictions(self.out, model), _key(told["decoded_sha256"], self.models[model]), found)
            yield cell

    def _lacking(self, cell: Cell) -> list[str] | None:
        """Return the models without predictions; None if there is nothing to do."""
        told = read_json(cell.path(self.out))
        if told is None or told.get("key") != self._coding_key(cell):
            return list(self.models)
        with contents_of(cell.path(self.out)):
            decoded = str(told["decoded_sha256"])
        lacking = [
            name
            for name, identity in self.models.items()
            if _key_of(cell.predictions(self.out, name)) != _key(decoded, identity)
        ]
        return lacking or None

    def _coding_key(self, cell: Cell) -> str:
        told: dict[str, Any] = {"cell": list(cell), "coding": asdict(self.coding)}
        if cell.qp is not None:
            codec = find_codec(cell.codec)
            told |= {"versions": versions(), "options": dict(codec.options(cell.qp)), "least": codec.least}
        return _key(self.source[1], told)

    def _coded(self, cell: Cell, small: Pictures) -> tuple[Pictures, dict[str, Any]]:
        told: dict[str, Any] = {"key": self._coding_key(cell), "shape": list(small.shape)}
        decoded = small
        if cell.qp is not None:
            coding = self.coding
            preset = coding.preset if cell.codec in ("x264", "x265") else None
            encoded = encode(small, cell.codec, qp=cell.qp, fps=coding.fps, gop=coding.gop, preset=preset)
            decoded = encoded.decoded
            told |= {
                "total_bits": encoded.total_bits,
                "vcl_bits": encoded.vcl_bits,
                "bits_by_nal_type": {str(kind): bits for kind, bits in encoded.by_type.items()},
                "psnr": psnr(decoded, small),
                "stream_sha256": encoded.sha256,
            }
        told["decoded_sha256"] = hashlib.sha256(decoded.tobytes()).hexdigest()
        return decoded, told


def load_predictions(path: Path) -> npt.NDArray[np.float64]:
    """Return what a model predicted in a cell, (T,)."""
    with np.load(path) as held:
        return np.asarray(held["prediction"], np.float64)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _key(content: str, settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([content, settings], sort_keys=True).encode()).hexdigest()


def _key_of(path: Path) -> str | None:
    try:
        with np.load(path) as held:
            return str(held["key"])
    except (OSError, ValueError, KeyError, EOFError):
        return None  # not there, or not ours: it is made again


def _save(path: Path, key: str, prediction: Sequence[float] | npt.NDArray[np.float64]) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, key=np.array(key), prediction=np.asarray(prediction, np.float64))
