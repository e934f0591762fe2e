"""What the demo leaves in settings.json and results.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lq_emotion.common.records import Record


@dataclass(frozen=True)
class DemoSettings(Record):
    """The settings that distinguish demos; the number of iterations does not.

    Attributes
    ----------
    scale : downsampling factor of the low-resolution images.
    recipe : what differs from the authors' net and solver.
    pictures : name of an image -> its `ImageSource.identity`.
    held_out : names of the images that the net is tried on.
    focus : name of an image -> row and column of the part to show.
    """

    scale: int
    recipe: tuple[str, ...]
    pictures: Mapping[str, str]
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
    """results.json.

    Attributes
    ----------
    scale, iterations : of the run.
    changes : what differs from the authors' net and solver.
    patches : number of patches to train and to test on.
    psnr, mean_psnr : by held-out image, and their mean.
    gain_over_bicubic : of SR-FCN, in dB.
    test_loss : by iteration.
    files : what the demo left.
    seconds : of each step of the last run.
    """

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
