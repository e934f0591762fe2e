"""Run predict: one source, then all sources, one after another or in several processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from caffe_compat.errors import CaffeCompatError, DataError, FileError, printable
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.ahead import Ahead
from lq_emotion.common.document import counted
from lq_emotion.common.fingerprints import fingerprint, named_hashes, versions
from lq_emotion.common.folders import require_folder
from lq_emotion.common.html_page import page
from lq_emotion.common.jobs import JobOutcome, run_all
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.progress import Say
from lq_emotion.faces.boxfiles import Boxes
from lq_emotion.faces.face import FaceDetector
from lq_emotion.nets.known.outputs import DERIVED_FROM, DERIVED_VALENCE
from lq_emotion.predict.analysis import Analysis, Estimator
from lq_emotion.predict.instruments import Instruments, load_instruments, require_detector
from lq_emotion.predict.overlay import image_overlays, video_overlay
from lq_emotion.predict.page import Summary, report
from lq_emotion.predict.rows import Rows, csv_rows, json_lines, parquet_rows, pyarrow
from lq_emotion.predict.settings import PredictSettings
from lq_emotion.quality.calibration import sidecar
from lq_emotion.video.frames import Source
from lq_emotion.video.sources import OVERLAY, Kind, SourceName

_LOG = logging.getLogger(__name__)
_WORK = "predict"
_VERSION = 1  # of the rows, the overlay and the page
_WAITING = 16  # frames that are decoded ahead
_WAITING_BYTES = 1 << 28  # of them together, unless it is one
_ELSEWHERE = (Kind.CAMERA, Kind.STDIN)  # what another process cannot read


@dataclass(frozen=True)
class Outcome(JobOutcome):
    """The result of a source; incomplete: its frames end early or some are missing, and the others have rows."""

    frames: int = 0
    empty: int = 0
    """Frames without a face."""
    faces: int = 0
    """Rows with a face."""
    ids: int = 0
    """Different faces."""
    clock: str = ""
    """Kind of times; see `video.frames.Source`."""
    files: tuple[Path, ...] = ()
    """Written files."""


def line(outcome: Outcome) -> str:
    """Return the line about a source for the user."""
    if outcome.status == "failed":
        return printable(f"{outcome.name}: {outcome.error}")
    rate = "" if outcome.before or not outcome.seconds else f", {outcome.frames / outcome.seconds:.0f} frames a second"
    faces, frames = counted(outcome.faces, "face"), counted(outcome.frames, "frame")
    text = f"{outcome.name}: {faces} in {frames}, {outcome.empty} without ({outcome.when}{rate})"
    files = f" -> {outcome.files[0]}" if outcome.files else ""
    return printable(text + files + (f"; {outcome.error}" if outcome.error else ""))


def results_of(source: SourceName, settings: PredictSettings, out: Path | None) -> dict[str, Path]:
    """Return the files of a source that the settings ask for: "rows", "overlay" (a folder for images) and "page".

    They are in `out` or next to the source, those of a live source in the working directory, with the present time in
    their names.
    """
    folder = out or (source.files[0].parent if source.files else Path())
    stem = source.stem if source.files else f"{source.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    files = {"rows": folder / f"{stem}.estimates.{settings.form}"}
    if settings.overlay:
        files["overlay"] = folder / f"{stem}{'.overlay' if source.kind is Kind.IMAGES else OVERLAY}"
    if settings.page:
        files["page"] = folder / f"{stem}.estimates.html"
    return files


def predict_one(
    source: SourceName,
    settings: PredictSettings,
    out: Path | None = None,
    *,
    instruments: Instruments | None = None,
    lines: TextIO | None = None,
    progress: Callable[..., None] | None = None,
) -> Outcome:
    """Write the rows, the overlay and the page of a source, unless an earlier run did; its errors are in the outcome.

    See `predict`; `progress` is called with a number of frames, and the number of all as far as it is known.
    """
    started = time.perf_counter()
    try:
        instruments = instruments or load_instruments(settings)
        files = {} if lines is not None else results_of(source, settings, out)
        journal = Journal(files["rows"].with_suffix(".json")) if files else None
        made_from = _made_from(source, settings, instruments)
        if journal is not None and source.files and journal.is_done(_WORK, made_from):
            with contents_of(journal.path):
                return replace(Outcome.from_json(journal.entry(_WORK)["outcome"]), before=True)
        detector = instruments.detector_of(source.stem, Path(settings.detector))
        with source.open(settings.selection, timeout=settings.timeout) as opened:
            if journal is not None:
                journal.details |= {"source": source.to_json(), "settings": settings.to_json()}
                journal.details[DERIVED_VALENCE] = DERIVED_FROM
                journal.claim(files.values(), "lq-emotion predict")  # before the first of them is written
            summary = _estimate(source, opened, detector, settings, instruments.estimators, files, lines, progress)
        problem = opened.problem
        outcome = Outcome(
            opened.name, "done" if problem is None else "incomplete", error="" if problem is None else str(problem),
            frames=summary.frames, empty=summary.empty, faces=summary.faces, ids=len(summary.by_id),
            clock=opened.clock, seconds=time.perf_counter() - started,
        )  # fmt: skip
        if journal is None:
            return outcome
        if settings.page:
            content = report(
                outcome.name, summary, instruments.estimators, clock=outcome.clock, detector=settings.detector,
                problem=outcome.error,
            )  # fmt: skip
            with atomic_path(files["page"]) as partial:
                partial.write_text(page(content), encoding="utf-8")
        outcome = replace(outcome, files=tuple(path for path in files.values() if path.exists()))
        written = [path for path in outcome.files if path.is_file()]
        journal.note(_WORK, made_from, written, outcome=outcome.to_json())
    except BrokenPipeError:  # the reader of the lines has gone
        raise
    except (CaffeCompatError, OSError) as error:
        return Outcome(source.stem, "failed", error=str(error))
    except Exception as error:  # noqa: BLE001  (whatever it is, the other sources go on)
        _LOG.debug("%s", source.stem, exc_info=True)
        return Outcome(source.stem, "failed", error=f"{source.stem}: stopped by {type(error).__name__}: {error}")
    return outcome


def _made_from(source: SourceName, settings: PredictSettings, instruments: Instruments) -> str:
    """Return the fingerprint of everything that the results depend on."""
    boxes = Path(settings.detector)
    given = sorted(boxes.iterdir()) if boxes.is_dir() else [boxes]
    models = [estimator.model for estimator in instruments.estimators]
    nets = [[model.name, named_hashes([model.weights, sidecar(model.weights)])] for model in models]
    inputs = [named_hashes(source.files), named_hashes(given), nets]
    return fingerprint([_VERSION, settings.to_json(), inputs, versions()])


def _estimate(
    source: SourceName,
    opened: Source,
    detector: FaceDetector | Boxes,
    settings: PredictSettings,
    estimators: Sequence[Estimator],
    files: Mapping[str, Path],
    lines: TextIO | None,
    progress: Callable[..., None] | None,
) -> Summary:
    """Write the rows and the overlay of an opened source; the decoder runs in a thread of its own."""
    live, images, summary = opened.live, source.kind is Kind.IMAGES, Summary()
    follow = not (images or isinstance(detector, Boxes))
    analysis = Analysis(detector, estimators, follow=follow, alone=live or lines is not None)
    rows = Rows(estimators, named=images, abstain=settings.abstain)
    with ExitStack() as stack:
        if lines is not None:
            writer = json_lines(lines, rows.columns, opened.name)
        else:
            writer = (parquet_rows if settings.form == "parquet" else csv_rows)(files["rows"], rows.columns)
        write, draw = stack.enter_context(writer), None
        if "overlay" in files:
            draw = stack.enter_context((image_overlays if images else video_overlay)(files["overlay"], estimators))
        ahead = Ahead(
            opened, 1 if live else _WAITING, latest=live, size=attrgetter("image.nbytes"), most=_WAITING_BYTES
        )
        frames = stack.enter_context(ahead)
        with suppress(KeyboardInterrupt) if live else nullcontext():  # this is how a camera is stopped
            for frame, faces in analysis(frames):
                write(rows.of(frame, faces))
                summary.add(frame, faces)
                if draw is not None:
                    draw(frame, faces)
                if progress is not None:
                    progress(1, opened.count)
    return summary


def predict(
    sources: Sequence[SourceName],
    settings: PredictSettings | None = None,
    out: str | Path | None = None,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    lines: TextIO | None = None,
    instruments: Instruments | None = None,
    say: Say = print,
) -> list[Outcome]:
    """Write rows, overlays and pages; return an outcome per source, whose failure does not stop the others.

    Results are in `out`, by default next to their sources; with `lines` the rows are JSON lines of a stream instead.
    `jobs` sources are read at a time, each in a process, or by the workers of the Dask scheduler at `cluster`, which
    need access to files and models. `instruments` are for one job; by default those that the settings name. Settings
    that are wrong, missing models and two sources with the same results are refused before anything is written.
    """
    settings = settings or PredictSettings()
    folder = None if out is None else Path(out).resolve()
    require_detector(settings.detector)
    if settings.form == "parquet":
        pyarrow()
    if folder is not None:
        require_folder(folder)
    if lines is None:
        _require_different(sources, settings, folder)
    several = cluster is not None or (len(sources) > 1 and jobs != 1)
    if several and (lines is not None or any(source.kind in _ELSEWHERE for source in sources)):
        problem = "other processes can read neither cameras nor stdin, and cannot write to stdout"
        raise DataError(problem, code="conflict", field="--jobs", value=jobs, hint="--jobs 1")
    if not several:
        instruments = instruments or load_instruments(settings)
    outcomes = {}
    done = run_all(
        partial(predict_one, settings=settings, out=folder, instruments=instruments, lines=lines), sources, jobs=jobs,
        cluster=cluster, unit="sources", name=lambda source: printable(source.stem), frames=lambda _: None,
        lost=lambda source, error: Outcome(source.stem, "failed", error=error),
    )  # fmt: skip
    for number, outcome in done:
        outcomes[number] = outcome
        with tqdm.external_write_mode():
            say(line(outcome))
    return [outcomes[number] for number in range(len(sources))]


def _require_different(sources: Sequence[SourceName], settings: PredictSettings, out: Path | None) -> None:
    """Refuse two sources whose results have the same name."""
    seen: dict[Path, SourceName] = {}
    for source in sources:
        path = results_of(source, settings, out)["rows"]
        if path in seen:
            problem = f"{_shown(seen[path])} and {_shown(source)} would write to the same file"
            hint = "run the command for each, with a folder of its own: --out"
            raise FileError(problem, code="conflict", file=path, hint=hint)
        seen[path] = source


def _shown(source: SourceName) -> str:
    return str(source.files[0]) if source.files else source.stem
