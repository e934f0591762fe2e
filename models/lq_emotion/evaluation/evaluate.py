"""Evaluate a net on prepared recordings: predictions, scores and plots."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from caffe_compat.errors import DataError
from lq_emotion.common.devices import choose_device
from lq_emotion.common.folders import require_writable
from lq_emotion.common.json_files import write_json
from lq_emotion.common.progress import Say
from lq_emotion.datasets.avec.layout import DIMENSIONS
from lq_emotion.datasets.avec.partitions import avec_name, recordings_in
from lq_emotion.evaluation import plots, tables
from lq_emotion.evaluation.calibration import Calibration, common_preparation
from lq_emotion.evaluation.predictor import Predictor, predict_frames, predictor_of
from lq_emotion.evaluation.results import MEAN, TOGETHER, Evaluation
from lq_emotion.evaluation.settings import EvaluationSettings
from lq_emotion.evaluation.tables import Trace, Traces
from lq_emotion.metrics.delay import STEP, grid_index, shift_gold
from lq_emotion.metrics.regression import CONVENTIONS, Score, mean_score, score
from matlab_ports.matfile import loadmat
from matlab_ports.run_eval import Labels, mat_path, open_video, read_label_names, read_labels

PARTITION_WORDS = ("train", "dev")  # stand for all recordings of the partition
_PLOTS = ("traces.png", "concatenated.png", "scatter.png")


class _Scored(NamedTuple):
    """The predictions of one dimension, their scores, and the complete gold standards, if there is a timeline."""

    recordings: list[Traces]
    results: Evaluation
    timelines: dict[str, Labels]


@dataclass
class Evaluate:
    """An evaluation.

    Attributes
    ----------
    settings : settings of the evaluation.
    say : receives lines of progress.
    """

    settings: EvaluationSettings
    say: Say = print

    def run(self) -> tuple[Evaluation, ...]:
        """Predict, score and write; return the contents of scores.json.

        Nothing is written before all frames are predicted. Crops with labels of valence and arousal have two
        evaluations, in OUT/valence and OUT/arousal.
        """
        out = self.settings.out
        require_writable(out)
        scored = self._compute()
        for one in scored:
            self._write(one, out if len(scored) == 1 else out / one.results.labels)
        return tuple(one.results for one in scored)

    def score(self) -> tuple[Evaluation, ...]:
        """Predict and score like `run`, without writing."""
        return tuple(one.results for one in self._compute())

    def _compute(self) -> list[_Scored]:
        names = list(dict.fromkeys(self.settings.names)) or recordings_in(
            self.settings.data, "dev", self.settings.partitions
        )
        delay_on, learn_on = (
            self._expand_partitions(self.settings.search_delay),
            self._expand_partitions(self.settings.postprocess),
        )
        all_names = list(dict.fromkeys([*names, *delay_on, *learn_on]))
        labels = [read_labels(self.settings.data, all_names, dimension) for dimension in self._dimensions(all_names)]
        for of_one in labels:
            common_preparation(of_one, self.settings.data)
        timelines = [self._timelines(names, of_one, self._timeline(len(labels), of_one)) for of_one in labels]
        device = choose_device(self.settings.device)
        predictor, weights = predictor_of(self.settings, device)
        columns = [predictor.output_of(of_one[names[0]].name, len(labels)) for of_one in labels]
        self.say(f"evaluating {weights} on {len(all_names)} recordings of {self.settings.data} with {device}")
        for what, learnt in (("the delay", delay_on), ("post-processing", learn_on)):
            if scored := [name for name in learnt if name in names]:
                self.say(f"warning: {what} is learnt on recordings that are also scored: {', '.join(scored)}")
        outputs = self._predict(predictor, all_names, labels[0])
        return [
            self._score(
                names, delay_on, learn_on, of_one, {name: raw[:, column] for name, raw in outputs.items()}, weights
            )._replace(timelines=timeline)
            for of_one, column, timeline in zip(labels, columns, timelines, strict=True)
        ]

    def _score(
        self,
        names: Sequence[str],
        delay_on: Sequence[str],
        learn_on: Sequence[str],
        labels: dict[str, Labels],
        raw: dict[str, Trace],
        weights: Path,
    ) -> _Scored:
        """Calibrate and score the predictions of one dimension."""
        dimension, prepared = common_preparation(labels, self.settings.data)
        calibration = Calibration(raw, labels, self.settings.convention, self.settings.search)
        delays = calibration.delay_scores(delay_on, processed=bool(learn_on)) if delay_on else {}
        delay = (
            max(delays, key=delays.__getitem__)
            if delays
            else prepared
            if self.settings.delay is None
            else self.settings.delay
        )
        processing = calibration.learn_processing(learn_on, delay) if learn_on else None
        calibrated = calibration.apply(names, delay, processing)
        recordings = [
            Traces(name, labels[name].video_time, labels[name].valence, calibrated[name], raw[name], dimension)
            for name in names
        ]
        prediction = np.concatenate([traces.prediction for traces in recordings])
        gold = np.concatenate([traces.gold for traces in recordings])
        results = Evaluation(
            weights=str(weights),
            data=str(self.settings.data),
            convention=self.settings.convention,
            labels=dimension,
            scores=self._score_rows(recordings, prediction, gold),
            concatenated_by_convention={name: score(prediction, gold, name) for name in CONVENTIONS},
            predictions=tuple(f"predictions/{traces.name}.csv" for traces in recordings),
            files=("scores.csv", "scores.json", "scores.md", *(_PLOTS if self.settings.plots else ())),
            delay=delay,
            prepared_delay=prepared,
            delay_learnt_on=tuple(delay_on),
            delay_ccc={f"{seconds:g}": ccc for seconds, ccc in delays.items()},
            post_processing=processing,
        )
        return _Scored(recordings, results, {})

    def _dimensions(self, names: Sequence[str]) -> tuple[str | None, ...]:
        """Return the labels of the crops, which all must share; None for the labels that each has."""
        held = {read_label_names(path) for name in names if (path := mat_path(self.settings.data, name)).is_file()}
        return held.pop() if held == {DIMENSIONS} else (None,)

    def _timeline(self, dimensions: int, labels: dict[str, Labels]) -> Path | None:
        if self.settings.timeline is None or dimensions == 1:
            return self.settings.timeline
        return self.settings.timeline / next(iter(labels.values())).name

    def _expand_partitions(self, words: Sequence[str]) -> list[str]:
        """Replace "train" and "dev" by the recordings of the partition."""
        named = (
            recordings_in(self.settings.data, word, self.settings.partitions)
            if word in PARTITION_WORDS
            else [avec_name(word)]
            for word in words
        )
        return list(dict.fromkeys(name for names in named for name in names))

    def _timelines(self, names: Sequence[str], labels: dict[str, Labels], folder: Path | None) -> dict[str, Labels]:
        """Read the complete gold standard of each recording if there is a timeline."""
        timelines = {}
        for name in names if folder else ():
            path = mat_path(folder or "", name)
            variables = loadmat(path, ["gsd", "time"])
            gold, time = (np.asarray(variables[key], np.float64).ravel() for key in ("gsd", "time"))
            timeline = Labels(gold, time, labels[name].name)
            if timeline.valence.shape != timeline.video_time.shape:
                raise DataError(
                    f"gsd has {timeline.valence.size} values, time has {timeline.video_time.size}",
                    code="wrong-count", file=path,
                )  # fmt: skip
            uncovered = np.setdiff1d(grid_index(labels[name].video_time), grid_index(timeline.video_time))
            if uncovered.size:
                raise DataError(
                    f"no gold standard at {uncovered[0] * STEP:g} s, where {name} has a frame",
                    code="mismatch", file=path, field="time",
                )  # fmt: skip
            timelines[name] = timeline._replace(valence=shift_gold(gold, time, labels[name].delay))
        return timelines

    def _predict(
        self, predictor: Predictor, names: Sequence[str], labels: dict[str, Labels]
    ) -> dict[str, tables.Trace]:
        total = sum(labels[name].valence.size for name in names)
        predictions = {}
        with tqdm(total=total, unit="frame", disable=None, leave=False) as bar:
            for name in names:
                bar.set_description(name)
                path = mat_path(self.settings.data, name)
                with closing(open_video(self.settings.data, name, labels[name])) as frames:
                    predictions[name] = predict_frames(predictor, frames, path, progress=bar.update)
                if bar.disable:
                    self.say(f"{name}: {len(predictions[name])} frames")
        return predictions

    def _score_rows(self, recordings: Sequence[Traces], prediction: Trace, gold: Trace) -> dict[str, Score]:
        convention = self.settings.convention
        scores = {traces.name: score(traces.prediction, traces.gold, convention) for traces in recordings}
        return {**scores, TOGETHER: score(prediction, gold, convention), MEAN: mean_score(list(scores.values()))}

    def _write(self, scored: _Scored, out: Path) -> None:
        recordings, results, timelines = scored
        (out / "predictions").mkdir(parents=True, exist_ok=True)
        raw = results.delay != results.prepared_delay or results.post_processing is not None
        for traces in recordings:
            name = traces.name
            rows = tables.expand_to_timeline(traces, timelines[name]) if name in timelines else traces
            tables.write_predictions(rows, out / "predictions" / f"{name}.csv", raw=raw)
        tables.write_csv(results, out / "scores.csv")
        tables.write_markdown(results, out / "scores.md")
        if self.settings.plots:
            plots.draw_traces(recordings, results.scores, out / "traces.png")
            plots.draw_concatenated(recordings, results.scores[TOGETHER], out / "concatenated.png")
            plots.draw_scatter(recordings, results.scores[TOGETHER], out / "scatter.png")
        write_json(results.to_json(), out / "scores.json")
