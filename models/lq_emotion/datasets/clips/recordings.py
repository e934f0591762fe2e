"""Clips as recordings in AVEC 2016's layout, so that every command for recordings takes them.

::

    FOLDER/clips.json                                     what is done already
    FOLDER/recordings_video/NAME.mp4                      25 frames per second, coded without loss
    FOLDER/recordings_video_frame_time/NAME.csv           seconds from the clip's start
    FOLDER/ratings_gold_standard/DIMENSION/NAME.arff      a label for each frame
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from caffe_compat.errors import DataError
from lq_emotion.common.fingerprints import fingerprint, named_hashes
from lq_emotion.common.folders import require_folder
from lq_emotion.common.journal import Journal
from lq_emotion.common.progress import Say
from lq_emotion.datasets.avec.gold import write_arff
from lq_emotion.datasets.avec.layout import DIMENSIONS, PARTITIONS
from lq_emotion.datasets.avec.partitions import Partitions
from lq_emotion.datasets.avec.times import write_frame_times
from lq_emotion.datasets.clips.table import Clip, ClipTable, frames_of
from lq_emotion.video.writer import write_video

Doubles = npt.NDArray[np.float64]
RATE = 25
JOURNAL = "clips.json"
_VERSION = 1


def write_recordings(table: ClipTable, out: Path, *, fresh: bool = False, say: Say = print) -> Partitions:
    """Write a recording for each clip that has none yet, or for all (`fresh`); return the partitions of all."""
    dimensions = [name for name in table.dimensions if name in DIMENSIONS]
    if not dimensions:
        labels = f"classes ({', '.join(table.classes)})" if table.classes else ", ".join(table.dimensions)
        hint = "the authors' nets learn valence or arousal; `lq-emotion adapt` learns any labels"
        raise DataError(f"its labels are {labels}", code="unsupported", file=table.path, field="labels", hint=hint)
    require_folder(out)
    journal = Journal(out / JOURNAL, root=out, hint="remove the folder")
    journal.require_own(out.glob("*"), "prepare --clips")
    made_from = {clip.name: _fingerprint(table, clip, dimensions) for clip in table.clips}
    todo = [clip for clip in table.clips if fresh or not journal.is_done(clip.name, made_from[clip.name])]
    say(f"copying {len(todo)} of {len(table.clips)} clips to {out} at {RATE} frames per second, without loss")
    for clip in tqdm(todo, unit=" clips", disable=None, leave=False):
        journal.note(clip.name, made_from[clip.name], _write(table, clip, out, dimensions))
    return Partitions({clip.name: clip.partition for clip in table.clips}, frozenset(PARTITIONS))


def _fingerprint(table: ClipTable, clip: Clip, dimensions: Sequence[str]) -> str:
    trace = table.traces.get(clip.file)
    labels = None if trace is None else [trace.time.tolist(), trace.values.tolist()]
    end = clip.end if np.isfinite(clip.end) else None
    return fingerprint(
        [_VERSION, named_hashes([clip.file]), clip.start, end, list(dimensions), dict(clip.values), labels]
    )


def _write(table: ClipTable, clip: Clip, out: Path, dimensions: Sequence[str]) -> list[Path]:
    """Write the files of a recording and return their paths; frames without labels are left out."""
    video = out / "recordings_video" / f"{clip.name}.mp4"
    video.parent.mkdir(parents=True, exist_ok=True)
    ticks: list[int] = []
    labels: list[Doubles] = []
    lossless = write_video(  # H.264 in RGB: what is read back is what was written
        video, {"preset": "veryfast", "qp": "0"}, encoder="libx264rgb", tick=Fraction(1, RATE), rate=Fraction(RATE),
        pixel_format="rgb24", converter="ffmpeg",
    )  # fmt: skip
    with lossless as target:
        for time, image in frames_of(clip, RATE):
            values = table.labels(clip, [time])[0]
            if np.isfinite(values).all():
                ticks.append(round((time - clip.start) * RATE))
                labels.append(values)
                target.write(image, ticks[-1])
        if not ticks:
            problem = f"{clip.file.name} has no labels between {clip.start:g} s and {clip.end:g} s"
            raise DataError(problem, code="empty", field="time", hint="the table of frames covers other times")
    clock = [f"{tick / RATE:.2f}" for tick in ticks]
    times = out / "recordings_video_frame_time" / f"{clip.name}.csv"
    times.parent.mkdir(exist_ok=True)
    write_frame_times([tick / RATE for tick in ticks], times)
    paths = [video, times]
    for name in dimensions:
        column = table.dimensions.index(name)
        paths.append(out / "ratings_gold_standard" / name / f"{clip.name}.arff")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        rows = (f"'{clip.name}',{time},{float(values[column])!r}" for time, values in zip(clock, labels, strict=True))
        write_arff(rows, paths[-1], relation="CLIPS")
    return paths
