"""``lq-emotion data degrade``: a copy of a video as a low-quality channel delivers it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from caffe_compat.errors import printable
from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option
from lq_emotion.common.words import counted
from lq_emotion.video.degrade import DegradedVideo, degrade_video


@dataclass(frozen=True, kw_only=True)
class DegradeSettings(Settings):
    """Settings of ``data degrade``."""

    video: Path = option(help="a video file", positional=True, metavar="VIDEO")
    out: Path = option(help="an .mp4, .mov or .mkv file, without sound", metavar="FILE")
    scale: float = option(1.0, "factor to shrink by", least=1)
    qp: int = option(28, "quantiser of all frames", least=0, most=51)
    fps: float | None = option(None, "most frames per second (default: all frames)", least=0.01)
    codec: Literal["x264", "x265"] = option("x264", "encoder")


def _degrade(settings: DegradeSettings, _say: Say) -> DegradedVideo:
    from tqdm import tqdm

    with tqdm(desc=printable(settings.video.name), unit=" frames", disable=None, leave=False) as bar:
        return degrade_video(
            settings.video, settings.out, scale=settings.scale, qp=settings.qp, fps=settings.fps, codec=settings.codec,
            progress=bar.update,
        )  # fmt: skip


def _show(result: DegradedVideo, settings: DegradeSettings) -> None:
    rate = "" if result.rate is None else f", {result.rate / 1000:.1f} kbit/s"
    print(
        printable(f"{settings.out}: {counted(result.frames, 'frame')} of {result.width} x {result.height} in ")
        + f"{result.seconds:.2f} s, {result.bits} bits, {result.bpp:.4f} per pixel{rate}"
    )


COMMAND = Command(DegradeSettings, _degrade, _show)
