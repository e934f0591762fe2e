"""All sources of a command, one after the other or several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import joblib
from tqdm import tqdm

from caffe_compat.errors import DataError, FileError, printable
from lq_emotion.common.journal import require_folder
from lq_emotion.common.processes import as_done
from lq_emotion.predict.finders import require_detector
from lq_emotion.predict.one import predict_one, results_of
from lq_emotion.predict.outcome import Outcome, line
from lq_emotion.predict.settings import Instruments, PredictSettings, load_instruments
from lq_emotion.predict.writers import require_format
from lq_emotion.video.sources import Kind, SourceName

Say = Callable[[str], None]
_ELSEWHERE = (Kind.CAMERA, Kind.STDIN)  # what another process cannot read


def predict(
    sources: Sequence[SourceName],
    settings: PredictSettings | None = None,
    out: str | Path | None = None,
    *,
    jobs: int | None = 1,
    lines: TextIO | None = None,
    instruments: Instruments | None = None,
    say: Say = print,
) -> list[Outcome]:
    """Write rows, overlays and pages; a source that fails does not stop the others.

    Parameters
    ----------
    sources : see `video.sources.find_sources`.
    settings : what to do with each.
    out : folder of all results; by default they lie beside their sources.
    jobs : sources at a time, each in a process; None uses an enclosing `joblib.parallel_config`, whose backend may be
        a cluster. Every worker needs access to the files and the models.
    lines : stream for JSON lines in place of files with rows.
    instruments : nets and detector, for one job; by default those that the settings name.
    say : called with each line for the user.

    Returns
    -------
    One outcome per source, in the order of the sources.

    Raises
    ------
    CaffeCompatError
        A setting is wrong, a model is missing, or two sources have the same results; nothing has been written.
    """
    settings = settings or PredictSettings()
    folder = None if out is None else Path(out).resolve()
    settings.selection()
    require_detector(settings.detector)
    require_format(settings.form)
    if folder is not None:
        require_folder(folder)
    if lines is None:
        _require_different(sources, settings, folder)
    several = len(sources) > 1 and jobs != 1
    if several and (lines is not None or any(source.kind in _ELSEWHERE for source in sources)):
        problem = "other processes can read neither cameras nor stdin, and cannot write to stdout"
        raise DataError(problem, code="conflict", field="--jobs", value=jobs, hint="--jobs 1")
    if not several:
        instruments = instruments or load_instruments(settings)
    outcomes = {}
    for number, outcome in _outcomes(sources, settings, folder, jobs if several else 1, lines, instruments):
        outcomes[number] = outcome
        with tqdm.external_write_mode():
            say(line(outcome))
    return [outcomes[number] for number in range(len(sources))]


def _outcomes(
    sources: Sequence[SourceName],
    settings: PredictSettings,
    out: Path | None,
    jobs: int | None,
    lines: TextIO | None,
    instruments: Instruments | None,
) -> Iterator[tuple[int, Outcome]]:
    if jobs == 1:
        for number, source in enumerate(sources):
            title = f"{printable(source.stem)} ({number + 1}/{len(sources)})"
            with tqdm(desc=title, unit=" frames", disable=None, leave=False) as bar:
                progress = partial(_advance, bar)
                yield (
                    number,
                    predict_one(source, settings, out, instruments=instruments, lines=lines, progress=progress),
                )
        return
    work = partial(_numbered, settings=settings, out=out)
    results = (
        joblib.Parallel(return_as="generator_unordered", batch_size=1)(
            joblib.delayed(work)(number, source) for number, source in enumerate(sources)
        )
        if jobs is None
        else as_done(jobs, work, enumerate(sources))
    )
    done = set()
    try:
        for number, outcome in tqdm(results, total=len(sources), unit=" sources", disable=None, leave=False):
            done.add(number)
            yield number, outcome
    except Exception as error:  # noqa: BLE001  (predict_one raises nothing: these are errors of the backend)
        problem = f"its worker was lost ({type(error).__name__}), perhaps for want of memory: fewer --jobs take less"
        lost = (number for number in range(len(sources)) if number not in done)
        yield from ((number, Outcome(sources[number].stem, "failed", error=problem)) for number in lost)


def _advance(bar: Any, frames: int, total: int | None) -> None:
    bar.total = total
    bar.update(frames)


def _numbered(number: int, source: SourceName, *, settings: PredictSettings, out: Path | None) -> tuple[int, Outcome]:
    return number, predict_one(source, settings, out)


def _require_different(sources: Sequence[SourceName], settings: PredictSettings, out: Path | None) -> None:
    """Refuse two sources whose results have the same name."""
    seen: dict[Path, SourceName] = {}
    for source in sources:
        path = results_of(source, settings.form, out).rows
        if path in seen:
            problem = f"would hold the rows of {_shown(seen[path])} and of {_shown(source)}"
            hint = "run the command for each, with a folder of its own: --out"
            raise FileError(problem, code="conflict", file=path, hint=hint)
        seen[path] = source


def _shown(source: SourceName) -> str:
    return str(source.files[0]) if source.files else source.stem
