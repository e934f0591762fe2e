"""What the labels of a recording are called, and how they were made: in its MAT-file, beside the frames.

The authors' scripts know ``valence``. Files of the same form may hold ``arousal`` in its place, and ``delay``: by how
many seconds the labels were shifted back to meet the faces they are of.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from matlab_ports._support.errors import PortError
from matlab_ports.matfile import loadmat, variable_names

LABELS = ("valence", "arousal")
DELAY = "delay"


def label_of(path: str | Path) -> str:
    """Return what the labels are called: ``valence``, also where there are none, or ``arousal``.

    Raises
    ------
    PortError
        The file cannot be read, or holds both.
    """
    names = [name for name in variable_names(path) if name in LABELS]
    if len(names) > 1:
        raise PortError(f"holds {' and '.join(names)}: which are the labels?", where=path, hint="leave one of them")
    return names[0] if names else LABELS[0]


def delay_of(path: str | Path) -> float:
    """Return the seconds by which the labels were shifted back; 0 where the file does not say.

    Raises
    ------
    PortError
        The file cannot be read, or holds something else under that name.
    """
    if DELAY not in variable_names(path):
        return 0.0
    delay = loadmat(path, [DELAY])[DELAY]
    if delay.dtype.kind not in "fiu" or delay.size != 1 or not np.isfinite(delay).all() or float(delay.flat[0]) < 0:
        raise PortError(f"{DELAY} is no number of seconds from 0 up", where=path)
    return float(delay.flat[0])
