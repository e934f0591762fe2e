"""Write synthetic recordings in AVEC 2016's layout.

::

    DIR/README.txt, DIR/synthetic.json                                    origin and settings
    DIR/recordings_video/NAME.mp4                                          H.264, 25 frames per second, some missing
    DIR/recordings_video_frame_time/NAME.csv                               one row per frame of the video
    DIR/ratings_individual/valence/NAME.csv, ratings_gold_standard/valence/NAME.arff   and the same for arousal
    DIR/synthetic_face_boxes/NAME.csv                                      true boxes of the faces, for --boxes

Each recording shows another person. The same settings give the same bytes with the same version of x264.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.jobs import run_all
from lq_emotion.common.lists import write_lines
from lq_emotion.common.progress import Progress, Say
from lq_emotion.common.settings import absolute, option
from lq_emotion.datasets.avec.gold import combine_ratings, write_arff
from lq_emotion.datasets.avec.layout import DIMENSIONS
from lq_emotion.datasets.avec.times import write_frame_times
from lq_emotion.datasets.synthetic.face import Expression, Pose, Scene
from lq_emotion.datasets.synthetic.folder import (
    MakeSettings,
    frame_size,
    open_folder,
    require_even,
    require_x264,
    write_mp4,
)
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.datasets.synthetic.signals import RATE, RATERS, Signals, simulate_ratings, simulate_signals
from lq_emotion.faces.boxfiles import write_boxes

PARTITIONS = ("train", "dev")
_DRAWING = 2  # version of the drawn faces
_STEP = 1 / RATE
_ABOUT = """Synthetic recordings, in the shape of the AVEC 2016 package.

No person was filmed. Mouth, eyes and brows follow two random traces that take the places of valence and arousal, and
six made-up raters follow them too."""


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings(MakeSettings):
    """Settings of ``data make recordings``."""

    train: int = option(9, "number of training recordings", least=0)
    dev: int = option(9, "number of development recordings", least=0)
    frames: int = option(7500, "frames per recording, at 25 per second; a few are missing from the video", least=50)
    size: tuple[int, int] = option(
        (480, 480), "frame size", read=frame_size, least=160, metavar="WxH", shown="480x480"
    )  # fmt: skip
    seed: int = option(0, "random seed; another seed draws other people", least=0)
    lag: float = option(0.4, least=0, most=10, offered=False)
    """Mean delay of the raters in seconds."""
    nested: bool = option(False, offered=False)
    """Nest every folder in one of the same name, as many copies of AVEC 2016 do."""
    jobs: int = option(1, "recordings in parallel", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_even(self.size)
        if not self.train + self.dev:
            raise DataError("no recordings", code="out-of-range", field="--dev", value=0, hint="expected 1 or more")

    @property
    def names(self) -> list[str]:
        """The names of the recordings."""
        counts = zip(PARTITIONS, (self.train, self.dev), strict=True)
        return [f"{partition}_{number}" for partition, count in counts for number in range(1, count + 1)]


def make_recordings(settings: SyntheticSettings, say: Say = print) -> list[str]:
    """Write the missing recordings of a synthetic data set, or all (`fresh`); return the names of those written."""
    settings = absolute(settings)
    frames = settings.frames
    require_x264()
    journal, made_from = open_folder(settings, _DRAWING, maker="data make recordings", about=_ABOUT, growing=PARTITIONS)
    todo = [name for name in settings.names if settings.fresh or not journal.is_done(name, made_from)]
    say(f"making {len(todo)} of {len(settings.names)} synthetic recordings of {frames} frames in {settings.out}")
    work = partial(_write_recording, settings)
    for _, name in run_all(work, todo, jobs=settings.jobs, unit="recordings", frames=lambda _: frames):
        journal.note(name, made_from, _paths(settings, name))
        say(f"made {name}")
    return todo


def _paths(settings: SyntheticSettings, name: str) -> tuple[Path, ...]:
    """Return the paths of a recording's video, times, boxes, and ratings and gold standards by dimension."""
    out = settings.out

    def folder(*parts: str) -> Path:
        return out / parts[0] / Path(*parts) if settings.nested else out / Path(*parts)

    return (
        folder("recordings_video") / f"{name}.mp4",
        folder("recordings_video_frame_time") / f"{name}.csv",
        out / "synthetic_face_boxes" / f"{name}.csv",
        *(folder("ratings_individual", dimension) / f"{name}.csv" for dimension in DIMENSIONS),
        *(folder("ratings_gold_standard", dimension) / f"{name}.arff" for dimension in DIMENSIONS),
    )


def _write_recording(settings: SyntheticSettings, name: str, progress: Progress | None = None) -> str:
    partition, number = name.split("_")
    key = [settings.seed, PARTITIONS.index(partition), int(number)]
    scene_rng = np.random.default_rng([*key, 1])  # independent of the signals: more frames show the same person
    scene = Scene(make_person(scene_rng), scene_rng, settings.size[::-1])
    rng = np.random.default_rng([*key, 2])
    signals = simulate_signals(rng, settings.frames)
    (arousal_rng,) = rng.spawn(1)
    streams = ((rng, signals.valence), (arousal_rng, signals.arousal))
    ratings = [simulate_ratings(stream, trace, lag=settings.lag) for stream, trace in streams]
    video, times, boxes, *labels = _paths(settings, name)
    for path in (video, times, boxes, *labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    ticks = np.flatnonzero(~signals.dropped)
    clock = np.array([float(f"{tick * _STEP:.2f}") for tick in range(settings.frames)])
    write_frame_times(clock[ticks], times)
    header = ";".join(["time", *(f"{rater} " for rater in RATERS[:-1]), RATERS[-1]])
    for traces, raters, gold in zip(ratings, labels[:2], labels[2:], strict=True):
        rows = (";".join([f"{t:.2f}", *(f"{v:.2f}" for v in row)]) for t, row in zip(clock, traces, strict=True))
        write_lines([header, *rows], raters)
        values = zip(clock.tolist(), combine_ratings(traces).tolist(), strict=True)
        rows = (f"'{name}',{time:.2f},{value:.6f}" for time, value in values)
        write_arff(rows, gold, relation="SYNTHETIC_GOLDSTANDARD")
    poses = [Pose(*pose) for pose in signals.pose.tolist()]
    true_boxes = [(0.0,) * 4 if signals.occlusion[tick] else scene.box(poses[tick]) for tick in ticks]
    write_boxes(boxes, np.round(true_boxes, 2), clock[ticks])
    frames = _frames(scene, signals, poses, ticks, progress)
    write_mp4(video, frames, ticks.tolist(), Fraction(RATE))
    return name


def _frames(
    scene: Scene, signals: Signals, poses: list[Pose], ticks: npt.NDArray[np.intp], progress: Progress | None
) -> Iterator[npt.NDArray[np.uint8]]:
    traces = (signals.valence, signals.talk, signals.blink, signals.arousal)
    for tick in ticks:
        gaze, light = signals.gaze[tick], signals.light[tick]
        valence, talk, blink, arousal = (float(trace[tick]) for trace in traces)
        expression = Expression(valence, talk, blink, (gaze[0], gaze[1]), arousal)
        yield scene.draw(expression, poses[tick], (light[0], light[1]), occlusion=int(signals.occlusion[tick]))
        if progress:
            progress(1)
