"""What the demo leaves in settings.json and results.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lq_emotion.common.records import Record


@dataclass(frozen=True)
class DemoSettings(Record):
    """The settings that distinguish demos; the number of iterations does not.

    The recipe is the changes of the authors' net and solver; `images` maps names of images to their
    `ImageSource.identity`, `focus` to row and column of the part to show.
    """

    scale: int
    recipe: tuple[str, ...]
    images: Mapping[str, str]
    held_out: tuple[str, ...]
    focus: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Psnr(Record):
    """PSNR of Y in dB by method; None if it is infinite."""

    nearest: float | None
    bicubic: float | None
    sr_fcn: float | None


@dataclass(frozen=True)
class DemoFiles(Record):
    """Names of what the demo leaves, in its folder."""

    caffemodel: str
    solverstate: str
    torch: str
    comparison: str
    losses: str
    log: str


@dataclass(frozen=True)
class DemoResults(Record):
    """results.json: PSNR and gain in dB by held-out image, test loss by iteration, seconds by step of the last run."""

    scale: int
    iterations: int
    changes: tuple[str, ...]
    patches: Mapping[str, int]
    psnr: Mapping[str, Psnr]
    mean_psnr: Psnr
    gain_over_bicubic: float | None
    test_loss: Mapping[int, float]
    files: DemoFiles
    seconds: Mapping[str, float]
