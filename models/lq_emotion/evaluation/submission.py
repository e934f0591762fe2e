"""Estimates for recordings without labels, in the form of the gold standard: AVEC's test partition.

AVEC's participants submit labels of its test partition in the form of those of train and dev (guidelines of 2019;
those of 2016 could not be read in full): a file NAME.arff for each recording, with the attributes Instance_name,
frameTime and GoldStandard. A CSV of the same columns is next to it.

A submission has no gaps, but crops have: frames are dropped by the camera, or have no usable face. Such a time gets the
last estimate before it, or the first one at the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from caffe_compat.errors import NetError
from lq_emotion.common.devices import choose_device
from lq_emotion.common.folders import require_folder
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.lists import write_lines
from lq_emotion.common.progress import Say
from lq_emotion.datasets.avec.gold import COLUMNS, read_gsd, write_arff
from lq_emotion.datasets.avec.layout import DIMENSIONS, avec_name
from lq_emotion.datasets.avec.partitions import recordings_in
from lq_emotion.evaluation.postprocess import PostProcessing
from lq_emotion.evaluation.predictor import Predictor, predict_frames, predictor_of
from lq_emotion.evaluation.settings import Evaluation, Submission, SubmissionSettings, SubmittedRecording
from lq_emotion.metrics.delay import STEP, grid_index, shift
from matlab_ports.matfile import loadmat, open_frames
from matlab_ports.run_eval import mat_path, read_delay, read_label_names

Doubles = npt.NDArray[np.float64]
RESULTS = "submission.json"
_SCORES = "--scores is the scores.json of an evaluation"


def write_submission(settings: SubmissionSettings, say: Say = print) -> Submission:
    """Write OUT/valence/NAME.arff and NAME.csv (or arousal's, or both) for recordings, with labels or without."""
    crops, out, delay = settings.data, settings.out, settings.delay
    scored = None if settings.scores is None else read_record(settings.scores, Evaluation, _SCORES)
    require_folder(out)
    names = list(dict.fromkeys(map(avec_name, settings.names))) or recordings_in(crops, "test")
    device = choose_device(settings.device)
    predictor, path = predictor_of(settings, device)
    dimensions = _dimensions(crops, predictor)
    say(f"predicting {len(names)} recordings of {crops} with {path} on {device}")
    raw = {name: _predict(predictor, mat_path(crops, name))[:, list(dimensions.values())] for name in names}
    if scored is not None:
        delay = scored.delay if delay is None else delay
        raw = raw if scored.post_processing is None else _processed(raw, scored.post_processing)
    ends = _ends(crops)
    recordings, traces = [], {}
    for name, estimates in raw.items():
        time = _video_time(mat_path(crops, name))
        grid = np.arange(max(ends, _last_frame(crops, name, time)) + 1)
        late = read_delay(mat_path(crops, name)) if delay is None else delay
        filled = fill(estimates, grid_index(time), grid)
        traces[name] = np.stack([shift(column, grid * STEP, late) for column in filled.T], axis=1)
        gaps = np.setdiff1d(grid, grid_index(time)).size
        recordings.append(SubmittedRecording(name, grid.size, gaps, late))
        say(f"{name}: {grid.size} times, {gaps} of them filled")
    files = tuple(file for name in names for file in _write(out, name, traces[name], tuple(dimensions)))
    results = Submission(str(path), str(crops), tuple(dimensions), tuple(recordings), files)
    write_json(results.to_json(), out / RESULTS)
    return results


def fill(estimates: Doubles, frames: npt.NDArray[np.int64], grid: npt.NDArray[np.int64]) -> Doubles:
    """Return estimates (T, k) at increasing frames (T,) for every time of the grid: (N, k).

    Each is that of the last frame at or before the time, or of the first frame before there is one.
    """
    return estimates[np.clip(np.searchsorted(frames, grid, side="right") - 1, 0, None)]


def _dimensions(crops: Path, predictor: Predictor) -> dict[str, int]:
    """Return what the net estimates, by its output: what recordings with labels in the folder have, or else valence."""
    labelled = (read_label_names(path) for path in sorted(crops.glob("*.mat")))
    names = next(filter(None, labelled), DIMENSIONS if predictor.outputs > 1 else DIMENSIONS[:1])
    return {name: predictor.output_of(name, len(names)) for name in names}


def _predict(predictor: Predictor, path: Path) -> Doubles:
    with (
        open_frames(path, "video") as frames,
        tqdm(total=frames.shape[2], desc=path.stem, unit="frame", disable=None, leave=False) as bar,
    ):
        return predict_frames(predictor, frames, path, progress=bar.update)


def _processed(raw: Mapping[str, Doubles], processing: PostProcessing) -> dict[str, Doubles]:
    lengths = [len(estimates) for estimates in raw.values()]
    together = np.concatenate(list(raw.values()))
    if together.shape[1] > 1:
        problem = "its post-processing was learnt for one dimension, the net estimates several"
        raise NetError(problem, code="conflict", field="scores", hint="leave it out")
    parts = np.split(processing.apply(together[:, 0], lengths)[:, None], np.cumsum(lengths)[:-1])
    return dict(zip(raw, parts, strict=True))


def _video_time(path: Path) -> Doubles:
    return np.asarray(loadmat(path, ["video_time"])["video_time"], np.float64).ravel()


def _last_frame(crops: Path, name: str, time: Doubles) -> int:
    """Return the number on the grid of a recording's last frame, with a crop or without."""
    boxes = mat_path(crops.absolute().parent.parent / "bbox", name)
    if boxes.is_file():
        time = np.append(time, np.asarray(loadmat(boxes, ["time"])["time"], np.float64).ravel())
    return int(grid_index(time).max())


def _ends(crops: Path) -> int:
    """Return the number on the grid at which every gold standard of the data set ends, 7500 in AVEC's; else 0."""
    files = sorted((crops.absolute().parent.parent / "gsd").rglob("*.mat"))
    ends = {int(grid_index(read_gsd(path).time).max()) for path in files}
    return ends.pop() if len(ends) == 1 else 0


def _write(out: Path, name: str, trace: Doubles, dimensions: Sequence[str]) -> list[str]:
    files = []
    times = [f"{number * STEP:.2f}".rstrip("0").rstrip(".") for number in range(len(trace))]
    for dimension, values in zip(dimensions, trace.T, strict=True):
        (out / dimension).mkdir(parents=True, exist_ok=True)
        rows = [f"{name},{time},{value:.8g}" for time, value in zip(times, values.tolist(), strict=True)]
        write_arff(rows, out / dimension / f"{name}.arff")
        write_lines([",".join(COLUMNS), *rows], out / dimension / f"{name}.csv")
        files += [f"{dimension}/{name}.arff", f"{dimension}/{name}.csv"]
    return files
