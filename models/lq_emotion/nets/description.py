"""Settings of a model: the files that describe weights which are not recognised, and the folder of installed models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lq_emotion.common.settings import Settings, option

_UNKNOWN = "for weights that are not recognised"


@dataclass(frozen=True, kw_only=True)
class HomeSettings(Settings):
    """The folder of installed models."""

    home: Path | None = option(
        None, "folder of installed models (default: LQ_EMOTION_HOME, else lq-emotion in the user's cache)",
        metavar="DIR",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DescriptionSettings(HomeSettings):
    """How weights are described that are not recognised."""

    definition: Path | None = option(None, "deploy definition", metavar="PROTOTXT", group=_UNKNOWN)
    preprocess: Path | None = option(None, "preprocessing (docs/preprocessing.md)", metavar="JSON", group=_UNKNOWN)
    labels: Path | None = option(
        None, "a class a line; or a dimension a line: name, low, high and unit with tabs between",
        metavar="FILE", group=_UNKNOWN,
    )  # fmt: skip

    @property
    def description(self) -> dict[str, Any]:
        """Return the arguments of `load_model` and `find_description`."""
        return {"definition": self.definition, "preprocess": self.preprocess, "labels": self.labels, "home": self.home}
