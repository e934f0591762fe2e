"""The table of a recording's frame times, as ``prepare_dataset.m`` reads it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError


def frame_time(path: str | Path) -> npt.NDArray[np.float64]:
    """Read the times of a recording's frames, as ``dlmread(path, ';', 1, 0)`` and its second column.

    Returns
    -------
    numpy.ndarray
        Seconds, one for every frame of the video.

    Raises
    ------
    PortError
        If the file cannot be read, or a row has no such number.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()[1:]
    except OSError as error:
        raise PortError(f"cannot be read ({error.strerror})", where=path) from None
    except UnicodeDecodeError:
        raise PortError("is no text", where=path, hint="a table with `;` between its columns") from None
    times = []
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        cells = line.split(";")
        try:
            times.append(float(cells[1]))
        except (IndexError, ValueError):
            what = f"no number in column 2: {cells[1][:40]!r}" if len(cells) > 1 else f"no second column: {line[:40]!r}"
            raise PortError(f"line {number} has {what}", where=path, hint="columns stand between `;`") from None
        if not math.isfinite(times[-1]):
            raise PortError(f"line {number} has the time {cells[1].strip()}", where=path)
    if not times:
        raise PortError("holds no times", where=path)
    return np.array(times)
