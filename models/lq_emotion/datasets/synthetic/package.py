"""Write synthetic recordings as a tree of AVEC 2016's shape.

::

    DIR/README.txt, DIR/synthetic.json                                    what this is, and the settings
    DIR/recordings_video/NAME.mp4                                          H.264, 25 frames a second, some missing
    DIR/recordings_video_frame_time/NAME.csv                               one row per frame of the video
    DIR/ratings_individual/valence/NAME.csv, ratings_gold_standard/valence/NAME.arff   and the same of arousal
    DIR/synthetic_face_boxes/NAME.csv                                      where the faces truly are; for --boxes

Every recording shows somebody else. The same settings give the same bytes (of one version of x264).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from caffe_compat.errors import CaffeCompatError, DataError, FileError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.json_files import contents_of, read_json, write_json
from lq_emotion.common.processes import as_done
from lq_emotion.datasets.avec.gold import combine_ratings
from lq_emotion.datasets.avec.layout import DIMENSIONS
from lq_emotion.datasets.synthetic.face import Expression, Pose, Scene
from lq_emotion.datasets.synthetic.person import make_person
from lq_emotion.datasets.synthetic.signals import RATE, RATERS, Course, make_course, rate
from lq_emotion.faces.boxfiles import write_boxes

Say = Callable[[str], None]
SETTINGS = "synthetic.json"
PARTITIONS = ("train", "dev")
_DRAWING = 2  # of faces; another one makes other pictures from the same settings
_STEP = 1 / RATE
# One thread, and no macroblock tree, which is not the same twice where it runs on vectors (x264 r165).
_X264 = {"preset": "veryfast", "crf": "22", "threads": "1", "x264-params": "mbtree=0:bframes=0"}
_README = """Synthetic recordings, in the shape of the AVEC 2016 package.

Nobody was filmed. The faces are drawn, by `lq-emotion make-recordings` of caffe-compat with the settings in
synthetic.json; mouth, eyes and brows follow two random traces that take the places of valence and arousal, and six
made-up raters follow them too. They serve to try a program. Results on them say nothing about people.
"""


@dataclass(frozen=True)
class Settings:
    """What to make.

    Attributes
    ----------
    train, dev : numbers of recordings.
    frames : of each, on the grid of 0.04 s; a few of them are missing from the video.
    width, height : of a frame.
    seed : of everything.
    lag : seconds, the raters' mean delay.
    nested : every folder once more within itself, as many copies of the package are.
    """

    train: int = 9
    dev: int = 9
    frames: int = 7500
    width: int = 480
    height: int = 480
    seed: int = 0
    lag: float = 0.4
    nested: bool = False

    @property
    def names(self) -> list[str]:
        """Return the recordings' names."""
        counts = zip(PARTITIONS, (self.train, self.dev), strict=True)
        return [f"{partition}_{number}" for partition, count in counts for number in range(1, count + 1)]


def make_recordings(
    out: str | Path, settings: Settings | None = None, *, jobs: int = 1, fresh: bool = False, say: Say = print
) -> list[str]:
    """Write what is missing of a package, and return the names of the recordings that were made.

    Parameters
    ----------
    out : the folder.
    settings : what to make.
    jobs : recordings at a time, each in a process.
    fresh : make all of them again.
    say : takes a line for the user at a time.

    Raises
    ------
    CaffeCompatError
        The settings make no sense, the folder holds something else, or PyAV is missing.
    """
    out, settings = Path(out).resolve(), settings or Settings()
    _check(settings)
    _require_pyav()
    _claim(out, settings, fresh=fresh)
    todo = [name for name in settings.names if fresh or not all(path.is_file() for path in _paths(out, settings, name))]
    say(f"{len(todo)} of {len(settings.names)} synthetic recordings of {settings.frames} frames to make in {out}")
    if jobs == 1 or len(todo) == 1:
        for name in todo:
            with tqdm(total=settings.frames, desc=name, unit=" frames", disable=None, leave=False) as bar:
                _make(out, settings, name, lambda count, bar=bar: bar.update(count))  # type: ignore[misc]
            say(f"{name} is made")
    else:
        results = as_done(jobs, _make, [(out, settings, name) for name in todo])
        for name in tqdm(results, total=len(todo), unit=" recordings", disable=None, leave=False):
            say(f"{name} is made")
    return todo


def _check(settings: Settings) -> None:
    problems = {
        "train": settings.train < 0,
        "dev": settings.dev < 0 or not settings.train + settings.dev,
        "frames": settings.frames < 50,
        "width": settings.width < 160 or settings.width % 2,
        "height": settings.height < 160 or settings.height % 2,
        "seed": settings.seed < 0,
        "lag": not 0 <= settings.lag <= 10,
    }
    for name, wrong in problems.items():
        if wrong:
            hint = "frames: 50 or more; sides: even, 160 or more; lag: 0 to 10 s; one recording at least"
            raise DataError("cannot be used", field=name, value=getattr(settings, name), hint=hint)


def _require_pyav() -> None:
    try:
        import av
    except ImportError:
        hint = "pip install caffe-compat[video]"
        raise DataError("H.264 is written with PyAV, which is not installed", hint=hint) from None
    if "libx264" not in av.codecs_available:
        raise DataError(f"PyAV {av.__version__} here has no libx264", hint="pip install --force-reinstall av")


def _claim(out: Path, settings: Settings, *, fresh: bool) -> None:
    """Make the folder this package's; another one's files are not touched."""
    if out.exists() and not out.is_dir():
        raise FileError("this is a file; a folder is expected", file=out)
    found = read_json(out / SETTINGS)
    told = {"synthetic": True, "drawing": _DRAWING, **asdict(settings)}
    if found is None and out.is_dir() and any(out.iterdir()):
        raise FileError("is not empty, and holds no synthetic recordings", file=out, hint="choose another --out")
    if found is not None and found.get("synthetic") is not True:
        raise FileError("is not what make-recordings wrote", file=out / SETTINGS, hint="choose another --out")
    free = ("train", "dev")  # more of them may be made later
    if found is not None and not fresh:
        for name, value in told.items():
            if name not in free and found.get(name) != value:
                hint = "--fresh makes all of them again, or choose another --out"
                raise DataError(f"was {found.get(name)!r} when {out} was made", field=name, value=value, hint=hint)
    out.mkdir(parents=True, exist_ok=True)
    write_json(told, out / SETTINGS)
    with atomic_path(out / "README.txt") as partial:
        partial.write_text(_README, encoding="utf-8")


def _paths(out: Path, settings: Settings, name: str) -> tuple[Path, ...]:
    """Return where a recording's video, times and boxes go, and ratings and gold standard of each dimension."""

    def folder(*parts: str) -> Path:
        return out / parts[0] / Path(*parts) if settings.nested else out / Path(*parts)

    return (
        folder("recordings_video") / f"{name}.mp4",
        folder("recordings_video_frame_time") / f"{name}.csv",
        out / "synthetic_face_boxes" / f"{name}.csv",
        *(folder("ratings_individual", dimension) / f"{name}.csv" for dimension in DIMENSIONS),
        *(folder("ratings_gold_standard", dimension) / f"{name}.arff" for dimension in DIMENSIONS),
    )


def _make(out: Path, settings: Settings, name: str, progress: Callable[[int], Any] | None = None) -> str:
    partition, number = name.split("_")
    key = [settings.seed, PARTITIONS.index(partition), int(number)]
    somebody = np.random.default_rng([*key, 1])  # apart from what happens, so that more frames show the same person
    scene = Scene(make_person(somebody), somebody, (settings.height, settings.width))
    rng = np.random.default_rng([*key, 2])
    course = make_course(rng, settings.frames)
    second = rng.spawn(1)[0]
    ratings = [rate(rng, course.valence, lag=settings.lag), rate(second, course.arousal, lag=settings.lag)]
    video, times, boxes, *labels = _paths(out, settings, name)
    for path in (video, times, boxes, *labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    shown = np.flatnonzero(~course.dropped)
    clock = np.array([float(f"{tick * _STEP:.2f}") for tick in range(settings.frames)])
    _write_lines(times, ["frame;time in seconds", *(f"{k};{clock[tick]:.2f}" for k, tick in enumerate(shown))])
    header = ";".join(["time", *(f"{rater} " for rater in RATERS[:-1]), RATERS[-1]])
    for traces, raters, gold in zip(ratings, labels[:2], labels[2:], strict=True):
        rows = (";".join([f"{t:.2f}", *(f"{v:.2f}" for v in row)]) for t, row in zip(clock, traces, strict=True))
        _write_lines(raters, [header, *rows])
        _write_lines(gold, _arff(name, clock, combine_ratings(traces)))
    poses = [Pose(*place) for place in course.place.tolist()]
    true = [(0.0,) * 4 if course.away[tick] else scene.box(poses[tick]) for tick in shown]
    write_boxes(boxes, np.round(true, 2), clock[shown])
    _write_video(video, _frames(scene, course, poses, shown, progress), shown, (settings.height, settings.width))
    return name


def _frames(
    scene: Scene,
    course: Course,
    poses: list[Pose],
    shown: npt.NDArray[np.intp],
    progress: Callable[[int], Any] | None,
) -> Iterator[npt.NDArray[np.uint8]]:
    for tick in shown:
        gaze, light = course.gaze[tick], course.light[tick]
        expression = Expression(
            float(course.valence[tick]),
            float(course.talk[tick]),
            float(course.blink[tick]),
            (gaze[0], gaze[1]),
            float(course.arousal[tick]),
        )
        yield scene.draw(expression, poses[tick], (light[0], light[1]), away=int(course.away[tick]))
        if progress:
            progress(1)


def _write_video(
    path: Path, frames: Iterator[npt.NDArray[np.uint8]], ticks: npt.NDArray[np.intp], size: tuple[int, int]
) -> None:
    import av
    import cv2

    with atomic_path(path) as partial:
        try:
            with av.open(str(partial), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
                stream: Any = container.add_stream("libx264", rate=RATE, options=_X264)
                stream.codec_context.time_base = Fraction(1, RATE)
                stream.codec_context.thread_count = 1
                stream.pix_fmt = "yuv420p"
                stream.height, stream.width = size
                for tick, frame in zip(ticks.tolist(), frames, strict=True):
                    # OpenCV's conversion takes a tenth of the time of FFmpeg's
                    planes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8)
                    picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                    picture.pts, picture.time_base = tick, Fraction(1, RATE)
                    container.mux(stream.encode(picture))
                container.mux(stream.encode())
        except av.FFmpegError as error:
            raise CaffeCompatError(f"cannot be written: {error.strerror}", file=path) from None


def _arff(name: str, clock: npt.NDArray[np.float64], gold: npt.NDArray[np.float64]) -> Iterator[str]:
    yield "@relation SYNTHETIC_GOLDSTANDARD"
    yield ""
    yield "@attribute Instance_name string"
    yield "@attribute frameTime numeric"
    yield "@attribute GoldStandard numeric"
    yield ""
    yield "@data"
    for time, value in zip(clock.tolist(), gold.tolist(), strict=True):
        yield f"'{name}',{time:.2f},{value:.6f}"


def _write_lines(path: Path, lines: Any) -> None:
    with atomic_path(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def summary(out: Path) -> str:
    """Return what a folder holds, in one line."""
    with contents_of(out / SETTINGS):
        told = read_json(out / SETTINGS) or {}
        return f"{out}: {told['train']} train and {told['dev']} dev recordings of {told['frames']} frames, synthetic"
