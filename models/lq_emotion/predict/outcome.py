"""What `predict` did with a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caffe_compat.errors import printable
from lq_emotion.common.records import Record
from lq_emotion.common.words import counted


@dataclass(frozen=True)
class Outcome(Record):
    """What became of a source.

    Attributes
    ----------
    name : of the source.
    status : ``done``; ``incomplete``, the frames end early or some are missing, the rows of the others are written;
        ``failed``, nothing is written.
    error : what is the matter with a source that is not ``done``.
    frames, empty, faces, ids : frames, those without a face, rows with a face, and different faces.
    clock : what the times are; see `video.frames.Source`.
    seconds : of work.
    files : that were written.
    before : an earlier run did the work.
    """

    name: str
    status: str
    error: str = ""
    frames: int = 0
    empty: int = 0
    faces: int = 0
    ids: int = 0
    clock: str = ""
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    before: bool = False


@dataclass(frozen=True)
class Outcomes(Record):
    """All sources of a command, for ``--json``."""

    sources: tuple[Outcome, ...]


def line(outcome: Outcome) -> str:
    """Return the line about a source for the user."""
    return printable(_line(outcome))


def _line(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"{outcome.name}: {outcome.error}"
    when = "done before" if outcome.before else f"{outcome.seconds:.1f} s"
    rate = "" if outcome.before or not outcome.seconds else f", {outcome.frames / outcome.seconds:.0f} frames a second"
    faces, frames = counted(outcome.faces, "face"), counted(outcome.frames, "frame")
    text = f"{outcome.name}: {faces} in {frames}, {outcome.empty} without ({when}{rate})"
    files = f" -> {outcome.files[0]}" if outcome.files else ""
    return text + files + (f"; {outcome.error}" if outcome.error else "")
