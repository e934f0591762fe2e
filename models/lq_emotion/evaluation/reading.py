"""Read the predictions that an evaluation left."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.json_files import read_record
from lq_emotion.common.text_table import Table
from lq_emotion.evaluation.results import Evaluation
from lq_emotion.metrics.uncertainty import Moments


def read_moments(folder: Path) -> dict[str, Moments]:
    """Return the moments of each recording of an evaluation, from its folder, in its order.

    Frames without a prediction or a label are left out, as in the scores.
    """
    path = folder / "scores.json"
    evaluation = read_record(path, Evaluation, "evaluate the net again")
    if not evaluation.predictions:
        raise FileError("names no predictions", code="wrong-format", file=path, hint="evaluate again")
    files = [folder / name for name in evaluation.predictions]
    return {file.stem: _moments(file, evaluation.labels) for file in files}


def _moments(path: Path, label: str) -> Moments:
    if not path.is_file():
        raise FileError("no predictions found", code="file-missing", file=path, hint="evaluate again")
    table = Table.read(path, ("prediction", label), hint="evaluate again")
    try:
        return Moments.of(table.numbers("prediction"), table.numbers(label))
    except DataError as error:
        error.file = error.file or str(path)
        raise
