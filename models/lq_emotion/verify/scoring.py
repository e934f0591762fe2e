"""Scores of weights on prepared recordings, compared with the cell of Table 1 that they claim to be."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from caffe_compat.formats.files import write_text
from lq_emotion.common.progress import Say
from lq_emotion.metrics.regression import MEASURES, Score
from lq_emotion.nets.names import FACTORS, Method, crops_folder, factor_in, method_in
from lq_emotion.studies.robust_lq.published import compare
from lq_emotion.verify.crops import CropsFolders
from lq_emotion.verify.networks import Network
from lq_emotion.verify.settings import CellScore, ClaimedCell, VerifySettings
from lq_emotion.verify.weights import LoadedWeights

DIGITS = 0.0005
"""The published numbers have three digits: scores agree with them within half of the last."""


def named_cell(name: str) -> ClaimedCell:
    """Return the cell in a file's name, or in that of a folder above it.

    ``class/HQ``, ``vlqr_12``, ``non_joint-x4_iter_60000``, ``OA``; ``runs/LR-3/snapshots/emotion_iter_30000``.
    """
    stem = name.lower().removesuffix(".h5").removesuffix(".caffemodel")
    for part in reversed(PurePosixPath(re.sub(r"_iter_\d+", "", stem)).parts):
        if method := method_in(part):
            return method, None if method.serves_all_factors else factor_in(part)
    return None, None


def cell_of(weights: LoadedWeights, settings: VerifySettings) -> ClaimedCell:
    """Return the cell of Table 1 that weights claim to be: that which the user named, else that of the file's name."""
    return dict(settings.cells).get(weights.name, named_cell(weights.name))


def score_weights(
    weights: LoadedWeights, network: Network, crops: CropsFolders, settings: VerifySettings, say: Say
) -> tuple[CellScore, ...]:
    """Return the scores of one file, one for each folder of crops that its cell needs.

    The delay of the gold standard is corrected for scoring. Nets trained as by the authors predict the gold standard at
    the time of the face, with any delay in the preparation.
    """
    from lq_emotion.evaluation.evaluate import score_net
    from lq_emotion.evaluation.settings import TOGETHER, EvaluationSettings

    method, claimed = cell_of(weights, settings)
    scores = []
    for factor in _factors(crops, method, claimed):
        folder = crops.folders[factor]
        with TemporaryDirectory() as name:
            definition = Path(name) / "deploy.prototxt"
            write_text(network.definition, definition)
            evaluation = EvaluationSettings(
                weights=weights.path, data=folder, out=Path(name), net=definition, partitions=settings.partitions,
                delay=settings.delay, device=settings.device, mean=0.0,
            )  # fmt: skip
            measured = score_net(evaluation, say)[0].scores[TOGETHER]
        scores.append(_compared(measured, method, factor, folder.name))
    return tuple(scores)


def missing_crops(weights: LoadedWeights, crops: CropsFolders, settings: VerifySettings) -> str:
    """Return why a file has no scores: the folders that its cell needs, and those that there are."""
    method, factor = cell_of(weights, settings)
    if method is Method.HR:
        factors: tuple[int, ...] = (1,)
    else:
        factors = FACTORS if factor is None else (factor,)
    label = method.at(factor) if method and factor else method
    expected = " or ".join(crops_folder(factor) for factor in factors)
    present = ", ".join(path.name for path in crops.folders.values())
    unknown = [path.name for path in crops.unknown]
    rest = f", and {', '.join(unknown)} of unknown factor" if unknown else ""
    option = f"--crops {unknown[0] if unknown else 'FOLDER'}={'HQ' if factors[0] == 1 else factors[0]}"
    text = f"{label} needs crops in {crops.base.name}/{expected}; there are {present}{rest}"
    return f"{text} (for a folder of another name: {option})"


def _factors(crops: CropsFolders, method: Method | None, claimed: int | None) -> list[int]:
    if method is Method.HR:
        return [1] if 1 in crops.folders else []
    factors = crops.folders.keys() if claimed is None else {claimed} & crops.folders.keys()
    return sorted(factor for factor in factors if factor != 1 or method is None)


def _compared(measured: Score, method: Method | None, factor: int, crops: str) -> CellScore:
    published, difference = (None, None) if method is None else compare(measured, method, factor)
    values = [] if difference is None else [getattr(difference, name) for name in MEASURES]
    agrees = None if difference is None else all(value is not None and abs(value) <= DIGITS for value in values)
    return CellScore(method, factor, crops, measured, published, difference, agrees)
