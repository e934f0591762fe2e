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
from lq_emotion.studies.robust_lq.rd_results import FPS, GOP, PRESET, Model
from lq_emotion.video.encode import Frames, encode
from matlab_ports.eval_video import FrameSource, eval_video
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames

Doubles = npt.NDArray[np.float64]
_BLOCK = 256  # frames read at once
_WHITE = 255


class Encoding(NamedTuple):
    """A cell of the sweep: frames smaller by a factor, a codec and a QP; `UNCODED` and None if they are not coded."""

    scale: int
    codec: str
    qp: int | None

    @property
    def name(self) -> str:
        """The name of the cell: ``s3_x264_qp24``, ``s3_none``."""
        return f"s{self.scale}_{self.codec}" + ("" if self.qp is None else f"_qp{self.qp}")


@dataclass(frozen=True)
class Coded(Record):
    """A recording's small frames as they were coded; without bits and PSNR if they were not."""

    frames: int
    height: int
    width: int
    total_bits: int | None = None
    vcl_bits: int | None = None
    """Of the frames alone, without headers; None without NAL units."""
    bits_by_nal_type: Mapping[str, int] | None = None
    psnr: float | None = None
    """In dB; None if nothing was lost."""
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


class EnlargedFrames:
    """Decoded frames, uint8 (T, h, w), enlarged to H and W of the nets' input as they are read."""

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


def code_recording(crops: Path, cell: Encoding, count: int | None) -> tuple[Frames, tuple[int, int], Coded]:
    """Return the first `count` small frames (T, h, w) as a decoder returns them, H and W of the crops, and the coding.

    Of None frames, all.
    """
    with closing(open_frames(crops, "video")) as source:
        height, width, total = source.shape
        small = shrunk(source, cell.scale, min(count or total, total))
    if cell.qp is None:
        return small, (height, width), Coded(*small.shape)
    preset = PRESET if cell.codec in ("x264", "x265") else None
    encoded = encode(small, cell.codec, qp=cell.qp, fps=FPS, gop=GOP, preset=preset)
    by_type = {str(kind): bits for kind, bits in encoded.by_type.items()}
    quality = psnr(encoded.decoded, small)
    frames, h, w = small.shape
    coded = Coded(frames, h, w, encoded.total_bits, encoded.vcl_bits, by_type, quality, encoded.sha256)
    return encoded.decoded, (height, width), coded


def fill(
    cell: Encoding,
    crops: Sequence[Path],
    models: Sequence[Model],
    folder: Path,
    *,
    definition: Path | None,
    frames: int | None,
    device: str,
    dimension: str,
) -> None:
    """Code the first `frames` of recordings, let the nets predict them, and write NAME.json and NAME.MODEL.npz."""
    for path in crops:
        decoded, size, coded = code_recording(path, cell, frames)
        for model in models:
            predictor = _load(model.weights, model.sha256, definition, device)
            predictor.require_size(size, model.weights)
            outputs = eval_video(EnlargedFrames(decoded, size), predictor).outputs
            prediction = outputs[:, predictor.output_of(dimension)]
            if not np.isfinite(prediction).all():
                frame = int(np.flatnonzero(~np.isfinite(prediction))[0])
                problem = f"predicts {prediction[frame]} for frame {frame + 1} of {path.stem}"
                raise DataError(problem, code="not-finite", field="model", value=model.name)
            target = predictions_path(folder, path.stem, model.name)
            with atomic_path(target) as partial, partial.open("wb") as file:
                np.savez(file, prediction=np.asarray(prediction, np.float64))
        write_json(coded.to_json(), coded_path(folder, path.stem))


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


def rate(paths: Sequence[Path]) -> dict[str, Any]:
    """Return bits of several recordings, and PSNR of the mean squared error of all pixels, as fields of `Point`."""
    coded = [read_record(path, Coded) for path in paths]
    bits = [one.total_bits for one in coded if one.total_bits is not None]
    if len(bits) < len(coded):
        return dict.fromkeys(("bits", "vcl_bits", "bpp", "vcl_bpp", "psnr"))
    pixels, error = sum(one.pixels for one in coded), sum(one.error for one in coded)
    vcl_bits = [one.vcl_bits for one in coded if one.vcl_bits is not None]
    vcl = sum(vcl_bits) if len(vcl_bits) == len(coded) else None
    quality = 10 * math.log10(pixels / error) if error else None
    per_pixel = {"bpp": sum(bits) / pixels, "vcl_bpp": None if vcl is None else vcl / pixels}
    return {"bits": sum(bits), "vcl_bits": vcl, **per_pixel, "psnr": quality}
