"""The authors' ``run_eval.m``: a net's predictions for the recordings of a partition, and RMSE, CC and CCC.

The script's statistics are a mixture: the covariance is a mean over N, ``std`` and ``var`` divide by N-1, so CC is
Pearson's r times (N-1)/N. That is kept, as AVEC's official script does the same; for the other conventions see the
``scores`` of the recognition system. Sums are added up from the first number to the last, which gives Octave's digits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from matlab_ports._recordings.labels import delay_of, label_of
from matlab_ports._support.errors import PortError
from matlab_ports.eval_video import Double, Net, Output, eval_video
from matlab_ports.matfile import Frames, loadmat, open_frames

DEVELOPMENT = tuple(f"dev_{number}" for number in range(1, 10))
_log = logging.getLogger(__name__)


class Statistics(NamedTuple):
    """How far two traces are apart."""

    RMSE: float
    CC: float
    CCC: float


class Evaluation(NamedTuple):
    """What the script leaves in the workspace.

    Attributes
    ----------
    file_name : the recordings, in the order of everything below.
    results, ground_truth, video_time : (T,) for every recording.
    feature : (300, T) for every recording; empty unless asked for.
    RMSE, CC, CCC : one number for every recording.
    total_RMSE, total_CC, total_CCC : over all recordings one after the other.
    """

    file_name: tuple[str, ...]
    results: tuple[Double, ...]
    ground_truth: tuple[Double, ...]
    video_time: tuple[Double, ...]
    feature: tuple[Double, ...]
    RMSE: Double
    CC: Double
    CCC: Double
    total_RMSE: float  # noqa: N815 (the script's name)
    total_CC: float  # noqa: N815
    total_CCC: float  # noqa: N815


class Labels(NamedTuple):
    """What a recording's .mat file says about its frames: labels and times, (T,) each;
    see `matlab_ports._recordings.labels`.

    Attributes
    ----------
    valence : the labels, whatever they are of.
    name : what they are of: valence or arousal.
    delay : seconds by which they were shifted back.
    """

    valence: Double
    video_time: Double
    name: str = "valence"
    delay: float = 0.0


def run_eval(
    net: Net,
    data_path: str | Path = "data/raw_data/HQ",
    *,
    file_name: Sequence[str] = DEVELOPMENT,
    save_feature: bool = False,
    batch: int = 64,
    evaluated: Callable[[str, Output], None] = lambda _name, _output: None,
) -> Evaluation:
    """Predict and score recordings.

    Parameters
    ----------
    net
        See `matlab_ports.eval_video.Net`.
    data_path
        Folder of the recordings that prepare_dataset wrote: ``NAME.mat`` with video, valence and video_time.
    file_name
        Names of the recordings.
    save_feature
        Keep blob fc4 of every frame.
    batch
        Frames handed to the net at once.
    evaluated
        Called with every recording that is done, in the place of the script's figures.

    Returns
    -------
    Evaluation

    Raises
    ------
    PortError
        A recording is missing, damaged or without one valence for every frame. All recordings' labels are looked at
        before the first frame is predicted.

    Notes
    -----
    As in MATLAB, a constant prediction has a CC and CCC of NaN (0/0).
    """
    if not file_name:
        raise PortError("no recordings are named", where="file_name")
    labels = read_labels(data_path, file_name)
    outputs: list[Output] = []
    for name in file_name:
        _log.info("Evaluating %s", name)
        start = time.perf_counter()
        with open_video(data_path, name, labels[name]) as frames:
            outputs.append(eval_video(frames, net, save_feature, batch=batch))
        _log.info("Elapsed time is %.6f seconds.", time.perf_counter() - start)
        evaluated(name, outputs[-1])
    results = tuple(output.results for output in outputs)
    truth = tuple(labels[name].valence for name in file_name)
    each = [statistics(found, valence) for found, valence in zip(results, truth, strict=True)]
    RMSE, CC, CCC = (np.array(column) for column in zip(*each, strict=True))
    return Evaluation(
        tuple(file_name),
        results,
        truth,
        tuple(labels[name].video_time for name in file_name),
        tuple(output.feature for output in outputs if output.feature is not None),
        RMSE,
        CC,
        CCC,
        *statistics(np.concatenate(results), np.concatenate(truth)),
    )


def statistics(results: npt.ArrayLike, valence: npt.ArrayLike) -> Statistics:
    """RMSE, CC and CCC by the script's lines, its mixture of N and N-1 included.

    Parameters
    ----------
    results, valence
        (T,) each.

    Raises
    ------
    PortError
        Their lengths differ, or there are none.
    """
    a, b = np.asarray(valence, np.float64).ravel(), np.asarray(results, np.float64).ravel()
    if a.shape != b.shape or not a.size:
        raise PortError(f"{b.size} predictions for {a.size} values of valence", where="results")
    with np.errstate(divide="ignore", invalid="ignore"):  # as in MATLAB, 0/0 is NaN
        RMSE = np.sqrt(_sum((b - a) ** 2) / a.size)
        CC = _mean((a - _mean(a)) * (b - _mean(b))) / (_std(a) * _std(b))
        CCC = 2 * CC * _std(a) * _std(b) / (_var(a) + _var(b) + (_mean(a) - _mean(b)) ** 2)
    return Statistics(float(RMSE), float(CC), float(CCC))


def _sum(values: Double) -> np.float64:
    total: np.float64 = np.cumsum(values)[-1]  # np.sum adds pairwise, which ends in other digits
    return total


def _mean(values: Double) -> np.float64:
    return _sum(values) / values.size


def _var(values: Double) -> np.float64:
    return _sum((values - _mean(values)) ** 2) / max(values.size - 1, 1)  # MATLAB's var of one number is 0


def _std(values: Double) -> np.float64:
    root: np.float64 = np.sqrt(_var(values))
    return root


def mat_path(data_path: str | Path, name: str) -> Path:
    """Where a recording's .mat file lies."""
    return Path(data_path) / f"{name}.mat"


def read_labels(data_path: str | Path, file_name: Sequence[str]) -> dict[str, Labels]:
    """Read what several recordings say about their frames, and check it.

    Parameters
    ----------
    data_path
        Folder of the recordings.
    file_name
        Their names.

    Raises
    ------
    PortError
        Recordings are missing (all of them are listed), or one's labels do not fit its frames.
    """
    missing = [name for name in file_name if not mat_path(data_path, name).is_file()]
    if missing:
        there = sorted(path.stem for path in Path(data_path).glob("*.mat")) if Path(data_path).is_dir() else []
        hint = f"there are {', '.join(there)}" if there else "prepare_dataset writes them"
        raise PortError(f"no {', '.join(f'{name}.mat' for name in missing)}", where=data_path, hint=hint)
    return {name: _labels(mat_path(data_path, name)) for name in file_name}


def _labels(path: Path) -> Labels:
    name = label_of(path)
    found: dict[str, npt.NDArray[Any]] = loadmat(path, [name, "video_time"])
    values, times = (np.asarray(found[key], np.float64).ravel() for key in (name, "video_time"))
    if values.size != times.size or not values.size:
        raise PortError(f"{values.size} values of {name}, {times.size} of video_time", where=path)
    for key, numbers in ((name, values), ("video_time", times)):
        if not np.isfinite(numbers).all():
            frame = int(np.flatnonzero(~np.isfinite(numbers))[0]) + 1
            raise PortError(f"{key} of frame {frame} is {numbers[frame - 1]}", where=path, hint="prepare it again")
    return Labels(values, times, name, delay_of(path))


def open_video(data_path: str | Path, name: str, labels: Labels) -> Frames:
    """Open a recording's frames, one for every label.

    Raises
    ------
    PortError
        The file is damaged, or it has more or fewer frames than labels.
    """
    path = mat_path(data_path, name)
    frames = open_frames(path, "video")
    if frames.shape[2] != labels.valence.size:
        frames.close()
        raise PortError(f"{labels.valence.size} values of valence for {frames.shape[2]} frames", where=path)
    return frames
