"""The study's figures: confusions of images (Figure 2) and of clips (Figure 3), transfer, and the searches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lq_emotion.common.plots import Matrix, draw_matrices
from lq_emotion.datasets.ravdess import EMOTIONS
from lq_emotion.studies.cloud_robotics.paper import Aggregation
from lq_emotion.studies.cloud_robotics.plan import ALL
from lq_emotion.studies.cloud_robotics.results import CloudResults
from lq_emotion.studies.cloud_robotics.tables import BASES, transfer
from lq_emotion.workflow.search import draw_course

_TRUE, _ESTIMATE = "true class", "estimate"
_NOTE = "Percentages of the true class."
_SYNTHETIC = "Synthetic: the faces are drawn."


def draw_figures(results: CloudResults, folder: Path) -> list[Path]:
    """Draw figure2.png, figure3.png, transfer.png and search_BASE.png as far as there are results; return them."""
    draw: dict[str, Callable[[CloudResults, Path], bool]] = {
        "figure2": draw_images,
        "figure3": draw_clips,
        "transfer": draw_transfer,
    }
    paths = [path for name, function in draw.items() if function(results, path := folder / f"{name}.png")]
    for image in results.images:
        if image.course:
            path = folder / f"search_{image.base}.png"
            title = f"{BASES.get(image.base, image.base)}{' (synthetic faces)' if results.synthetic else ''}"
            draw_course(image.course, image.space, path, title=title, label="error rate")
            paths.append(path)
    return paths


def draw_images(results: CloudResults, path: Path) -> bool:
    """Draw Figure 2, the confusions on test of the base that is best on dev; return whether there are any."""
    best = results.best_images
    if best is None:
        return False
    title = f"{BASES.get(best.base, best.base)}, accuracy {100 * best.scores.accuracy:.1f} %"
    _draw([Matrix.of_confusion(title, best.classes, best.scores.confusion)], results, path)
    return True


def draw_clips(results: CloudResults, path: Path) -> bool:
    """Draw Figure 3, the confusions of each method on its best version; return whether there are any."""
    best = [cell for method in Aggregation if (cell := results.best_clips(method)) is not None]
    if not best:
        return False
    matrices = [
        Matrix.of_confusion(
            f"{cell.method}, {cell.version}, accuracy {100 * cell.accuracy:.1f} %", EMOTIONS, cell.scores.confusion
        )
        for cell in best
    ]
    _draw(matrices, results, path)
    return True


def _draw(matrices: list[Matrix], results: CloudResults, path: Path) -> None:
    note = f"{_NOTE} {_SYNTHETIC}" if results.synthetic else _NOTE
    draw_matrices(matrices, path, row_label=_TRUE, column_label=_ESTIMATE, note=note)


def draw_transfer(results: CloudResults, path: Path) -> bool:
    """Draw the accuracies of the LSTM by what it was trained and tested on; return whether there are any."""
    if not any(clip.method is Aggregation.LSTM for clip in results.clips):
        return False
    names = [version.name for version in results.versions]
    matrix = Matrix("LSTM: accuracy in %", [*names, ALL], names, 100 * transfer(results))
    note = _SYNTHETIC if results.synthetic else ""
    draw_matrices([matrix], path, row_label="trained on", column_label="tested on", note=note)
    return True
