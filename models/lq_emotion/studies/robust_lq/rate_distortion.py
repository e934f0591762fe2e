"""Rate and distortion: how well valence is recognised from small frames that went through a video codec (Figure 4).

The paper does not say which codec it used, how it was set, or whether headers count. Here x264 and x265 (and others by
name) run at one quantiser for all frames; bits are given per pixel of the small frames that are coded, all bits and
those of the frames alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import write_json
from lq_emotion.common.processes import as_done
from lq_emotion.datasets.avec.partitions import Partitions, recordings_in
from lq_emotion.evaluation.calibration import align_predictions, common_preparation
from lq_emotion.evaluation.predictor import Predictor, find_definition, load_predictor
from lq_emotion.metrics.regression import Convention, score
from lq_emotion.studies.robust_lq import figure4
from lq_emotion.studies.robust_lq.rd_cells import Encoding, Predict, Unit, load_predictions, rate
from lq_emotion.studies.robust_lq.rd_results import (
    PUBLISHED_BPP,
    PUBLISHED_QP,
    UNCODED,
    Coding,
    ModelFile,
    Point,
    SweepResults,
)
from lq_emotion.training.trainer import find_weights
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.encode import versions
from matlab_ports.eval_video import FrameSource, eval_video
from matlab_ports.run_eval import Labels, mat_path, read_labels

Say = Callable[[str], None]


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


class Model(NamedTuple):
    """A net of the figure.

    Attributes
    ----------
    name : of its curve.
    weights : a caffemodel, or the folder of a run.
    scale : the only factor at which it is used; None for all.
    """

    name: str
    weights: Path
    scale: int | None = None


@dataclass
class RateDistortion:
    """A sweep over factors, codecs and QPs.

    Attributes
    ----------
    data : folder of NAME.mat as prepare writes them, in full resolution.
    out : folder for results, and for the cells, from which a later run resumes.
    models : the nets; those that share a name differ in their factors.
    names : recordings; by default those of the partition dev.
    partitions : of the recordings; by default those stored by prepare, else those of AVEC's names.
    scales, codecs, qps : every combination is run.
    net : a definition in place of the authors' deploy form.
    mean, std : see `evaluation.predictor.Predictor`.
    delay : see `evaluation.evaluate.Evaluate`; in seconds.
    coding : see `Coding`.
    convention : see `metrics.regression`.
    device, batch : of the nets; the batch is in frames.
    jobs : units (a recording, factor and codec) at a time.
    say : called with each line for the user.
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

    def run(self) -> SweepResults:
        """Compute the missing cells, score all, and write and return the results.

        Raises
        ------
        CaffeCompatError, OSError
        """
        self.fill()
        names, weights, identities = self._names(), self._weights(), self._identities()
        labels = read_labels(self.data, names)
        _, prepared = common_preparation(labels, self.data)
        delay = prepared if self.delay is None else self.delay
        files = (
            ModelFile(model.name, model.scale, str(path), identities[model]["weights"])
            for model, path in weights.items()
        )
        results = self._results(names, tuple(files), tuple(self._points(names, labels, delay)), delay)
        self._write(results)
        return results

    def fill(self) -> int:
        """Compute the missing cells, and return how many there are in all.

        Raises
        ------
        CaffeCompatError, OSError
        """
        self._check()
        names, identities = self._names(), self._identities()
        dimension, _ = common_preparation(read_labels(self.data, names), self.data)  # refuses what cannot be scored
        options = (self.net, str(choose_device(self.device)), self.mean, self.std, self.batch, dimension)
        loaders = {
            model: partial(_load, path, identities[model]["weights"], *options)
            for model, path in self._weights().items()
        }
        units = self._units(names, identities)
        todo = [unit for unit in units if unit.missing()]
        total, missing = sum(len(unit.cells) for unit in units), sum(len(unit.missing()) for unit in todo)
        for load in loaders.values() if todo else ():  # an unusable net is refused before anything is written
            load()
        self.out.mkdir(parents=True, exist_ok=True)
        self.say(f"{len(names)} recordings: {total} cells, {total - missing} done before")
        self._compute(todo, missing, loaders)
        return total

    def _check(self) -> None:
        for codec in self.codecs:
            for qp in self.qps:
                find_codec(codec, qp)
        for name in ("models", "scales", "codecs", "qps"):
            if not getattr(self, name):
                raise DataError("empty", code="empty", field=name, hint="give at least one")
        seen: set[tuple[str, int]] = set()
        for model in self.models:
            for scale in self.scales if model.scale is None else (model.scale,):
                if (model.name, scale) in seen:
                    problem = f"two models of this name at scale {scale}"
                    raise DataError(problem, code="duplicate", field="model", value=model.name)
                seen.add((model.name, scale))

    def _names(self) -> list[str]:
        return list(dict.fromkeys(self.names)) or recordings_in(self.data, "dev", self.partitions)

    def _weights(self) -> dict[Model, Path]:
        return {model: find_weights(model.weights) for model in self.models}

    def _identities(self) -> dict[Model, dict[str, Any]]:
        identities = {}
        for model, path in self._weights().items():
            definition = Path(self.net or find_definition(path))
            if not definition.is_file():
                raise FileError("file not found", code="file-missing", file=definition)
            sha256 = {"net": file_sha256(definition), "weights": file_sha256(path)}
            identities[model] = {**sha256, "mean": self.mean, "std": self.std}
        return identities

    def _at(self, scale: int) -> dict[str, Model]:
        return {model.name: model for model in self.models if model.scale in (None, scale)}

    def _codings(self) -> Iterator[tuple[str, tuple[int | None, ...]]]:
        yield UNCODED, (None,)
        for codec in dict.fromkeys(self.codecs):
            yield codec, tuple(dict.fromkeys(self.qps))

    def _units(self, names: Sequence[str], identities: Mapping[Model, Mapping[str, Any]]) -> list[Unit]:
        sources = {name: (mat_path(self.data, name), file_sha256(mat_path(self.data, name))) for name in names}
        return [
            Unit(
                sources[recording],
                tuple(Encoding(recording, scale, codec, qp) for qp in qps),
                self.coding,
                {name: identities[model] for name, model in self._at(scale).items()},
                self.out,
            )
            for scale in dict.fromkeys(self.scales)
            for codec, qps in self._codings()
            for recording in names
        ]

    def _compute(self, todo: Sequence[Unit], cells: int, loaders: Mapping[Model, Callable[[], Predict]]) -> None:
        chosen = [{name: loaders[model] for name, model in self._at(unit.cells[0].scale).items()} for unit in todo]
        with tqdm(total=cells, unit=" cells", disable=None, leave=False) as bar:
            if self.jobs == 1:
                for unit, models in zip(todo, chosen, strict=True):
                    for cell in unit.run({name: load() for name, load in models.items()}):
                        bar.set_description(f"{cell.name} 1/{cell.scale} {cell.codec}")
                        bar.update()
                    self._report(bar, unit)
                return
            for unit, count in as_done(self.jobs, _run_alone, zip(todo, chosen, strict=True)):
                bar.update(count)
                self._report(bar, unit)

    def _report(self, bar: Any, unit: Unit) -> None:
        if bar.disable:
            cell = unit.cells[0]
            self.say(f"{cell.name}, 1/{cell.scale}, {cell.codec}: {len(unit.cells)} cells")

    def _points(self, names: Sequence[str], labels: Mapping[str, Labels], delay: float) -> Iterator[Point]:
        gold = np.concatenate([labels[name].valence[: self.coding.frames] for name in names])
        combinations = ((scale, codec, qps) for scale in dict.fromkeys(self.scales) for codec, qps in self._codings())
        for scale, codec, qp in ((scale, codec, qp) for scale, codec, qps in combinations for qp in qps):
            cells = [Encoding(name, scale, codec, qp) for name in names]
            rates = rate(self.out, cells)._asdict()
            for model in self._at(scale):
                traces = [
                    align_predictions(load_predictions(cell.predictions(self.out, model)), labels[cell.name], delay)
                    for cell in cells
                ]
                scored = score(np.concatenate(traces), gold, self.convention)
                yield Point(codec=codec, scale=scale, qp=qp, model=model, score=scored, **rates)

    def _results(
        self, names: Sequence[str], models: tuple[ModelFile, ...], points: tuple[Point, ...], delay: float
    ) -> SweepResults:
        return SweepResults(
            data=str(self.data),
            recordings=tuple(names),
            models=models,
            coding=self.coding,
            versions=versions(),
            convention=self.convention,
            delay=delay,
            bpp_published={"qp": PUBLISHED_QP, **{str(scale): bpp for scale, bpp in PUBLISHED_BPP.items()}},
            bits_rise_with_qp=rises(points),
            points=points,
        )

    def _write(self, results: SweepResults) -> None:
        points = results.points
        figure4.write_csv(points, self.out / "rd.csv")
        for codec in dict.fromkeys(self.codecs):
            figure4.draw_codec(points, codec, self.out / f"rd_{codec}.png")
        figure4.draw_rates(points, PUBLISHED_BPP, PUBLISHED_QP, self.out / "rate.png")
        write_json(results.to_json(), self.out / "rd.json")


@lru_cache(maxsize=16)
def _load(
    weights: Path,
    content: str,  # noqa: ARG001 (a part of the cache's key)
    net: Path | None,
    device: str,
    mean: float,
    std: float,
    batch: int,
    dimension: str,
) -> Predict:
    """Load a net, once in a process as long as its weights stay what their hash says."""
    predictor, _ = load_predictor(weights, net, device=device, mean=mean, std=std)
    return partial(_predict, predictor, weights, batch, predictor.output_of(dimension))


def _predict(net: Predictor, weights: Path, batch: int, output: int, frames: FrameSource) -> Any:
    height, width, _ = frames.shape
    net.require_size((height, width), weights)
    return eval_video(frames, net, batch=batch).outputs[:, output]


def _run_alone(unit: Unit, loaders: Mapping[str, Callable[[], Predict]]) -> tuple[Unit, int]:
    """Do a unit in a process of its own."""
    return unit, len(list(unit.run({name: load() for name, load in loaders.items()})))
