"""The cells of a sweep: one recording at one factor, by one codec, at one QP, kept in small files under OUT/cells.

A cell's journal holds fingerprints of all that it was made from; what they still hold for is not computed again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.studies.robust_lq.rd_results import Coding
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.encode import Frames, encode, versions
from matlab_ports.eval_video import FrameSource
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames

CODING, MODEL = "coding", "model "  # entries of a cell's journal
Predict = Callable[[FrameSource], npt.NDArray[np.float64]]
_BLOCK = 256  # frames read at once
_WHITE = 255


class Encoding(NamedTuple):
    """A cell: one recording at one factor, codec and QP.

    Attributes
    ----------
    name : of the recording.
    scale : the factor by which the coded frames are smaller than the crops.
    codec, qp : `UNCODED` and None for frames that are not coded.
    """

    name: str
    scale: int
    codec: str
    qp: int | None

    def path(self, out: Path) -> Path:
        """Return the journal of the cell."""
        coding = self.codec if self.qp is None else f"{self.codec}_qp{self.qp}"
        return out / "cells" / f"s{self.scale}_{coding}" / f"{self.name}.json"

    def journal(self, out: Path) -> Journal:
        """Return the journal, with entries for the coding and for the predictions of each model.

        Raises
        ------
        FileError
            The journal is damaged.
        """
        path = self.path(out)
        return Journal(path, root=path.parent)

    def predictions(self, out: Path, model: str) -> Path:
        """Return the file of a model's predictions."""
        return self.path(out).with_name(f"{self.name}.{model}.npz")


class EnlargedFrames:
    """Decoded frames, enlarged to the size of the nets' input as they are read.

    Parameters
    ----------
    small : uint8 (T, h, w).
    size : H and W of the frames.
    """

    def __init__(self, small: Frames, size: tuple[int, int]) -> None:
        self._small = small
        self.shape = (*size, small.shape[0])

    def take(self, indices: Any) -> npt.NDArray[np.float32]:
        """Return frames (H, W, n), single, by bicubic interpolation; as in the authors' data they are not clipped."""
        single = self._small[np.asarray(indices)].astype(np.float32) / np.float32(_WHITE)
        return imresize(single, self.shape[:2], axes=(1, 2)).transpose(1, 2, 0)


def shrunk(frames: FrameSource, scale: int, count: int) -> Frames:
    """Return the first `count` crops 1/scale as large, as codecs take them: uint8 (count, h, w).

    The crops go through MATLAB's imresize in single precision, as in the authors' low-resolution data. A codec takes
    whole numbers: 255 times the value, clipped to 0-255 and rounded, halves upwards.
    """
    blocks = []
    for start in range(0, count, _BLOCK):
        block = frames.take(range(start, min(start + _BLOCK, count))).transpose(2, 0, 1).astype(np.float32)
        small = imresize(block, 1 / scale, axes=(1, 2)).astype(np.float64)
        blocks.append(np.floor(np.clip(small * _WHITE, 0, _WHITE) + 0.5).astype(np.uint8))
    return np.concatenate(blocks)


def psnr(decoded: Frames, original: Frames) -> float | None:
    """Return the peak signal-to-noise ratio in dB; None where nothing was lost."""
    error = np.mean([np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(decoded, original, strict=True)])
    return float(10 * np.log10(_WHITE**2 / error)) if error else None


@dataclass(frozen=True)
class Unit:
    """A unit of work: the cells of one recording, factor and codec, for which the crops are read and shrunk once.

    Attributes
    ----------
    source : the recording's .mat file, and its SHA-256.
    cells : all of one recording, factor and codec.
    coding : see `Coding`.
    models : by name, the JSON value that identifies each model.
    out : the sweep's folder.
    """

    source: tuple[Path, str]
    cells: tuple[Encoding, ...]
    coding: Coding
    models: Mapping[str, Mapping[str, Any]]
    out: Path

    def missing(self) -> dict[Encoding, list[str]]:
        """Return the cells that are not complete, and the models whose predictions they lack."""
        todo = {}
        for cell in self.cells:
            journal = cell.journal(self.out)
            coded = journal.is_done(CODING, self._coding_fingerprint(cell))
            lacking = self._lacking(journal) if coded else list(self.models)
            if lacking or not coded:
                todo[cell] = lacking
        return todo

    def run(self, predictors: Mapping[str, Predict]) -> Iterator[Encoding]:
        """Complete the cells; yield each that was not complete.

        Raises
        ------
        CaffeCompatError, OSError
        """
        todo = self.missing()
        if not todo:
            return
        with closing(open_frames(self.source[0], "video")) as frames:
            height, width, total = frames.shape
            small = shrunk(frames, self.cells[0].scale, min(self.coding.frames or total, total))
        for cell in todo:
            journal = cell.journal(self.out)
            decoded, details = self._coded(cell, small)
            journal.note(CODING, self._coding_fingerprint(cell), **details)
            for model in self._lacking(journal):  # predictions of the same frames stay valid
                prediction = predictors[model](EnlargedFrames(decoded, (height, width)))
                if not np.isfinite(prediction).all():
                    frame = int(np.flatnonzero(~np.isfinite(prediction))[0])
                    problem = f"predicts {prediction[frame]} for frame {frame + 1} of {cell.name}"
                    raise DataError(problem, code="not-finite", field="model", value=model)
                path = cell.predictions(self.out, model)
                _save(path, prediction)
                inputs = self._prediction_fingerprint(details["decoded_sha256"], model)
                journal.note(f"{MODEL}{model}", inputs, [path])
            yield cell

    def _lacking(self, journal: Journal) -> list[str]:
        """Return the models without predictions of the coded frames."""
        with contents_of(journal.path):
            decoded = str(journal.entry(CODING)["decoded_sha256"])
        return [
            model
            for model in self.models
            if not journal.is_done(f"{MODEL}{model}", self._prediction_fingerprint(decoded, model))
        ]

    def _coding_fingerprint(self, cell: Encoding) -> str:
        inputs: dict[str, Any] = {"source": self.source[1], "cell": list(cell), "coding": asdict(self.coding)}
        if cell.qp is not None:
            codec = find_codec(cell.codec)
            inputs |= {"versions": versions(), "options": dict(codec.options(cell.qp)), "least": codec.min_side}
        return fingerprint(inputs)

    def _prediction_fingerprint(self, decoded: str, model: str) -> str:
        return fingerprint([decoded, dict(self.models[model])])

    def _coded(self, cell: Encoding, small: Frames) -> tuple[Frames, dict[str, Any]]:
        details: dict[str, Any] = {"shape": list(small.shape)}
        decoded = small
        if cell.qp is not None:
            coding = self.coding
            preset = coding.preset if cell.codec in ("x264", "x265") else None
            encoded = encode(small, cell.codec, qp=cell.qp, fps=coding.fps, gop=coding.gop, preset=preset)
            decoded = encoded.decoded
            details |= {
                "total_bits": encoded.total_bits,
                "vcl_bits": encoded.vcl_bits,
                "bits_by_nal_type": {str(kind): bits for kind, bits in encoded.by_type.items()},
                "psnr": psnr(decoded, small),
                "stream_sha256": encoded.sha256,
            }
        details["decoded_sha256"] = hashlib.sha256(decoded.tobytes()).hexdigest()
        return decoded, details


def load_predictions(path: Path) -> npt.NDArray[np.float64]:
    """Return a model's predictions of a cell, float64 (T,)."""
    with np.load(path) as file:
        return np.asarray(file["prediction"], np.float64)


def _save(path: Path, prediction: npt.NDArray[np.float64]) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, prediction=np.asarray(prediction, np.float64))


class Rate(NamedTuple):
    """Bits and quality of several recordings, with the fields of `rd_results.Point`."""

    bits: int | None = None
    vcl_bits: int | None = None
    bpp: float | None = None
    vcl_bpp: float | None = None
    psnr: float | None = None


def rate(out: Path, cells: Sequence[Encoding]) -> Rate:
    """Return the bits of several recordings and the PSNR of the mean squared error of all their pixels."""
    if cells[0].qp is None:
        return Rate()
    coded = [_coded(cell, out) for cell in cells]
    pixels, bits = sum(cell.pixels for cell in coded), sum(cell.bits for cell in coded)
    vcl_bits = [cell.vcl_bits for cell in coded if cell.vcl_bits is not None]
    vcl = sum(vcl_bits) if len(vcl_bits) == len(coded) else None
    error = sum(cell.error for cell in coded)
    quality = 10 * math.log10(pixels / error) if error else None
    return Rate(bits, vcl, bits / pixels, None if vcl is None else vcl / pixels, quality)


class _Coded(NamedTuple):
    """A recording's bits, and the sum of the squared errors of its pixels."""

    pixels: int
    bits: int
    vcl_bits: int | None
    error: float


def _coded(cell: Encoding, out: Path) -> _Coded:
    journal = cell.journal(out)
    with contents_of(journal.path):
        coding = journal.entry(CODING)
        pixels, vcl, quality = math.prod(map(int, coding["shape"])), coding["vcl_bits"], coding["psnr"]
        if pixels < 1 or not (quality is None or quality >= 0):
            raise ValueError(f"{pixels} pixels with a PSNR of {quality} dB")
        error = 0.0 if quality is None else pixels * 10 ** (-quality / 10)
        return _Coded(pixels, int(coding["total_bits"]), None if vcl is None else int(vcl), error)
