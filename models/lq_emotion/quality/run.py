"""Calibrate a net: degrade recordings, collect its answers, and store a calibration next to its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from caffe_compat.errors import DataError
from lq_emotion.common.fingerprints import file_sha256, versions
from lq_emotion.common.json_files import write_json
from lq_emotion.common.progress import Say
from lq_emotion.nets.known.loading import LoadedModel
from lq_emotion.nets.known.outputs import Labels
from lq_emotion.quality.calibration import Calibration, MadeFrom, sidecar
from lq_emotion.quality.conformal import Samples, make_calibration, require_enough, require_library
from lq_emotion.quality.samples import Source, collect, join
from lq_emotion.quality.settings import CalibrationSettings, Grid
from lq_emotion.quality.sources import labelled_sources, video_sources

_EVERY = 10  # recordings between two lines


def calibrate(settings: CalibrationSettings, model: LoadedModel, say: Say = print) -> tuple[Path, Calibration]:
    """Collect a net's answers, make its calibration and write it; return the file and the calibration.

    The answers on each recording are stored in a folder next to the calibration, NAME.answers: an interrupted run
    continues from there, and another level or limit needs no answer again. The folder may be removed.
    """
    require_library()
    names = () if isinstance(model.outputs, Labels) else model.outputs.names
    sources = _sources(settings, names)
    require_enough(len(sources), settings.level)
    file, scales, qps = settings.out or sidecar(model.weights), settings.grid.scales, settings.grid.qps
    grid = replace(settings.grid, scales=tuple(sorted(set(scales))), qps=tuple(sorted(set(qps))))
    parts = _answers(model, sources, grid, file.with_name(file.name.removesuffix(".json") + ".answers"), say)
    unseen = [source.name for source in sources if source.name not in parts]
    if unseen:
        labelled = " with a label" if names else ""
        say(f"warning: no face{labelled} in {', '.join(unseen)}")
    require_enough(len(parts), settings.level)
    samples = join(list(parts.values()))
    made_from = MadeFrom(
        model.name, file_sha256(model.weights), tuple(parts), len(samples), grid,
        str(settings.recordings[0].resolve().name) if names else "",
        {**versions(), "scikit-learn": metadata.version("scikit-learn")},
    )  # fmt: skip
    calibration = make_calibration(samples, made_from, names, level=settings.level, limit=settings.limit)
    write_json(calibration.to_json(), file)
    return file, calibration


def _sources(settings: CalibrationSettings, dimensions: Sequence[str]) -> list[Source]:
    """Return the recordings: labelled ones for a net that estimates dimensions, videos for a classifier."""
    recordings = settings.recordings
    folders = [path for path in recordings if path.is_dir()]
    if not dimensions:
        if folders:
            value, hint = str(folders[0]), "pass video files"
            raise DataError("is a folder", code="wrong-type", field="recordings", value=value, hint=hint)
        return video_sources(recordings, settings.reading)
    if len(recordings) != 1 or not folders:
        value, hint = str(recordings[0]), "pass one folder of recordings as AVEC lays them out"
        raise DataError("the net needs labels", code="wrong-type", field="recordings", value=value, hint=hint)
    return labelled_sources(folders[0], dimensions, settings.reading, settings.names)


def _answers(model: LoadedModel, sources: Sequence[Source], grid: Grid, folder: Path, say: Say) -> dict[str, Samples]:
    """Return the answers on each recording in which there is a face; they are stored in the folder."""
    steps = len(grid.scales) * len(grid.qps)
    say(f"{len(sources)} recordings, each degraded in {steps} ways; answers are stored in {folder}")
    parts = {}
    collected = collect(model, sources, grid, folder)
    with tqdm(collected, total=len(sources), unit=" recordings", disable=None, leave=False) as bar:
        for count, (name, samples) in enumerate(bar, start=1):
            if len(samples):
                parts[name] = samples
            if bar.disable and (count % _EVERY == 0 or count == len(sources)):
                say(f"{count} of {len(sources)} recordings")
    return parts
