"""Evaluate a net on prepared recordings: predictions, scores and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from caffe_compat.errors import DataError
from lq_emotion.common.devices import choose_device
from lq_emotion.common.folders import require_folder
from lq_emotion.common.json_files import write_json
from lq_emotion.common.progress import Say
from lq_emotion.datasets.avec.layout import DIMENSIONS, avec_name
from lq_emotion.datasets.avec.partitions import recordings_in
from lq_emotion.evaluation import plots, tables
from lq_emotion.evaluation.calibration import (
    Recordings,
    calibrated,
    common_preparation,
    delay_scores,
    learn_processing,
)
from lq_emotion.evaluation.predictor import Predictor, predict_frames, predictor_of
from lq_emotion.evaluation.settings import MEAN, TOGETHER, Evaluation, EvaluationSettings
from lq_emotion.evaluation.tables import Traces
from lq_emotion.metrics.delay import STEP, grid_index, shift_gold
from lq_emotion.metrics.regression import CONVENTIONS, Trace, mean_score, score
from matlab_ports.matfile import loadmat
from matlab_ports.run_eval import Labels, mat_path, open_video, read_label_names, read_labels

PARTITION_WORDS = ("train", "dev")  # stand for all recordings of the partition
_PLOTS = ("traces.png", "concatenated.png", "scatter.png")


class _Scored(NamedTuple):
    """The predictions of one dimension, their scores, and the complete gold standards, if there is a timeline."""

    recordings: list[Traces]
    results: Evaluation
    timelines: dict[str, Labels]


def evaluate(settings: EvaluationSettings, say: Say = print) -> tuple[Evaluation, ...]:
    """Predict, score and write; return the contents of scores.json.

    Nothing is written before all frames are predicted. Crops with labels of valence and arousal have two evaluations,
    in OUT/valence and OUT/arousal.
    """
    require_folder(settings.out)
    scored = _compute(settings, say)
    for one in scored:
        _write(one, settings.out if len(scored) == 1 else settings.out / one.results.labels, draw=settings.plots)
    return tuple(one.results for one in scored)


def score_net(settings: EvaluationSettings, say: Say = print) -> tuple[Evaluation, ...]:
    """Predict and score like `evaluate`, without writing."""
    return tuple(one.results for one in _compute(settings, say))


def _compute(settings: EvaluationSettings, say: Say) -> list[_Scored]:
    data = settings.data
    names = list(dict.fromkeys(settings.names)) or recordings_in(data, "dev", settings.partitions)
    delay_on, learn_on = (
        _expand_partitions(words, settings) for words in (settings.search_delay, settings.postprocess)
    )
    all_names = list(dict.fromkeys([*names, *delay_on, *learn_on]))
    labels = [read_labels(data, all_names, dimension) for dimension in _dimensions(data, all_names)]
    for of_one in labels:
        common_preparation(of_one, data)
    timelines = [_timelines(names, of_one, settings.timeline, several=len(labels) > 1) for of_one in labels]
    device = choose_device(settings.device)
    predictor, weights = predictor_of(settings, device)
    columns = [predictor.output_of(of_one[names[0]].name, len(labels)) for of_one in labels]
    say(f"evaluating {weights} on {len(all_names)} recordings of {data} with {device}")
    for what, learnt_on in (("the delay", delay_on), ("post-processing", learn_on)):
        if scored := [name for name in learnt_on if name in names]:
            say(f"warning: {what} is learnt on recordings that are also scored: {', '.join(scored)}")
    outputs = _predict(predictor, data, labels[0], say)
    results = []
    for of_one, column, timeline in zip(labels, columns, timelines, strict=True):
        recordings = {name: (raw[:, column], of_one[name]) for name, raw in outputs.items()}
        results.append(_score(recordings, names, delay_on, learn_on, settings, weights)._replace(timelines=timeline))
    return results


def _score(
    measured: Recordings,
    names: Sequence[str],
    delay_on: Sequence[str],
    learn_on: Sequence[str],
    settings: EvaluationSettings,
    weights: Path,
) -> _Scored:
    """Calibrate and score the predictions of one dimension."""
    dimension, prepared = common_preparation({name: labels for name, (_, labels) in measured.items()}, settings.data)
    delay = prepared if settings.delay is None else settings.delay
    delays = delay_scores({name: measured[name] for name in delay_on}, settings) if delay_on else {}
    if delays:
        delay = max(delays, key=delays.__getitem__)
    learnt = {name: measured[name] for name in learn_on}
    processing = learn_processing(learnt, delay, settings) if learnt else None
    predictions = calibrated({name: measured[name] for name in names}, delay, processing)
    recordings = []
    for name, prediction in predictions.items():
        raw, labels = measured[name]
        recordings.append(Traces(name, labels.video_time, labels.valence, prediction, raw, dimension))
    prediction, gold = tables.joined(recordings)
    scores = {traces.name: score(traces.prediction, traces.gold, settings.convention) for traces in recordings}
    together = score(prediction, gold, settings.convention)
    results = Evaluation(
        weights=str(weights),
        data=str(settings.data),
        convention=settings.convention,
        labels=dimension,
        scores={**scores, TOGETHER: together, MEAN: mean_score(list(scores.values()))},
        concatenated_by_convention={name: score(prediction, gold, name) for name in CONVENTIONS},
        predictions=tuple(f"predictions/{traces.name}.csv" for traces in recordings),
        files=("scores.csv", "scores.json", "scores.md", *(_PLOTS if settings.plots else ())),
        delay=delay,
        prepared_delay=prepared,
        delay_learnt_on=tuple(delay_on),
        delay_ccc={f"{seconds:g}": ccc for seconds, ccc in delays.items()},
        post_processing=processing,
    )
    return _Scored(recordings, results, {})


def _dimensions(data: Path, names: Sequence[str]) -> tuple[str | None, ...]:
    """Return the labels of the crops, which all must share; None for the labels that each has."""
    shared = {read_label_names(path) for name in names if (path := mat_path(data, name)).is_file()}
    return DIMENSIONS if shared == {DIMENSIONS} else (None,)


def _expand_partitions(words: Sequence[str], settings: EvaluationSettings) -> list[str]:
    """Replace "train" and "dev" by the recordings of the partition."""
    named = (
        recordings_in(settings.data, word, settings.partitions) if word in PARTITION_WORDS else [avec_name(word)]
        for word in words
    )
    return list(dict.fromkeys(name for names in named for name in names))


def _timelines(
    names: Sequence[str], labels: Mapping[str, Labels], folder: Path | None, *, several: bool
) -> dict[str, Labels]:
    """Read the complete gold standard of each recording if there is a timeline; of `several` dimensions, of its own."""
    if folder is None:
        return {}
    timelines = {}
    for name in names:
        path = mat_path(folder / labels[name].name if several else folder, name)
        variables = loadmat(path, ["gsd", "time"])
        gold, time = (np.asarray(variables[key], np.float64).ravel() for key in ("gsd", "time"))
        if gold.shape != time.shape:
            problem = f"gsd has {gold.size} values, time has {time.size}"
            raise DataError(problem, code="wrong-count", file=path)
        uncovered = np.setdiff1d(grid_index(labels[name].video_time), grid_index(time))
        if uncovered.size:
            problem = f"no gold standard at {uncovered[0] * STEP:g} s, where {name} has a frame"
            raise DataError(problem, code="mismatch", file=path, field="time")
        timelines[name] = Labels(shift_gold(gold, time, labels[name].delay), time, labels[name].name)
    return timelines


def _predict(predictor: Predictor, data: Path, labels: Mapping[str, Labels], say: Say) -> dict[str, Trace]:
    """Return the net's outputs (T, k) for the frames of each recording with labels."""
    predictions = {}
    total = sum(of_one.valence.size for of_one in labels.values())
    with tqdm(total=total, unit="frame", disable=None, leave=False) as bar:
        for name, of_one in labels.items():
            bar.set_description(name)
            with closing(open_video(data, name, of_one)) as frames:
                predictions[name] = predict_frames(predictor, frames, mat_path(data, name), progress=bar.update)
            if bar.disable:
                say(f"{name}: {len(predictions[name])} frames")
    return predictions


def _write(scored: _Scored, out: Path, *, draw: bool) -> None:
    recordings, results, timelines = scored
    (out / "predictions").mkdir(parents=True, exist_ok=True)
    raw = results.delay != results.prepared_delay or results.post_processing is not None
    for traces in recordings:
        name = traces.name
        rows = tables.expand_to_timeline(traces, timelines[name]) if name in timelines else traces
        tables.write_predictions(rows, out / "predictions" / f"{name}.csv", raw=raw)
    tables.write_csv(results, out / "scores.csv")
    tables.write_markdown(results, out / "scores.md")
    if draw:
        plots.draw_traces(recordings, results.scores, out / "traces.png")
        plots.draw_concatenated(recordings, results.scores[TOGETHER], out / "concatenated.png")
        plots.draw_scatter(recordings, results.scores[TOGETHER], out / "scatter.png")
    write_json(results.to_json(), out / "scores.json")
