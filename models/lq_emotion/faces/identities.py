"""Keep the ids of faces from frame to frame, through misses and cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lq_emotion.faces.face import Face, Image


@dataclass(frozen=True)
class Followed:
    """A face that is followed through a video.

    Attributes
    ----------
    face : as detected in this frame or, if it was not, as it was detected last.
    id : from 1, in the order of first appearance.
    detected : in this frame.
    """

    face: Face
    id: int
    detected: bool


class Identities:
    """Gives the faces of successive frames their ids.

    Parameters
    ----------
    hold : frames for which a face that is not detected is reported where it was last.
    """

    def __init__(self, *, hold: int = 12) -> None:
        self._hold = hold

    def update(self, faces: Sequence[Face], image: Image) -> list[Followed]:
        """Return the faces of the next frame, by id, with those held."""
        raise NotImplementedError
