"""Elements of the figures: faces as panels, arrows between panels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.plots import INK

Image = npt.NDArray[np.floating[Any]]
STUDIO, GRAY = (16 / 255, 235 / 255), (0.0, 1.0)
"""Black and white of crops: those of luma, as MATLAB stores it, and those of gray (`PaperSwitches.luminance`)."""
SYNTHETIC = "Synthetic recording: the face is drawn, no person was filmed."


def frame_number(frame: int | None, count: int) -> int:
    """Return the number of a frame, from 0; by default that of the middle one."""
    number = count // 2 if frame is None else frame
    if not 0 <= number < count:
        hint = f"0 to {count - 1}"
        raise DataError("no such frame", code="out-of-range", field="frame", value=frame, hint=hint)
    return number


def show_face(axes: Any, face_hw: Image, levels: tuple[float, float]) -> None:
    """Show a face in a panel without axes, its pixels as squares."""
    black, white = levels
    axes.imshow(face_hw, cmap="gray", vmin=black, vmax=white, interpolation="nearest")
    axes.set_axis_off()


def connect(figure: Any, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """Draw an arrow between two points of a figure, each from 0 to 1."""
    from matplotlib.patches import FancyArrowPatch

    style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": INK, "linewidth": 1.1, **style}
    figure.add_artist(FancyArrowPatch(start, end, transform=figure.transFigure, **style))
