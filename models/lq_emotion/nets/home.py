"""The option that names the folder of installed models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lq_emotion.common.settings import Settings, option


@dataclass(frozen=True, kw_only=True)
class HomeSettings(Settings):
    """Settings of whatever takes installed models."""

    home: Path | None = option(
        None, "folder of installed models (default: LQ_EMOTION_HOME, else lq-emotion in the user's cache)",
        metavar="DIR",
    )  # fmt: skip
