"""The outcomes of `prepare`, ROOT/data/prepare.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lq_emotion.common.json_files import find_record
from lq_emotion.common.records import Record

RESULTS = Path("data") / "prepare.json"


@dataclass(frozen=True)
class Outcome(Record):
    """The result of preparing a recording.

    Attributes
    ----------
    status : ``done``, or ``failed`` with the `error`.
    rows : frames in the table of frame times.
    kept, no_face, small : numbers of frames with a crop, without a face, and with a box that is too small.
    held : frames with a face but without a detection, which use a neighbour's box.
    boxes : origin of the boxes.
    unread : the video has frames after the last of the times.
    before : an earlier run prepared the recording.
    """

    name: str
    status: str
    rows: int = 0
    kept: int = 0
    no_face: int = 0
    small: int = 0
    held: int = 0
    boxes: str = ""
    seconds: float = 0.0
    error: str = ""
    unread: bool = False
    before: bool = False


@dataclass(frozen=True)
class Preparation(Record):
    """prepare.json: the outcome of every recording, of this run and of earlier ones."""

    recordings: tuple[Outcome, ...]


def prepared_recordings(out: Path) -> tuple[Outcome, ...]:
    """Return the outcomes in ROOT/data/prepare.json; none if there is no such file."""
    preparation = find_record(out / RESULTS, Preparation)
    return () if preparation is None else preparation.recordings
