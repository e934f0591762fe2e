"""Rate and distortion: how well valence is recognised from small pictures that went through a video codec (Figure 4).

The paper does not say which codec it used, how it was set, or whether headers count. Here x264 and x265 (and others by
name) run at one quantiser for all pictures; bits are given per pixel of the small pictures that are coded, all bits and
those of the pictures alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.devices import choose_device
from lq_emotion.common.json_files import write_json
from lq_emotion.common.processes import as_done
from lq_emotion.datasets.avec.partitions import Partitions, crops_of
from lq_emotion.evaluation.adjust import forward, made_alike
from lq_emotion.evaluation.predict import Predictor, definition_of, load_predictor
from lq_emotion.metrics.regression import Convention, score
from lq_emotion.studies.robust_lq import rd_plots
from lq_emotion.studies.robust_lq.rd_cells import UNCODED, Cell, Coding, Predict, Unit, load_predictions, sha256
from lq_emotion.studies.robust_lq.rd_tables import PUBLISHED_BPP, PUBLISHED_QP, Point, rate, rises, write_csv
from lq_emotion.training.trainer import find_weights
from lq_emotion.video.codecs import find_codec
from lq_emotion.video.encode import versions
from matlab_ports.eval_video import FrameSource, eval_video
from matlab_ports.run_eval import Labels, mat_path, read_labels

Say = Callable[[str], None]


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
    coding : see `rd_cells.Coding`.
    convention : see `scores.metrics`.
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
        names = list(dict.fromkeys(self.names)) or crops_of(self.data, "dev", self.partitions)
        labels = read_labels(self.data, names)
        _, prepared = made_alike(labels, self.data)
        delay = prepared if self.delay is None else self.delay
        self.out.mkdir(parents=True, exist_ok=True)
        weights = {model: find_weights(model.weights) for model in self.models}
        identities = self._identities(weights)
        units = self._units(names, identities)
        todo = [unit for unit in units if unit.missing()]
        total, left = sum(len(unit.cells) for unit in units), sum(len(unit.missing()) for unit in todo)
        self.say(f"{len(names)} recordings: {total} cells, {total - left} done before")
        device = str(choose_device(self.device))
        options = (self.net, device, self.mean, self.std, self.batch)
        loaders = {
            model: partial(_load, path, identities[model]["weights"], *options) for model, path in weights.items()
        }
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
                raise DataError("nothing is given", field=what)
        seen: set[tuple[str, int]] = set()
        for model in self.models:
            for scale in self.scales if model.scale is None else (model.scale,):
                if (model.name, scale) in seen:
                    raise DataError(f"two are to be shown at scale {scale}", field="model", value=model.name)
                seen.add((model.name, scale))

    def _identities(self, weights: Mapping[Model, Path]) -> dict[Model, dict[str, Any]]:
        found = {}
        for model, path in weights.items():
            definition = Path(self.net or definition_of(path))
            if not definition.is_file():
                raise FileError("no such file", file=definition)
            found[model] = {"net": sha256(definition), "mean": self.mean, "std": self.std, "weights": sha256(path)}
        return found

    def _at(self, scale: int) -> dict[str, Model]:
        return {model.name: model for model in self.models if model.scale in (None, scale)}

    def _ways(self) -> Iterator[tuple[str, tuple[int | None, ...]]]:
        yield UNCODED, (None,)
        for codec in dict.fromkeys(self.codecs):
            yield codec, tuple(dict.fromkeys(self.qps))

    def _units(self, names: Sequence[str], identities: Mapping[Model, Mapping[str, Any]]) -> list[Unit]:
        sources = {name: (mat_path(self.data, name), sha256(mat_path(self.data, name))) for name in names}
        return [
            Unit(
                sources[name],
                tuple(Cell(name, scale, codec, qp) for qp in qps),
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
                    cells = [Cell(name, scale, codec, qp) for name in names]
                    rates = rate(self.out, cells)
                    for model in self._at(scale):
                        raw = (load_predictions(cell.predictions(self.out, model)) for cell in cells)
                        found = np.concatenate(
                            [forward(trace, labels[name], delay) for trace, name in zip(raw, names, strict=True)]
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
        write_csv(points, self.out / "rd.csv")
        for codec in dict.fromkeys(self.codecs):
            rd_plots.draw_codec(points, codec, self.out / f"rd_{codec}.png")
        rd_plots.draw_rates(points, PUBLISHED_BPP, PUBLISHED_QP, self.out / "rate.png")
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
    net.check((height, width), weights)
    return eval_video(frames, net, batch=batch).results


def _run_alone(unit: Unit, loaders: Mapping[str, Callable[[], Predict]]) -> tuple[Unit, int]:
    """Do a unit in a process of its own."""
    return unit, len(list(unit.run({name: load() for name, load in loaders.items()})))
