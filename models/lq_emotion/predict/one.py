"""One source: frames in; rows, overlay and page out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.ahead import Ahead
from lq_emotion.common.fingerprints import fingerprint, named_hashes
from lq_emotion.common.html_page import page
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.versions import versions
from lq_emotion.nets.known.circumplex import NAME, SOURCE
from lq_emotion.predict.analysis import Analysis, Finder
from lq_emotion.predict.outcome import Outcome
from lq_emotion.predict.overlay import Draw, image_overlays, video_overlay
from lq_emotion.predict.page import report
from lq_emotion.predict.rows import Rows
from lq_emotion.predict.settings import Instruments, PredictSettings, load_instruments
from lq_emotion.predict.summary import Summary
from lq_emotion.predict.writers import JsonLines, RowWriter, csv_rows, parquet_rows
from lq_emotion.video.frames import Source
from lq_emotion.video.sources import OVERLAY, Kind, SourceName

_LOG = logging.getLogger(__name__)
_WORK = "predict"
_VERSION = 1  # of the rows, the overlay and the page
_WAITING = 16  # frames that are decoded ahead
_WAITING_BYTES = 1 << 28  # of them together, unless it is one
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Results:
    """The files of a source: NAME.estimates.csv and others beside it.

    Attributes
    ----------
    rows, page, overlay : what is written; `overlay` is a folder for images.
    journal : what it was made from.
    """

    rows: Path
    page: Path
    overlay: Path
    journal: Path


def results_of(source: SourceName, form: str, out: Path | None) -> Results:
    """Return the files of a source, in `out` or beside it; those of a live source have the present time in their name.

    Parameters
    ----------
    source : the source.
    form : of the rows, the suffix of their file.
    out : folder; None puts them beside the source, or into the working directory.
    """
    folder = out or (source.files[0].parent if source.files else Path())
    stem = source.stem if source.files else f"{source.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (f".estimates.{form}", ".estimates.html", OVERLAY, ".estimates.json")
    rows, html, overlay, journal = (folder / f"{stem}{name}" for name in names)
    return Results(rows, html, overlay if source.kind is not Kind.IMAGES else folder / f"{stem}.overlay", journal)


def predict_one(
    source: SourceName,
    settings: PredictSettings,
    out: Path | None = None,
    *,
    instruments: Instruments | None = None,
    lines: TextIO | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write the rows, the overlay and the page of a source, unless an earlier run did; its errors are in the outcome.

    Parameters
    ----------
    source : where the frames come from.
    settings : what to do.
    out : folder of the results; None puts them beside the source.
    instruments : nets and detector; by default those that the settings name.
    lines : stream for JSON lines, in place of the file of rows.
    progress : called with a number of frames, and the number of all as far as known.
    """
    started = time.perf_counter()
    try:
        instruments = instruments or load_instruments(settings)
        files = results_of(source, settings.form, out)
        journal = Journal(files.journal)
        made_from = _made_from(source, settings, instruments)
        if source.files and lines is None and journal.is_done(_WORK, made_from):
            with contents_of(files.journal):
                return replace(Outcome.from_json(journal.entry(_WORK)["outcome"]), before=True)
        find = instruments.finder(settings, source.stem)
        with source.open(settings.selection(), timeout=settings.timeout) as opened:
            if lines is None:
                _claim(files, journal, source, settings)
            work = _Work(source, opened, settings, instruments, files)
            summary = work.run(find, lines, progress)
        outcome = _outcome(opened, summary, time.perf_counter() - started)
        if lines is None:
            outcome = work.finish(summary, outcome)
            journal.note(_WORK, made_from, _single_files(outcome.files), outcome=outcome.to_json())
    except BrokenPipeError:  # nobody reads the lines any more
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
    inputs = [named_hashes(source.files), named_hashes(given), instruments.fingerprint()]
    return fingerprint([_VERSION, settings.to_json(), inputs, versions()])


def _claim(files: Results, journal: Journal, source: SourceName, settings: PredictSettings) -> None:
    """Note whose files these will be before the first is written, and refuse those of others."""
    files.rows.parent.mkdir(parents=True, exist_ok=True)
    overlay = [files.overlay] if settings.overlay else []
    page_files = [files.page] if settings.page else []
    journal.details |= {"source": source.to_json(), "settings": settings.to_json(), NAME: SOURCE}
    journal.claim([files.rows, *page_files, *overlay], "lq-emotion predict")


def _single_files(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]


def _outcome(source: Source, summary: Summary, seconds: float) -> Outcome:
    problem = source.problem
    return Outcome(
        source.name, "done" if problem is None else "incomplete", error="" if problem is None else str(problem),
        frames=summary.frames, empty=summary.empty, faces=summary.faces, ids=len(summary.by_id),
        clock=source.clock, seconds=seconds,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Work:
    """The work on one opened source."""

    source: SourceName
    opened: Source
    settings: PredictSettings
    instruments: Instruments
    files: Results

    def run(self, find: Finder, lines: TextIO | None, progress: Progress | None) -> Summary:
        """Write the rows and the overlay; the decoder runs in a thread of its own."""
        live, summary = self.opened.live, Summary()
        analysis = Analysis(
            find, self.instruments.follower_of(self.source.kind), self.instruments.estimators,
            alone=live or lines is not None,
        )  # fmt: skip
        images = self.source.kind is Kind.IMAGES
        rows = Rows(self.instruments.estimators, named=images, abstain=self.settings.abstain)
        with ExitStack() as stack:
            write = stack.enter_context(self._writer(rows, lines)).write
            draw = stack.enter_context(self._overlay(images=images)) if self.settings.overlay else None
            ahead = Ahead(
                self.opened, 1 if live else _WAITING, latest=live,
                size=lambda frame: frame.image.nbytes, most=_WAITING_BYTES,
            )  # fmt: skip
            frames = stack.enter_context(ahead)
            with suppress(KeyboardInterrupt) if live else nullcontext():  # this is how a camera is stopped
                for seen in analysis(frames):
                    write(rows.of(seen))
                    summary.add(seen)
                    if draw is not None:
                        draw(seen)
                    if progress is not None:
                        progress(1, self.opened.count)
        return summary

    def finish(self, summary: Summary, outcome: Outcome) -> Outcome:
        """Write the page; return the outcome with the files."""
        files = [self.files.rows]
        if self.settings.overlay and self.files.overlay.exists():
            files.append(self.files.overlay)
        if self.settings.page:
            content = report(
                outcome.name, summary, self.instruments.estimators, clock=outcome.clock,
                detector=self.settings.detector, problem=outcome.error,
            )  # fmt: skip
            with atomic_path(self.files.page) as partial:
                partial.write_text(page(content), encoding="utf-8")
            files.append(self.files.page)
        return replace(outcome, files=tuple(files))

    def _writer(self, rows: Rows, lines: TextIO | None) -> AbstractContextManager[RowWriter]:
        if lines is not None:
            return nullcontext(JsonLines(lines, rows.columns, source=self.opened.name))
        write = parquet_rows if self.settings.form == "parquet" else csv_rows
        return write(self.files.rows, rows.columns)

    def _overlay(self, *, images: bool) -> AbstractContextManager[Draw]:
        self.files.overlay.parent.mkdir(parents=True, exist_ok=True)
        draw = image_overlays if images else video_overlay
        return draw(self.files.overlay, self.instruments.estimators)
