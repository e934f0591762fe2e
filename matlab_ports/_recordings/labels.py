"""Names and delay of a recording's labels, as its MAT-file states them next to the frames.

The authors' scripts know ``valence`` only. Files of the same form may have ``arousal`` instead or too, and ``delay``:
by how many seconds the labels were shifted back to meet the faces they describe.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from matlab_ports._support.errors import PortError
from matlab_ports.matfile import loadmat, variable_names

LABELS = ("valence", "arousal")
DELAY = "delay"


def read_label_names(path: str | Path) -> tuple[str, ...]:
    """Return the names of the labels in a file, valence first; none in a recording without labels."""
    present = variable_names(path)
    return tuple(name for name in LABELS if name in present)


def read_label_name(path: str | Path) -> str:
    """Return the name of the labels' variable: ``arousal`` where the file has it, else ``valence``."""
    names = read_label_names(path)
    if len(names) > 1:
        raise PortError(
            f"contains labels of both {' and '.join(names)}", code="ambiguous", file=path, hint="keep one of them"
        )
    return names[0] if names else LABELS[0]


def read_delay(path: str | Path) -> float:
    """Return the seconds by which the labels were shifted back; 0 where the file does not state it."""
    if DELAY not in variable_names(path):
        return 0.0
    delay = loadmat(path, [DELAY])[DELAY]
    if delay.dtype.kind not in "fiu" or delay.size != 1 or not np.isfinite(delay).all() or float(delay.flat[0]) < 0:
        raise PortError("expected one number of seconds, 0 or more", code="invalid", file=path, field=DELAY)
    return float(delay.flat[0])
