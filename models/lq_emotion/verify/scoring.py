"""Scores of weights on prepared recordings, compared with the cell of Table 1 that they claim to be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from caffe_compat.formats.files import write_text
from lq_emotion.common.progress import Say
from lq_emotion.metrics.regression import MEASURES, Score
from lq_emotion.nets.names import FACTORS, Method, crops_folder, factor_in, method_in
from lq_emotion.studies.robust_lq.published import compare
from lq_emotion.verify.crops import CropsFolders
from lq_emotion.verify.networks import Network
from lq_emotion.verify.results import CellScore
from lq_emotion.verify.settings import ClaimedCell, VerifySettings
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


@dataclass(frozen=True)
class Scoring:
    """Folders of crops to score on, and the settings of the verification.

    The delay of the gold standard is corrected for scoring. Nets trained as by the authors predict the gold standard at
    the time of the face, with any delay in the preparation.
    """

    crops: CropsFolders
    settings: VerifySettings

    def score(self, weights: LoadedWeights, network: Network, say: Say) -> tuple[CellScore, ...]:
        """Return the scores of one file, one for each folder of crops."""
        from lq_emotion.evaluation.evaluate import score_net
        from lq_emotion.evaluation.settings import TOGETHER, EvaluationSettings

        method, claimed = self._cell(weights)
        folders = self.crops.folders
        scores = []
        for factor in self._factors(method, claimed):
            with TemporaryDirectory() as name:
                definition = Path(name) / "deploy.prototxt"
                write_text(network.definition, definition)
                settings = EvaluationSettings(
                    weights=weights.path,
                    data=folders[factor],
                    out=Path(name),
                    net=definition,
                    partitions=self.settings.partitions,
                    delay=self.settings.delay,
                    device=self.settings.device,
                    mean=0.0,
                )
                together = score_net(settings, say)[0].scores[TOGETHER]
            scores.append(_compared(together, method, factor, folders[factor].name))
        return tuple(scores)

    def lacking(self, weights: LoadedWeights) -> str:
        """Return why a file has no scores: the folders that its cell needs, and those that there are."""
        method, factor = self._cell(weights)
        if method is Method.HR:
            factors: tuple[int, ...] = (1,)
        else:
            factors = FACTORS if factor is None else (factor,)
        label = method.at(factor) if method and factor else method
        expected = " or ".join(crops_folder(factor) for factor in factors)
        present = ", ".join(path.name for path in self.crops.folders.values())
        unknown = [path.name for path in self.crops.unknown]
        rest = f", and {', '.join(unknown)} of unknown factor" if unknown else ""
        option = f"--crops {unknown[0] if unknown else 'FOLDER'}={'HQ' if factors[0] == 1 else factors[0]}"
        place = self.crops.base.name
        text = f"{label} needs crops in {place}/{expected}; there are {present}{rest}"
        return f"{text} (for a folder of another name: {option})"

    def _cell(self, weights: LoadedWeights) -> ClaimedCell:
        return dict(self.settings.cells).get(weights.name, named_cell(weights.name))

    def _factors(self, method: Method | None, claimed: int | None) -> list[int]:
        folders = self.crops.folders
        if method is Method.HR:
            return [1] if 1 in folders else []
        factors = folders.keys() if claimed is None else {claimed} & folders.keys()
        return sorted(factor for factor in factors if factor != 1 or method is None)


def _compared(measured: Score, method: Method | None, factor: int, crops: str) -> CellScore:
    published, difference = (None, None) if method is None else compare(measured, method, factor)
    values = [] if difference is None else [getattr(difference, name) for name in MEASURES]
    agrees = None if difference is None else all(value is not None and abs(value) <= DIGITS for value in values)
    return CellScore(method, factor, crops, measured, published, difference, agrees)
