"""The authors' ``run_eval.m``: predict the recordings of a partition with a net, and compute RMSE, CC and CCC.

The script mixes conventions: the covariance is a mean over N, ``std`` and ``var`` divide by N-1, so CC is Pearson's r
times (N-1)/N. The port does the same, as does AVEC's official script. Sums are added from the first number to the last,
which gives Octave's digits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from matlab_ports._recordings.labels import DELAY, read_delay, read_label_name, read_label_names
from matlab_ports._support.errors import PortError
from matlab_ports.eval_video import Double, Net, Output, eval_video
from matlab_ports.matfile import Frames, loadmat, open_frames

__all__ = [
    "DELAY", "DEVELOPMENT", "Evaluation", "Labels", "Statistics", "mat_path", "open_video", "read_delay",
    "read_label_name", "read_label_names", "read_labels", "run_eval", "statistics",
]  # fmt: skip

DEVELOPMENT = tuple(f"dev_{number}" for number in range(1, 10))
_log = logging.getLogger(__name__)


class Statistics(NamedTuple):
    """Statistics of two traces."""

    RMSE: float
    CC: float
    CCC: float


class Evaluation(NamedTuple):
    """The variables that the script leaves in the workspace.

    Attributes
    ----------
    file_name : names of the recordings, in the order of all other attributes.
    results, ground_truth, video_time : (T,) predictions, labels and seconds of every recording.
    feature : (300, T) for every recording; empty unless requested.
    RMSE, CC, CCC : (R,) one number for every recording.
    total_RMSE, total_CC, total_CCC : over all recordings, joined.
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
    """The labels and times of a recording's frames, read from its MAT-file.

    Attributes
    ----------
    valence : (T,) labels, of arousal too.
    video_time : (T,) seconds.
    name : ``valence`` or ``arousal``.
    delay : seconds by which the labels were shifted back.
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
    progress: Callable[[str, Output], None] = lambda _name, _output: None,
) -> Evaluation:
    """Predict recordings and compute their statistics.

    Parameters
    ----------
    net
        See `matlab_ports.eval_video.Net`.
    data_path
        Folder of the recordings written by prepare_dataset: ``NAME.mat`` with video, valence and video_time.
    file_name
        Names of the recordings.
    save_feature
        Return blob fc4 of every frame.
    batch
        Frames per forward pass.
    progress
        Called with the name and output of every recording when it is done, in place of the script's figures.

    Returns
    -------
    Evaluation

    Raises
    ------
    PortError
        A recording is missing or damaged, or lacks a label for every frame. The labels of all recordings are checked
        before the first frame is predicted.

    Notes
    -----
    As in MATLAB, CC and CCC of a constant prediction are NaN (0/0).
    """
    if not file_name:
        raise PortError("no recordings given", code="empty", field="file_name")
    labels = read_labels(data_path, file_name)
    outputs: list[Output] = []
    for name in file_name:
        _log.info("Evaluating %s", name)
        start = time.perf_counter()
        with open_video(data_path, name, labels[name]) as frames:
            outputs.append(eval_video(frames, net, save_feature, batch=batch))
        _log.info("Elapsed time is %.6f seconds.", time.perf_counter() - start)
        progress(name, outputs[-1])
    results = tuple(output.results for output in outputs)
    truth = tuple(labels[name].valence for name in file_name)
    scores = [statistics(*pair) for pair in zip(results, truth, strict=True)]
    RMSE, CC, CCC = (np.array(column) for column in zip(*scores, strict=True))
    times = tuple(labels[name].video_time for name in file_name)
    features = tuple(output.feature for output in outputs if output.feature is not None)
    totals = statistics(np.concatenate(results), np.concatenate(truth))
    return Evaluation(tuple(file_name), results, truth, times, features, RMSE, CC, CCC, *totals)


def statistics(results: npt.ArrayLike, valence: npt.ArrayLike) -> Statistics:
    """Compute RMSE, CC and CCC as the script does, with its mixture of N and N-1.

    Parameters
    ----------
    results, valence
        Predictions and labels, (T,) each.

    Raises
    ------
    PortError
        Their lengths differ, or they are empty.
    """
    a, b = np.asarray(valence, np.float64).ravel(), np.asarray(results, np.float64).ravel()
    if a.shape != b.shape or not a.size:
        problem = f"got {b.size} predictions for {a.size} labels"
        raise PortError(problem, code="wrong-count", field="results")
    with np.errstate(divide="ignore", invalid="ignore"):  # as in MATLAB, 0/0 is NaN
        RMSE = np.sqrt(_sum((b - a) ** 2) / a.size)
        CC = _mean((a - _mean(a)) * (b - _mean(b))) / (_std(a) * _std(b))
        CCC = 2 * CC * _std(a) * _std(b) / (_var(a) + _var(b) + (_mean(a) - _mean(b)) ** 2)
    return Statistics(float(RMSE), float(CC), float(CCC))


def _sum(values: Double) -> np.float64:
    total: np.float64 = np.cumsum(values)[-1]  # np.sum adds pairwise, which changes the last digits
    return total


def _mean(values: Double) -> np.float64:
    return _sum(values) / values.size


def _var(values: Double) -> np.float64:
    return _sum((values - _mean(values)) ** 2) / max(values.size - 1, 1)  # MATLAB's var of one number is 0


def _std(values: Double) -> np.float64:
    root: np.float64 = np.sqrt(_var(values))
    return root


def mat_path(data_path: str | Path, name: str) -> Path:
    """Return the path of a recording's MAT-file."""
    return Path(data_path) / f"{name}.mat"


def read_labels(data_path: str | Path, file_name: Sequence[str], label: str | None = None) -> dict[str, Labels]:
    """Read and check the labels of recordings.

    Parameters
    ----------
    data_path
        Folder of the recordings.
    file_name
        Names of the recordings.
    label
        ``valence`` or ``arousal``; by default the one in the file.

    Raises
    ------
    PortError
        Recordings are missing (all are listed), or labels and times do not agree.
    """
    missing = [name for name in file_name if not mat_path(data_path, name).is_file()]
    if missing:
        available = sorted(path.stem for path in Path(data_path).glob("*.mat")) if Path(data_path).is_dir() else []
        hint = f"it contains {', '.join(available)}" if available else "prepare_dataset writes them"
        problem = f"lacks {', '.join(f'{name}.mat' for name in missing)}"
        raise PortError(problem, code="file-missing", file=data_path, field="file_name", hint=hint)
    return {name: _read_labels(mat_path(data_path, name), label) for name in file_name}


def _read_labels(path: Path, label: str | None) -> Labels:
    name = read_label_name(path) if label is None else label
    variables: dict[str, npt.NDArray[Any]] = loadmat(path, [name, "video_time"])
    values, times = (np.asarray(variables[key], np.float64).ravel() for key in (name, "video_time"))
    if values.size != times.size or not values.size:
        problem = f"has {values.size} labels and {times.size} times, expected as many"
        raise PortError(problem, code="wrong-count", file=path, field=name)
    for key, numbers in ((name, values), ("video_time", times)):
        if not np.isfinite(numbers).all():
            frame = int(np.flatnonzero(~np.isfinite(numbers))[0]) + 1
            problem, hint = f"the value of frame {frame} is {numbers[frame - 1]}", "prepare the recording again"
            raise PortError(problem, code="not-finite", file=path, field=key, hint=hint)
    return Labels(values, times, name, read_delay(path))


def open_video(data_path: str | Path, name: str, labels: Labels) -> Frames:
    """Open a recording's frames, of which there is one for every label.

    Raises
    ------
    PortError
        The file is damaged, or the numbers of frames and labels differ.
    """
    path = mat_path(data_path, name)
    frames = open_frames(path, "video")
    if frames.shape[2] != labels.valence.size:
        frames.close()
        problem = f"has {frames.shape[2]} frames but {labels.valence.size} labels"
        raise PortError(problem, code="wrong-count", file=path)
    return frames
