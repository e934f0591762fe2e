"""Read the table of a recording's frame times, as ``prepare_dataset.m`` does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports._support.files import require_file


def frame_time(path: str | Path) -> npt.NDArray[np.float64]:
    """Read the times of a recording's frames, (T,) seconds: the second column of ``dlmread(path, ';', 1, 0)``."""
    path = Path(path)
    require_file(path)
    hint = "separate the columns by `;`"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()[1:]
    except OSError as error:
        raise PortError(f"cannot be read: {error.strerror}", code="file-unreadable", file=path) from None
    except UnicodeDecodeError:
        raise PortError("is not text, expected a table of times", code="wrong-format", file=path, hint=hint) from None
    times = []
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        cells = line.split(";")
        if len(cells) < 2:
            problem = f"no second column in {line[:40]!r}"
            raise PortError(problem, code="syntax", file=path, line=number, hint=hint)
        try:
            times.append(float(cells[1]))
        except ValueError:
            problem = f"expected a number in column 2, got {cells[1][:40]!r}"
            raise PortError(problem, code="syntax", file=path, line=number, hint=hint) from None
        if not math.isfinite(times[-1]):
            problem = f"the time is {cells[1].strip()}, expected a finite number"
            raise PortError(problem, code="not-finite", file=path, line=number)
    if not times:
        raise PortError("contains no times", code="empty", file=path)
    return np.array(times)
