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
from lq_emotion.common.devices import choose_device
from lq_emotion.common.json_files import write_json
from lq_emotion.datasets.avec.partitions import Partitions, avec_name, recordings_in
from lq_emotion.evaluation import plots, tables
from lq_emotion.evaluation.adjust import Recorded, made_alike
from lq_emotion.evaluation.postprocess import PostProcessing, Search
from lq_emotion.evaluation.predict import Predictor, load_predictor
from lq_emotion.evaluation.tables import Predicted
from lq_emotion.metrics.delay import grid_index, shift_gold
from lq_emotion.metrics.regression import CONVENTIONS, Convention, Score, mean_score, score
from matlab_ports.eval_video import eval_video
from matlab_ports.matfile import loadmat
from matlab_ports.run_eval import Labels, mat_path, open_video, read_labels

Say = Callable[[str], None]
PHASES = ("train", "dev")  # partitions that stand for their recordings
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
    delay : seconds by which the gold standard is late, in all; by default what the recordings were prepared with.
    delay_on : recordings that the delay is searched for on, 0 to 8 s, in place of `delay`; "train" and "dev" stand for
        all of a partition.
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
    delay: float | None = None
    delay_on: Sequence[str] = ()
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
        names = list(dict.fromkeys(self.names)) or recordings_in(self.data, "dev", self.partitions)
        delay_on, learn_on = self._named(self.delay_on), self._named(self.learn_on)
        everyone = list(dict.fromkeys([*names, *delay_on, *learn_on]))
        labels = read_labels(self.data, everyone)
        dimension, prepared = made_alike(labels, self.data)
        timelines = self._timelines(names, labels)
        device = choose_device(self.device)
        predictor, weights = load_predictor(self.weights, self.net, device=device, mean=self.mean, std=self.std)
        self.say(f"{weights} on {len(everyone)} recordings of {self.data}, on {device}")
        for what, learnt in (("the delay", delay_on), ("post-processing", learn_on)):
            if scored := [name for name in learnt if name in names]:
                self.say(f"warning: {what} is learnt on recordings that it scores: {', '.join(scored)}")
        recorded = Recorded(self._predict(predictor, everyone, labels), labels, self.convention, self.search)
        delays = recorded.delays(delay_on, processed=bool(learn_on)) if delay_on else {}
        delay = max(delays, key=delays.__getitem__) if delays else prepared if self.delay is None else self.delay
        processing = recorded.learnt(learn_on, delay) if learn_on else None
        finished = recorded.finished(names, delay, processing)
        predicted = [
            Predicted(
                name, labels[name].video_time, labels[name].valence, finished[name], recorded.raw[name], dimension
            )
            for name in names
        ]
        results = self._results(predicted, weights, labels[names[0]])
        results |= {
            "delay": delay,
            "prepared_delay": prepared,
            "delay_search": {"learnt_on": delay_on, "ccc": {f"{one:g}": value for one, value in delays.items()}}
            if delays
            else None,
            "post_processing": _told(processing, learn_on),
        }
        return predicted, results, timelines

    def _named(self, words: Sequence[str]) -> list[str]:
        """Return recordings by their names, or all of a partition."""
        named = (
            recordings_in(self.data, word, self.partitions) if word in PHASES else [avec_name(word)] for word in words
        )
        return list(dict.fromkeys(name for names in named for name in names))

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
            gold, time = (np.asarray(held[key], np.float64).ravel() for key in ("gsd", "time"))
            whole = Labels(gold, time, labels[name].name)
            if whole.valence.shape != whole.video_time.shape:
                raise DataError(f"{whole.valence.size} values of gsd at {whole.video_time.size} times", file=path)
            strange = np.setdiff1d(grid_index(labels[name].video_time), grid_index(whole.video_time))
            if strange.size:
                raise DataError(f"has no gold standard at {strange[0] * 0.04:g} s, where {name} has a frame", file=path)
            found[name] = whole._replace(valence=shift_gold(gold, time, labels[name].delay))
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

    def _results(self, predicted: Sequence[Predicted], weights: Path, labels: Labels) -> dict[str, Any]:
        prediction = np.concatenate([one.prediction for one in predicted])
        gold = np.concatenate([one.valence for one in predicted])
        each = {one.name: score(one.prediction, one.valence, self.convention) for one in predicted}
        rows = {**each, TOGETHER: score(prediction, gold, self.convention), MEAN: mean_score(list(each.values()))}
        return {
            "weights": str(weights),
            "data": str(self.data),
            "convention": self.convention,
            "labels": labels.name,
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
        raw = results["delay"] != results["prepared_delay"] or results["post_processing"] is not None
        for one in predicted:
            rows = tables.on_timeline(one, timelines[one.name]) if one.name in timelines else one
            tables.write_predictions(rows, self.out / "predictions" / f"{one.name}.csv", raw=raw)
        tables.write_csv(results, self.out / "scores.csv")
        tables.write_markdown(results, self.out / "scores.md")
        scores = results["scores"]
        plots.draw_traces(predicted, scores, self.out / "traces.png")
        plots.draw_concatenated(predicted, scores[TOGETHER], self.out / "concatenated.png")
        plots.draw_scatter(predicted, scores[TOGETHER], self.out / "scatter.png")
        write_json(results, self.out / "scores.json")


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
