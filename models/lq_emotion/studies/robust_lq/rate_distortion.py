"""Rate and distortion: how well valence is recognised from small frames that went through a video codec (Figure 4).

The paper does not say which codec it used, how it was set, or whether headers count. Here x264 and x265 (and others by
name) run at one quantiser for all frames; bits are given per pixel of the small frames that are coded, all bits and
those of the frames alone.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import write_json
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import option
from lq_emotion.datasets.avec.partitions import Partitions, add_partitions, partitions_of, recordings_in
from lq_emotion.evaluation.calibration import align_predictions, common_preparation
from lq_emotion.evaluation.predictor import load_predictor
from lq_emotion.metrics.regression import Convention, score
from lq_emotion.studies.robust_lq.rd_cells import (
    Encoding,
    coded_path,
    fill,
    load_predictions,
    predictions_path,
    rate,
)
from lq_emotion.studies.robust_lq.rd_results import (
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
from lq_emotion.training.trainer import find_weights
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.encode import versions
from lq_emotion.workflow.stages import Stage
from lq_emotion.workflow.study import Study, StudySettings
from matlab_ports.matfile import open_frames
from matlab_ports.run_eval import mat_path, read_labels


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
    """Settings of a sweep over factors, codecs and quantisers: every combination is run.

    Raises
    ------
    DataError
        A codec or a quantiser is unknown, nothing is given, or two models have one name.
    """

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
    names: tuple[str, ...] = option((), "recordings to score (default: those of --dev)")
    partitions: Partitions | None = option(None, add=add_partitions, collect=partitions_of)
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
        return list(dict.fromkeys(self.names)) or recordings_in(self.data, "dev", self.partitions)

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
        run = partial(_fill, settings, cell, tuple(models), crops)
        yield Stage(f"code {cell.name}", run, made | {"threads": settings.threads}, reads, writes)


def _fill(settings: SweepSettings, cell: Encoding, models: Sequence[Model], crops: Sequence[Path], say: Say) -> None:
    dimension, _ = common_preparation(read_labels(settings.data, [path.stem for path in crops]), settings.data)
    device = str(choose_device(settings.device))
    fill(
        cell, crops, _read(models), settings.folder(cell), definition=settings.net, frames=settings.frames,
        device=device, dimension=dimension,
    )  # fmt: skip
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
