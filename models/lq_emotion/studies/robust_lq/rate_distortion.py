"""Rate and distortion: how well valence is recognised from small frames that went through a video codec (Figure 4).

The paper does not say which codec it used, how it was set, or whether headers count. Here x264 and x265 (and others by
name) run at one quantiser for all frames; bits are given per pixel of the small frames that are coded, all bits and
those of the frames alone.

Every cell (a recording at one size, by one codec, at one QP) is kept in small files under OUT/cells, each with a
fingerprint of all that it was made from; a cell whose fingerprint still holds is not computed again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from caffe_compat.errors import DataError, FileError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256, fingerprint
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of, write_json
from lq_emotion.common.processes import as_done
from lq_emotion.datasets.avec.partitions import Partitions, recordings_in
from lq_emotion.evaluation.calibration import align_predictions, common_preparation
from lq_emotion.evaluation.predictor import Predictor, find_definition, load_predictor
from lq_emotion.metrics.regression import Convention, score
from lq_emotion.studies.robust_lq import figure4
from lq_emotion.studies.robust_lq.figure4 import PUBLISHED_BPP, PUBLISHED_QP, Point
from lq_emotion.training.trainer import find_weights
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.encode import Frames, encode, versions
from matlab_ports.eval_video import FrameSource, eval_video
from matlab_ports.imresize import imresize
from matlab_ports.matfile import open_frames
from matlab_ports.run_eval import Labels, mat_path, read_labels

Say = Callable[[str], None]
UNCODED = "none"  # in a codec's place: small frames that were not coded, what a curve ends in
CODING, MODEL = "coding", "model "  # entries of a cell's journal
Predict = Callable[[FrameSource], npt.NDArray[np.float64]]
_BLOCK = 256  # frames read at once
_WHITE = 255


class Encoding(NamedTuple):
    """A point of the sweep, of one recording.

    Attributes
    ----------
    name : of the recording.
    scale : how many times smaller than the crops the coded frames are.
    codec, qp : `UNCODED` and None for frames that were not coded.
    """

    name: str
    scale: int
    codec: str
    qp: int | None

    def path(self, out: Path) -> Path:
        """Return the journal of the cell."""
        how = self.codec if self.qp is None else f"{self.codec}_qp{self.qp}"
        return out / "cells" / f"s{self.scale}_{how}" / f"{self.name}.json"

    def journal(self, out: Path) -> Journal:
        """Return what is noted about the cell: its coding, and the predictions of each model.

        Raises
        ------
        FileError
            The journal is damaged.
        """
        path = self.path(out)
        return Journal(path, root=path.parent, identify=file_sha256)

    def predictions(self, out: Path, model: str) -> Path:
        """Return the file of a model's predictions."""
        return self.path(out).with_name(f"{self.name}.{model}.npz")


@dataclass(frozen=True)
class Coding:
    """How frames are coded, beside codec and QP.

    Attributes
    ----------
    frames : no more of a recording than its first ones; None for all.
    fps, gop, preset : see `codec.encode`; the preset is left to codecs that know none.
    """

    frames: int | None = None
    fps: int = 25
    gop: int = 250
    preset: str = "medium"


class EnlargedFrames:
    """Decoded frames at the nets' size, made when they are asked for.

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

    The crops go through MATLAB's imresize in single, as in the authors' low-resolution data, which holds what comes out
    of it. A codec takes whole numbers: 255 times the value, clipped to 0-255 and rounded, halves upwards.
    """
    blocks = []
    for start in range(0, count, _BLOCK):
        block = frames.take(range(start, min(start + _BLOCK, count))).transpose(2, 0, 1).astype(np.float32)
        small = imresize(block, 1 / scale, axes=(1, 2)).astype(np.float64)
        blocks.append(np.floor(np.clip(small * _WHITE, 0, _WHITE) + 0.5).astype(np.uint8))
    return np.concatenate(blocks)


def psnr(found: Frames, original: Frames) -> float | None:
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
    cells: tuple[Encoding, ...]
    coding: Coding
    models: Mapping[str, Mapping[str, Any]]
    out: Path

    def missing(self) -> dict[Encoding, list[str]]:
        """Return the cells with something to do, and the models whose predictions they lack."""
        todo = {}
        for cell in self.cells:
            journal = cell.journal(self.out)
            coded = journal.is_done(CODING, self._coding_fingerprint(cell))
            lacking = self._lacking(journal) if coded else list(self.models)
            if lacking or not coded:
                todo[cell] = lacking
        return todo

    def run(self, predictors: Mapping[str, Predict]) -> Iterator[Encoding]:
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
            journal = cell.journal(self.out)
            decoded, details = self._coded(cell, small)
            journal.note(CODING, self._coding_fingerprint(cell), **details)
            for model in self._lacking(journal):  # predictions of the same frames are kept
                found = predictors[model](EnlargedFrames(decoded, (height, width)))
                if not np.isfinite(found).all():
                    place = int(np.flatnonzero(~np.isfinite(found))[0])
                    problem = f"predicts {found[place]} for frame {place + 1} of {cell.name}"
                    raise DataError(problem, code="not-finite", field="model", value=model)
                path = cell.predictions(self.out, model)
                _save(path, found)
                made_from = self._prediction_fingerprint(details["decoded_sha256"], model)
                journal.note(f"{MODEL}{model}", made_from, [path])
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
        made_from: dict[str, Any] = {"source": self.source[1], "cell": list(cell), "coding": asdict(self.coding)}
        if cell.qp is not None:
            codec = find_codec(cell.codec)
            made_from |= {"versions": versions(), "options": dict(codec.options(cell.qp)), "least": codec.min_side}
        return fingerprint(made_from)

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
    """Return what a model predicted in a cell, (T,)."""
    with np.load(path) as held:
        return np.asarray(held["prediction"], np.float64)


def _save(path: Path, prediction: npt.NDArray[np.float64]) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, prediction=np.asarray(prediction, np.float64))


def rate(out: Path, cells: Sequence[Encoding]) -> Point:
    """Return the bits of several recordings, all and of the frames alone, per pixel too, and their quality.

    The PSNR is that of the mean squared error of all pixels; None where nothing was lost.
    """
    if cells[0].qp is None:
        return dict.fromkeys(("bits", "vcl_bits", "bpp", "vcl_bpp", "psnr"))
    coded = [_coded(cell, out) for cell in cells]
    pixels, bits = sum(one.pixels for one in coded), sum(one.bits for one in coded)
    frames = [one.vcl_bits for one in coded if one.vcl_bits is not None]
    vcl = sum(frames) if len(frames) == len(coded) else None
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


def _coded(cell: Encoding, out: Path) -> _Coded:
    journal = cell.journal(out)
    with contents_of(journal.path):
        coding = journal.entry(CODING)
        pixels, vcl, quality = math.prod(map(int, coding["shape"])), coding["vcl_bits"], coding["psnr"]
        if pixels < 1 or not (quality is None or quality >= 0):
            raise ValueError(f"{pixels} pixels with a PSNR of {quality} dB")
        error = 0.0 if quality is None else pixels * 10 ** (-quality / 10)
        return _Coded(pixels, int(coding["total_bits"]), None if vcl is None else int(vcl), error)


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


class Model(NamedTuple):
    """A net of the figure.

    Attributes
    ----------
    name : of its curve.
    weights : a caffemodel, or the folder of a run.
    scale : the only size it is shown at; None for all.
    """

    name: str
    weights: Path
    scale: int | None = None


@dataclass
class RateDistortion:
    """A sweep over sizes, codecs and QPs.

    Attributes
    ----------
    data : folder of NAME.mat as prepare writes them, in full resolution.
    out : folder for results, and for the cells a later run goes on from.
    models : the nets. Of two with one name, each has a scale of its own.
    names : recordings; by default those of the partition dev.
    partitions : of the recordings; by default as they were named to prepare, or as AVEC's names say.
    scales, codecs, qps : what is gone through.
    net : a definition in place of the authors' deploy form.
    mean, std : see `scores.predict.Predictor`.
    delay : see `scores.evaluate`.
    coding : see `Coding`.
    convention : see `metrics.regression`.
    device, batch : where, and how many frames at once.
    jobs : recordings, sizes and codecs at a time.
    say : takes lines of progress.
    """

    data: Path
    out: Path
    models: Sequence[Model]
    names: Sequence[str] = ()
    partitions: Partitions | None = None
    scales: Sequence[int] = (3, 4)
    codecs: Sequence[str] = ("x264", "x265")
    qps: Sequence[int] = tuple(range(20, 45, 4))
    net: Path | None = None
    mean: float = 0.0
    std: float = 1.0
    delay: float | None = None
    coding: Coding = field(default_factory=Coding)
    convention: Convention = "avec"
    device: str = "cpu"
    batch: int = 64
    jobs: int = 1
    say: Say = print

    def run(self) -> dict[str, Any]:
        """Do what is missing; score, write and return what rd.json holds.

        Raises
        ------
        CaffeCompatError, PortError, OSError
        """
        self._check()
        names = list(dict.fromkeys(self.names)) or recordings_in(self.data, "dev", self.partitions)
        labels = read_labels(self.data, names)
        _, prepared = common_preparation(labels, self.data)
        delay = prepared if self.delay is None else self.delay
        weights = {model: find_weights(model.weights) for model in self.models}
        identities = self._identities(weights)
        device = str(choose_device(self.device))
        options = (self.net, device, self.mean, self.std, self.batch)
        loaders = {
            model: partial(_load, path, identities[model]["weights"], *options) for model, path in weights.items()
        }
        units = self._units(names, identities)
        todo = [unit for unit in units if unit.missing()]
        total, left = sum(len(unit.cells) for unit in units), sum(len(unit.missing()) for unit in todo)
        for load in loaders.values() if todo else ():  # an unusable net is refused before anything is written
            load()
        self.out.mkdir(parents=True, exist_ok=True)
        self.say(f"{len(names)} recordings: {total} cells, {total - left} done before")
        self._do(todo, left, loaders)
        results = self._results(names, labels, weights, identities, delay)
        self._write(results)
        return results

    def _check(self) -> None:
        for codec in self.codecs:
            for qp in self.qps:
                find_codec(codec, qp)
        for what in ("models", "scales", "codecs", "qps"):
            if not getattr(self, what):
                raise DataError("empty", code="empty", field=what, hint="give at least one")
        seen: set[tuple[str, int]] = set()
        for model in self.models:
            for scale in self.scales if model.scale is None else (model.scale,):
                if (model.name, scale) in seen:
                    problem = f"two models of this name at scale {scale}"
                    raise DataError(problem, code="duplicate", field="model", value=model.name)
                seen.add((model.name, scale))

    def _identities(self, weights: Mapping[Model, Path]) -> dict[Model, dict[str, Any]]:
        found = {}
        for model, path in weights.items():
            definition = Path(self.net or find_definition(path))
            if not definition.is_file():
                raise FileError("file not found", code="file-missing", file=definition)
            sha256 = {"net": file_sha256(definition), "weights": file_sha256(path)}
            found[model] = {**sha256, "mean": self.mean, "std": self.std}
        return found

    def _at(self, scale: int) -> dict[str, Model]:
        return {model.name: model for model in self.models if model.scale in (None, scale)}

    def _ways(self) -> Iterator[tuple[str, tuple[int | None, ...]]]:
        yield UNCODED, (None,)
        for codec in dict.fromkeys(self.codecs):
            yield codec, tuple(dict.fromkeys(self.qps))

    def _units(self, names: Sequence[str], identities: Mapping[Model, Mapping[str, Any]]) -> list[Unit]:
        sources = {name: (mat_path(self.data, name), file_sha256(mat_path(self.data, name))) for name in names}
        return [
            Unit(
                sources[name],
                tuple(Encoding(name, scale, codec, qp) for qp in qps),
                self.coding,
                {called: identities[model] for called, model in self._at(scale).items()},
                self.out,
            )
            for scale in dict.fromkeys(self.scales)
            for codec, qps in self._ways()
            for name in names
        ]

    def _do(self, todo: Sequence[Unit], left: int, loaders: Mapping[Model, Callable[[], Predict]]) -> None:
        chosen = [{name: loaders[model] for name, model in self._at(unit.cells[0].scale).items()} for unit in todo]
        with tqdm(total=left, unit=" cells", disable=None, leave=False) as bar:
            if self.jobs == 1:
                for unit, needed in zip(todo, chosen, strict=True):
                    for cell in unit.run({name: load() for name, load in needed.items()}):
                        bar.set_description(f"{cell.name} 1/{cell.scale} {cell.codec}")
                        bar.update()
                    self._told(bar, unit)
                return
            for unit, count in as_done(self.jobs, _run_alone, zip(todo, chosen, strict=True)):
                bar.update(count)
                self._told(bar, unit)

    def _told(self, bar: Any, unit: Unit) -> None:
        if bar.disable:
            cell = unit.cells[0]
            self.say(f"{cell.name}, 1/{cell.scale}, {cell.codec}: {len(unit.cells)} cells")

    def _results(
        self,
        names: Sequence[str],
        labels: Mapping[str, Labels],
        weights: Mapping[Model, Path],
        identities: Mapping[Model, Mapping[str, Any]],
        delay: float,
    ) -> dict[str, Any]:
        gold = np.concatenate([labels[name].valence[: self.coding.frames] for name in names])
        points: list[Point] = []
        for scale in dict.fromkeys(self.scales):
            for codec, qps in self._ways():
                for qp in qps:
                    cells = [Encoding(name, scale, codec, qp) for name in names]
                    rates = rate(self.out, cells)
                    for model in self._at(scale):
                        raw = (load_predictions(cell.predictions(self.out, model)) for cell in cells)
                        found = np.concatenate(
                            [
                                align_predictions(trace, labels[name], delay)
                                for trace, name in zip(raw, names, strict=True)
                            ]
                        )
                        scored = score(found, gold, self.convention)._asdict()
                        told = {key: None if math.isnan(value) else value for key, value in scored.items()}
                        points.append({"codec": codec, "scale": scale, "qp": qp, "model": model, **rates, **told})
        return {
            "data": str(self.data),
            "recordings": list(names),
            "models": [
                {"name": model.name, "scale": model.scale, "file": str(path), "sha256": identities[model]["weights"]}
                for model, path in weights.items()
            ],
            "coding": asdict(self.coding),
            "versions": versions(),
            "convention": self.convention,
            "delay": delay,
            "bpp_published": {"qp": PUBLISHED_QP, **{str(scale): bpp for scale, bpp in PUBLISHED_BPP.items()}},
            "bits_rise_with_qp": rises(points),
            "points": points,
        }

    def _write(self, results: dict[str, Any]) -> None:
        points = results["points"]
        figure4.write_csv(points, self.out / "rd.csv")
        for codec in dict.fromkeys(self.codecs):
            figure4.draw_codec(points, codec, self.out / f"rd_{codec}.png")
        figure4.draw_rates(points, PUBLISHED_BPP, PUBLISHED_QP, self.out / "rate.png")
        write_json(results, self.out / "rd.json")


@lru_cache(maxsize=16)
def _load(
    weights: Path,
    content: str,  # noqa: ARG001 (a part of the cache's key)
    net: Path | None,
    device: str,
    mean: float,
    std: float,
    batch: int,
) -> Predict:
    """Load a net, once in a process as long as its weights stay what their hash says."""
    predictor, _ = load_predictor(weights, net, device=device, mean=mean, std=std)
    return partial(_predict, predictor, weights, batch)


def _predict(net: Predictor, weights: Path, batch: int, frames: FrameSource) -> Any:
    height, width, _ = frames.shape
    net.require_size((height, width), weights)
    return eval_video(frames, net, batch=batch).results


def _run_alone(unit: Unit, loaders: Mapping[str, Callable[[], Predict]]) -> tuple[Unit, int]:
    """Do a unit in a process of its own."""
    return unit, len(list(unit.run({name: load() for name, load in loaders.items()})))
