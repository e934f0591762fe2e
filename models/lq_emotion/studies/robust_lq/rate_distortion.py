"""Rate and distortion: how well valence is recognised from small frames that went through a video codec (Figure 4).

The paper does not say which codec it used, how it was set, or whether headers count. Here x264 and x265 (and others by
name) run at one quantiser for all frames; bits are given per pixel of the small frames that are coded, all bits and
those of the frames alone.
"""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.common.settings import option
from lq_emotion.datasets.avec.layout import avec_name
from lq_emotion.datasets.avec.partitions import recordings_in
from lq_emotion.evaluation.calibration import align_predictions, common_preparation
from lq_emotion.evaluation.predictor import load_predictor
from lq_emotion.metrics.regression import Convention, score
from lq_emotion.studies.robust_lq.rd_results import (
    FPS,
    GOP,
    PRESET,
    PUBLISHED_BPP,
    PUBLISHED_QP,
    UNCODED,
    Model,
    Point,
    SweepResults,
    draw_codec,
    draw_rates,
    write_csv,
)
from lq_emotion.training.run import find_weights
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.encode import Frames, encode, versions
from lq_emotion.workflow.stages import Stage
from lq_emotion.workflow.study import Study, StudySettings
from matlab_ports.eval_video import FrameSource, eval_video
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames
from matlab_ports.run_eval import mat_path, read_labels

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


def rises(points: Iterable[Point]) -> tuple[str, ...]:
    """Return where a higher QP takes no fewer bits than the next lower one."""
    rates: dict[tuple[str, int], dict[int, int]] = {}
    for point in points:
        if point.qp is not None and point.bits is not None:
            rates.setdefault((point.codec, point.scale), {})[point.qp] = point.bits
    return tuple(
        f"{codec}, 1/{scale}: QP {high} takes {bits[high]} bits, QP {low} {bits[low]}"
        for (codec, scale), bits in rates.items()
        for low, high in pairwise(sorted(bits))
        if bits[high] >= bits[low]
    )


def _model(text: str) -> Model:
    parsed = re.fullmatch(r"([\w.+-]+)(?:@([1-9]\d*))?=(.+)", text)
    if not parsed:
        raise ArgumentTypeError(f"expected NAME=FILE or NAME@SCALE=FILE, got {text!r}")
    name, scale, file = parsed.groups()
    return Model(name, Path(file).resolve(), int(scale) if scale else None)


@dataclass(frozen=True, kw_only=True)
class SweepSettings(StudySettings):
    """Settings of a sweep over factors, codecs and quantisers: every combination is run."""

    seed: int = option(0, offered=False)  # nothing is drawn
    threads: int = option(2, offered=False)
    data: Path = option(help="folder of crops: ROOT/data/raw_data/HQ", metavar="FOLDER")
    models: tuple[Model, ...] = option(
        help="caffemodels or folders of trainings; NAME@3=FILE is used at scale 3 only",
        name="--weights",
        read=_model,
        metavar="NAME=FILE",
    )
    net: Path | None = option(
        None, "deploy definition of the nets (default: the training's, else the authors' CNN+D)", metavar="FILE"
    )
    names: tuple[str, ...] = option((), "recordings to score (default: the partition dev)")
    delay: float | None = option(
        None,
        "delay of the gold standard in seconds, including what prepare removed (default: as prepared)",
        least=0,
        metavar="S",
    )
    scales: tuple[int, ...] = option((3, 4), "downsampling factors", least=1, most=96, metavar="S")
    codecs: tuple[str, ...] = option(("x264", "x265"), "x264, x265, vp9, av1 or mpeg4")
    qps: tuple[int, ...] = option(tuple(range(12, 45, 4)), "quantisers", least=0, metavar="QP")
    frames: int | None = option(None, "use the first N frames of each recording (default: all)", least=1)
    convention: Convention = option("avec", offered=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("models", "scales", "codecs", "qps"):
            if not getattr(self, name):
                raise DataError("empty", code="empty", field=name, hint="give at least one")
        for codec in self.codecs:
            for qp in self.qps:
                find_codec(codec, qp)
        seen: set[tuple[str, int]] = set()
        for model in self.models:
            for scale in self.scales if model.scale is None else (model.scale,):
                if (model.name, scale) in seen:
                    problem = f"two models of this name at scale {scale}"
                    raise DataError(problem, code="duplicate", field="model", value=model.name)
                seen.add((model.name, scale))

    @property
    def recordings(self) -> list[str]:
        """The names of the recordings."""
        return list(dict.fromkeys(map(avec_name, self.names))) or recordings_in(self.data, "dev")

    def at(self, scale: int) -> list[Model]:
        """Return the models that are used at a factor."""
        return [model for model in self.models if model.scale in (None, scale)]

    @property
    def cells(self) -> Iterator[Encoding]:
        """Every factor, codec and QP, and frames that are not coded."""
        for scale in dict.fromkeys(self.scales):
            yield Encoding(scale, UNCODED, None)
            for codec in dict.fromkeys(self.codecs):
                yield from (Encoding(scale, codec, qp) for qp in sorted(set(self.qps)))

    def folder(self, cell: Encoding) -> Path:
        """Return the folder of a cell."""
        return self.out / "cells" / cell.name


def sweep_stages(settings: SweepSettings, names: Sequence[str]) -> Iterator[Stage[Any]]:
    """Yield a stage for each factor, codec and QP of the recordings `names`."""
    crops = tuple(mat_path(settings.data, name) for name in names)
    for cell in settings.cells:
        models, folder = settings.at(cell.scale), settings.folder(cell)
        made: dict[str, Any] = {"models": [model.name for model in models], "frames": settings.frames}
        if cell.qp is not None:
            codec = find_codec(cell.codec)
            made |= {"versions": versions(), "options": dict(codec.options(cell.qp)), "least": codec.min_side}
        predicted = (predictions_path(folder, name, model.name) for name in names for model in models)
        writes = (*(coded_path(folder, name) for name in names), *predicted)
        definition = () if settings.net is None else (settings.net,)
        reads = (*crops, *(model.weights for model in models), *definition)
        run = partial(_fill, settings, cell, crops)
        yield Stage(f"code {cell.name}", run, made | {"threads": settings.threads}, reads, writes)


def _fill(settings: SweepSettings, cell: Encoding, crops: Sequence[Path], say: Say) -> None:
    """Code recordings, let the nets predict them, and write NAME.json and NAME.MODEL.npz for each."""
    dimension, _ = common_preparation(read_labels(settings.data, [path.stem for path in crops]), settings.data)
    device, folder, models = str(choose_device(settings.device)), settings.folder(cell), _read(settings.at(cell.scale))
    for path in crops:
        decoded, size, coded = code_recording(path, cell, settings.frames)
        for model in models:
            predictor = _load(model.weights, model.sha256, settings.net, device)
            predictor.require_size(size, model.weights)
            outputs = eval_video(EnlargedFrames(decoded, size), predictor).outputs
            prediction = outputs[:, predictor.output_of(dimension)]
            if not np.isfinite(prediction).all():
                frame = int(np.flatnonzero(~np.isfinite(prediction))[0])
                problem = f"predicts {prediction[frame]} for frame {frame + 1} of {path.stem}"
                raise DataError(problem, code="not-finite", field="model", value=model.name)
            target = predictions_path(folder, path.stem, model.name)
            with atomic_path(target) as partial_path, partial_path.open("wb") as file:
                np.savez(file, prediction=np.asarray(prediction, np.float64))
        write_json(coded.to_json(), coded_path(folder, path.stem))
    say(f"{len(crops)} recordings, {len(models)} nets")


def _read(models: Sequence[Model]) -> tuple[Model, ...]:
    """Return models with the hashes of their weights."""
    return tuple(replace(model, sha256=file_sha256(model.weights)) for model in models)


def _stages(settings: SweepSettings) -> list[Stage[None]]:
    """Return the stages of a sweep of trained nets; an unusable net is refused before anything is written."""
    names = settings.recordings
    common_preparation(read_labels(settings.data, names), settings.data)
    with closing(open_frames(mat_path(settings.data, names[0]), "video")) as frames:
        height, width, _ = frames.shape
    for model in settings.models:
        predictor, path = load_predictor(model.weights, settings.net)
        predictor.require_size((height, width), path)
    return list(sweep_stages(settings, names))


def _prepare(settings: SweepSettings) -> SweepSettings:
    """Return the settings with files of weights in place of the folders of trainings."""
    models = tuple(replace(model, weights=find_weights(model.weights)) for model in settings.models)
    return replace(settings, models=models)


def result_files(settings: SweepSettings) -> list[Path]:
    """Return the files that `sweep_results` writes."""
    plots = (f"rd_{codec}.png" for codec in dict.fromkeys(settings.codecs))
    return [settings.out / name for name in ("rd.csv", *plots, "rate.png", "rd.json")]


def sweep_results(settings: SweepSettings, _seconds: Mapping[str, float | None] | None = None) -> SweepResults:
    """Score what the stages of a sweep predicted; write rd.json, rd.csv and the figures."""
    names = settings.recordings
    _, prepared = common_preparation(read_labels(settings.data, names), settings.data)
    delay = prepared if settings.delay is None else settings.delay
    points = tuple(_points(settings, names, delay))
    results = SweepResults(
        data=str(settings.data),
        recordings=tuple(names),
        models=_read(settings.models),
        frames=settings.frames,
        versions=versions(),
        convention=settings.convention,
        delay=delay,
        bpp_published={"qp": PUBLISHED_QP, **{str(scale): bpp for scale, bpp in PUBLISHED_BPP.items()}},
        bits_rise_with_qp=rises(points),
        points=points,
    )
    write_csv(points, settings.out / "rd.csv")
    for codec in dict.fromkeys(settings.codecs):
        draw_codec(points, codec, settings.out / f"rd_{codec}.png")
    draw_rates(points, PUBLISHED_BPP, PUBLISHED_QP, settings.out / "rate.png")
    write_json(results.to_json(), settings.out / "rd.json")
    return results


def _points(settings: SweepSettings, names: Sequence[str], delay: float) -> Iterator[Point]:
    labels = read_labels(settings.data, names)
    gold = np.concatenate([labels[name].valence[: settings.frames] for name in names])
    for cell in settings.cells:
        folder = settings.folder(cell)
        rates = rate([coded_path(folder, name) for name in names])
        for model in settings.at(cell.scale):
            traces = [
                align_predictions(load_predictions(predictions_path(folder, name, model.name)), labels[name], delay)
                for name in names
            ]
            scored = score(np.concatenate(traces), gold, settings.convention)
            yield Point(codec=cell.codec, scale=cell.scale, qp=cell.qp, model=model.name, score=scored, **rates)


SWEEP = Study("rd", _stages, sweep_results, result_files, prepare=_prepare)
