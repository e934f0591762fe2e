"""Recordings of small frames that went through a codec: what a net sees of them, their bits and their quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.records import Record
from lq_emotion.evaluation.predictor import load_predictor
from lq_emotion.studies.robust_lq.rd_results import Coding
from lq_emotion.video.encode import Frames, encode
from matlab_ports.eval_video import FrameSource, eval_video
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames

Doubles = npt.NDArray[np.float64]
_BLOCK = 256  # frames read at once
_WHITE = 255


class Encoding(NamedTuple):
    """A cell of the sweep: recordings at one factor, codec and QP.

    Attributes
    ----------
    scale : the factor by which the coded frames are smaller than the crops.
    codec, qp : `UNCODED` and None for frames that are not coded.
    """

    scale: int
    codec: str
    qp: int | None

    @property
    def name(self) -> str:
        """The name of the cell: ``s3_x264_qp24``, ``s3_none``."""
        return f"s{self.scale}_{self.codec}" + ("" if self.qp is None else f"_qp{self.qp}")


@dataclass(frozen=True)
class Coded(Record):
    """A recording's frames as they were coded; without bits and PSNR if they were not.

    Attributes
    ----------
    frames, height, width : number and size of the small frames.
    total_bits, vcl_bits : bits of the stream, and of the frames alone, without headers; None without NAL units.
    bits_by_nal_type : bits by type of NAL unit.
    psnr : PSNR of the small frames, in dB; None if nothing was lost.
    stream_sha256 : of the stream.
    """

    frames: int
    height: int
    width: int
    total_bits: int | None = None
    vcl_bits: int | None = None
    bits_by_nal_type: Mapping[str, int] | None = None
    psnr: float | None = None
    stream_sha256: str = ""

    def __post_init__(self) -> None:
        if self.pixels < 1 or not (self.psnr is None or self.psnr >= 0):
            raise ValueError(f"{self.pixels} pixels with a PSNR of {self.psnr} dB")

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.frames * self.height * self.width

    @property
    def error(self) -> float:
        """Sum of the squared errors of the pixels."""
        return 0.0 if self.psnr is None else self.pixels * 10 ** (-self.psnr / 10)


class Net(NamedTuple):
    """A net that predicts coded frames.

    Attributes
    ----------
    model : name of its curve.
    weights, sha256 : its weights, and their SHA-256.
    definition : its definition; by default that of the training, or the authors'.
    """

    model: str
    weights: Path
    sha256: str
    definition: Path | None = None


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


def code_recording(crops: Path, cell: Encoding, coding: Coding) -> tuple[Frames, tuple[int, int], Coded]:
    """Return a recording's small frames (T, h, w) as a decoder returns them, H and W of its crops, and the coding."""
    with closing(open_frames(crops, "video")) as source:
        height, width, total = source.shape
        small = shrunk(source, cell.scale, min(coding.frames or total, total))
    if cell.qp is None:
        return small, (height, width), Coded(*small.shape)
    preset = coding.preset if cell.codec in ("x264", "x265") else None
    encoded = encode(small, cell.codec, qp=cell.qp, fps=coding.fps, gop=coding.gop, preset=preset)
    by_type = {str(kind): bits for kind, bits in encoded.by_type.items()}
    quality = psnr(encoded.decoded, small)
    frames, h, w = small.shape
    coded = Coded(frames, h, w, encoded.total_bits, encoded.vcl_bits, by_type, quality, encoded.sha256)
    return encoded.decoded, (height, width), coded


def fill(
    cell: Encoding,
    crops: Sequence[Path],
    nets: Sequence[Net],
    coding: Coding,
    folder: Path,
    device: str,
    dimension: str,
) -> None:
    """Code recordings, let the nets predict them, and write NAME.json and NAME.MODEL.npz for each."""
    for path in crops:
        decoded, size, coded = code_recording(path, cell, coding)
        for net in nets:
            prediction = _predict(net, EnlargedFrames(decoded, size), device, dimension)
            if not np.isfinite(prediction).all():
                frame = int(np.flatnonzero(~np.isfinite(prediction))[0])
                problem = f"predicts {prediction[frame]} for frame {frame + 1} of {path.stem}"
                raise DataError(problem, code="not-finite", field="model", value=net.model)
            target = predictions_path(folder, path.stem, net.model)
            with atomic_path(target) as partial, partial.open("wb") as file:
                np.savez(file, prediction=np.asarray(prediction, np.float64))
        write_json(coded.to_json(), coded_path(folder, path.stem))


def _predict(net: Net, frames: EnlargedFrames, device: str, dimension: str) -> Doubles:
    predictor = _load(net.weights, net.sha256, net.definition, device)
    height, width, _ = frames.shape
    predictor.require_size((height, width), net.weights)
    return eval_video(frames, predictor).outputs[:, predictor.output_of(dimension)]


@lru_cache(maxsize=16)
def _load(weights: Path, _sha256: str, definition: Path | None, device: str) -> Any:
    """Load a net, once in a process as long as its weights have their hash."""
    return load_predictor(weights, definition, device=device)[0]


def coded_path(folder: Path, recording: str) -> Path:
    """Return the file with the `Coded` of a recording."""
    return folder / f"{recording}.json"


def predictions_path(folder: Path, recording: str, model: str) -> Path:
    """Return the file with a model's predictions of a recording."""
    return folder / f"{recording}.{model}.npz"


def load_predictions(path: Path) -> Doubles:
    """Return a model's predictions of a recording, float64 (T,)."""
    with np.load(path) as file:
        return np.asarray(file["prediction"], np.float64)


class Rate(NamedTuple):
    """Bits and quality of several recordings, with the fields of `rd_results.Point`."""

    bits: int | None = None
    vcl_bits: int | None = None
    bpp: float | None = None
    vcl_bpp: float | None = None
    psnr: float | None = None


def rate(paths: Sequence[Path]) -> Rate:
    """Return the bits of several recordings and the PSNR of the mean squared error of all their pixels."""
    coded = [read_record(path, Coded) for path in paths]
    bits = [one.total_bits for one in coded if one.total_bits is not None]
    if len(bits) < len(coded):
        return Rate()
    pixels, error = sum(one.pixels for one in coded), sum(one.error for one in coded)
    vcl_bits = [one.vcl_bits for one in coded if one.vcl_bits is not None]
    vcl = sum(vcl_bits) if len(vcl_bits) == len(coded) else None
    quality = 10 * math.log10(pixels / error) if error else None
    return Rate(sum(bits), vcl, sum(bits) / pixels, None if vcl is None else vcl / pixels, quality)
