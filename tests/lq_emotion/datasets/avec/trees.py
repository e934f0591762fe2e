"""Small AVEC 2016 and RECOLA trees, written by hand."""

import shutil
from pathlib import Path

import numpy as np

ARFF = """@relation GOLDSTANDARD

@attribute Instance_name string
@attribute frameTime numeric
@attribute GoldStandard numeric


@data
"""
RECOLA = {
    "recordings_video": "RECOLA-Video-recordings",
    "recordings_video_frame_time": "RECOLA-Video-timings",
    "ratings_individual": "RECOLA-Annotation/emotional_behaviour",
    "synthetic_face_boxes": "bbox",
}
HEADER = "time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3"


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def arff(name: str, time, gold, quote: str = "") -> str:
    rows = "".join(f"{quote}{name}{quote},{t},{g}\n" for t, g in zip(time, gold, strict=True))
    return f"{ARFF}\n{rows}"


def grid(frames: int) -> list[str]:
    return [f"{0.04 * k:.2f}" for k in range(frames)]


def frame_time(times) -> str:
    return "\n".join(["frame;time", *(f"{k};{t}" for k, t in enumerate(times, 1))]) + "\n"


def ratings(times, traces) -> str:
    rows = (";".join([t, *(f"{v:.3f}" for v in row)]) for t, row in zip(times, traces, strict=True))
    return "\n".join([HEADER, *rows]) + "\n"


def avec(root: Path, names=("train_1", "dev_1"), frames: int = 5, nested: bool = False) -> Path:
    for name in names:
        for folder, suffix, text in (
            ("recordings_video", ".mp4", ""),
            ("recordings_video_frame_time", ".csv", frame_time(grid(frames))),
        ):
            put(root / folder / (folder if nested else ".") / f"{name}{suffix}", text)
        if name.startswith("test"):
            continue
        traces = np.random.RandomState(0).rand(frames, 6)
        for dimension in ("arousal", "valence"):
            for folder, suffix, text in (
                ("ratings_gold_standard", ".arff", arff(name, grid(frames), [k / 8 for k in range(frames)])),
                ("ratings_individual", ".csv", ratings(grid(frames), traces)),
                ("ratings_individual_centred", ".csv", ratings(grid(frames), traces)),
            ):
                put(root / folder / (folder if nested else ".") / dimension / f"{name}{suffix}", text)
    return root


def recola(root: Path, names=("P16", "P38")) -> Path:
    for name in names:
        put(root / "RECOLA-Video-recordings" / f"{name}.mp4")
        put(root / "RECOLA-Video-timings" / f"{name}.csv", "frame;time in seconds;x\n1;0.0;5\n2;0.04;5\n")
        for dimension in ("arousal", "valence"):
            folder = root / "RECOLA-Annotation" / "emotional_behaviour" / dimension
            put(folder / f"{name}.csv", ratings(grid(2), np.eye(2, 6)))
    return root


def as_recola(drawn: Path, root: Path, participants: dict[str, str]) -> Path:
    """Copy drawn recordings into RECOLA's tree: participants in place of partitions, ratings in place of a gold standard."""
    for source, target in RECOLA.items():
        shutil.copytree(drawn / source, root / target)
    for name, participant in participants.items():
        for path in sorted(root.rglob(f"{name}.*")):
            path.rename(path.with_stem(participant))
    return root
