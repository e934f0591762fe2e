"""From a net and prepared recordings to predictions, scores and pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from caffe_compat.errors import DataError, FileError
from caffe_compat.models.robust_lq_emotion import workspace
from caffe_compat.models.robust_lq_emotion.avec.partitions import Partitions, crops_of
from caffe_compat.models.robust_lq_emotion.devices import choose_device
from caffe_compat.models.robust_lq_emotion.scores import plots, tables
from caffe_compat.models.robust_lq_emotion.scores.delay import gold_back, grid_index, predictions_forward
from caffe_compat.models.robust_lq_emotion.scores.metrics import CONVENTIONS, Convention, Score, mean_of, score
from caffe_compat.models.robust_lq_emotion.scores.postprocess import PostProcessing, Search, learn
from caffe_compat.models.robust_lq_emotion.scores.predict import Predictor, load_predictor
from caffe_compat.models.robust_lq_emotion.scores.tables import Predicted
from matlab_ports.eval_video import eval_video
from matlab_ports.matfile import loadmat
from matlab_ports.run_eval import Labels, mat_path, open_video, read_labels

Say = Callable[[str], None]
TOGETHER, MEAN = "concatenated", "mean"


@dataclass
class Evaluate:
    """An evaluation.

    Attributes
    ----------
    weights : a caffemodel, or the folder of a run.
    data : folder of NAME.mat as prepare writes them.
    out : folder for predictions/, scores and pictures.
    names : recordings; by default those of the partition dev.
    partitions : of the recordings; by default as they were named to prepare, or as AVEC's names say.
    net : a definition in place of the authors' deploy form.
    delay : seconds by which the gold standard is late.
    learn_on : recordings that AVEC's post-processing is learnt on; none for no post-processing.
    search : see `scores.postprocess`.
    convention : see `scores.metrics`.
    timeline : folder of NAME.mat with gsd and time; predictions then have a row for each of its times, NaN where the
        frame was dropped.
    mean, std : see `Predictor`.
    device, batch : where, and how many frames at once.
    say : takes lines of progress.
    """

    weights: Path
    data: Path
    out: Path
    names: Sequence[str] = ()
    partitions: Partitions | None = None
    net: Path | None = None
    delay: float = 0.0
    learn_on: Sequence[str] = ()
    search: Search = "official"
    convention: Convention = "avec"
    timeline: Path | None = None
    mean: float = 0.0
    std: float = 1.0
    device: str = "auto"
    batch: int = 64
    say: Say = print

    def run(self) -> dict[str, Any]:
        """Predict, score and write; return what scores.json holds.

        Raises
        ------
        CaffeCompatError, PortError, OSError
            Something that cannot be used. Nothing is written before all frames are predicted.
        """
        self._require_writable()
        predicted, results, timelines = self._computed()
        self._write(predicted, results, timelines)
        return results

    def score(self) -> dict[str, Any]:
        """Predict and score as `run` does, and write nothing.

        Raises
        ------
        CaffeCompatError, PortError, OSError
        """
        return self._computed()[1]

    def _computed(self) -> tuple[list[Predicted], dict[str, Any], dict[str, Labels]]:
        names = list(dict.fromkeys(self.names)) or crops_of(self.data, "dev", self.partitions)
        everyone = list(dict.fromkeys([*names, *self.learn_on]))
        labels = read_labels(self.data, everyone)
        timelines = self._timelines(names, labels)
        device = choose_device(self.device)
        predictor, weights = load_predictor(self.weights, self.net, device=device, mean=self.mean, std=self.std)
        self.say(f"{weights} on {len(everyone)} recordings of {self.data}, on {device}")
        raw = self._predict(predictor, everyone, labels)
        processing = self._learn(raw, labels)
        predicted = [self._finished(name, labels[name], raw[name], processing) for name in names]
        return predicted, self._results(predicted, weights, processing), timelines

    def _require_writable(self) -> None:
        """Refuse, before minutes of predictions, a folder that cannot be written or made."""
        there = next(folder for folder in (self.out.absolute(), *self.out.absolute().parents) if folder.exists())
        if not there.is_dir():
            raise FileError("this is a file; a folder is expected", file=there)
        if not os.access(there, os.W_OK):
            raise FileError("cannot be written to", file=there, hint="choose another --out")

    def _timelines(self, names: Sequence[str], labels: dict[str, Labels]) -> dict[str, Labels]:
        """Return every recording's whole gold standard where it is asked for."""
        found = {}
        for name in names if self.timeline else ():
            path = mat_path(self.timeline or "", name)
            held = loadmat(path, ["gsd", "time"])
            whole = Labels(*(np.asarray(held[key], np.float64).ravel() for key in ("gsd", "time")))
            if whole.valence.shape != whole.video_time.shape:
                raise DataError(f"{whole.valence.size} values of gsd at {whole.video_time.size} times", file=path)
            strange = np.setdiff1d(grid_index(labels[name].video_time), grid_index(whole.video_time))
            if strange.size:
                raise DataError(f"has no gold standard at {strange[0] * 0.04:g} s, where {name} has a frame", file=path)
            found[name] = whole
        return found

    def _predict(
        self, predictor: Predictor, names: Sequence[str], labels: dict[str, Labels]
    ) -> dict[str, tables.Trace]:
        total = sum(labels[name].valence.size for name in names)
        found = {}
        with tqdm(total=total, unit="frame", disable=None, leave=False) as bar:
            for name in names:
                bar.set_description(name)
                with closing(open_video(self.data, name, labels[name])) as frames:
                    predictor.check(frames.shape[:2], mat_path(self.data, name))
                    found[name] = eval_video(frames, predictor, batch=self.batch, seen=bar.update).results
                bad = np.flatnonzero(~np.isfinite(found[name]))
                if bad.size:
                    path = mat_path(self.data, name)
                    raise DataError(f"the net's output for frame {bad[0] + 1} is {found[name][bad[0]]}", file=path)
                if bar.disable:
                    self.say(f"{name}: {found[name].size} frames")
        return found

    def _learn(self, raw: dict[str, tables.Trace], labels: dict[str, Labels]) -> PostProcessing | None:
        if not self.learn_on:
            return None
        gold = [gold_back(labels[name].valence, labels[name].video_time, self.delay) for name in self.learn_on]
        prediction = np.concatenate([raw[name] for name in self.learn_on])
        return learn(prediction, np.concatenate(gold), convention=self.convention, search=self.search)

    def _finished(self, name: str, labels: Labels, raw: tables.Trace, processing: PostProcessing | None) -> Predicted:
        processed = processing.apply(raw) if processing else raw
        moved = predictions_forward(processed, labels.video_time, self.delay) if self.delay else processed
        return Predicted(name, labels.video_time, labels.valence, moved, raw)

    def _results(
        self, predicted: Sequence[Predicted], weights: Path, processing: PostProcessing | None
    ) -> dict[str, Any]:
        prediction = np.concatenate([one.prediction for one in predicted])
        gold = np.concatenate([one.valence for one in predicted])
        each = {one.name: score(one.prediction, one.valence, self.convention) for one in predicted}
        rows = {**each, TOGETHER: score(prediction, gold, self.convention), MEAN: mean_of(list(each.values()))}
        return {
            "weights": str(weights),
            "data": str(self.data),
            "convention": self.convention,
            "delay": self.delay,
            "post_processing": _told(processing, self.learn_on),
            "scores": {name: _json(found) for name, found in rows.items()},
            "concatenated_by_convention": {name: _json(score(prediction, gold, name)) for name in CONVENTIONS},
            "files": {
                "predictions": [f"predictions/{one.name}.csv" for one in predicted],
                "tables": ["scores.csv", "scores.json", "scores.md"],
                "pictures": ["traces.png", "concatenated.png", "scatter.png"],
            },
        }

    def _write(self, predicted: Sequence[Predicted], results: dict[str, Any], timelines: dict[str, Labels]) -> None:
        (self.out / "predictions").mkdir(parents=True, exist_ok=True)
        raw = bool(self.delay or self.learn_on)
        for one in predicted:
            rows = tables.on_timeline(one, timelines[one.name]) if one.name in timelines else one
            tables.write_predictions(rows, self.out / "predictions" / f"{one.name}.csv", raw=raw)
        tables.write_csv(results, self.out / "scores.csv")
        tables.write_markdown(results, self.out / "scores.md")
        scores = results["scores"]
        plots.draw_traces(predicted, scores, self.out / "traces.png")
        plots.draw_concatenated(predicted, scores[TOGETHER], self.out / "concatenated.png")
        plots.draw_scatter(predicted, scores[TOGETHER], self.out / "scatter.png")
        workspace.write_json(results, self.out / "scores.json")


def _told(processing: PostProcessing | None, learn_on: Sequence[str]) -> dict[str, Any] | None:
    if processing is None:
        return None
    return {
        "learnt_on": list(learn_on),
        "window": processing.window,
        "bias": processing.bias,
        "scale": processing.scale,
        "ccc": processing.ccc,
    }


def _json(found: Score) -> dict[str, Any]:
    """Return a score as JSON can hold it: null for NaN."""
    return {name: None if math.isnan(value) else value for name, value in found._asdict().items()}
