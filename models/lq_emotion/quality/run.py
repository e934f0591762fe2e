"""Calibrate a net: degrade recordings, collect its answers, and store a calibration next to its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from caffe_compat.errors import DataError
from lq_emotion.common.fingerprints import file_sha256, versions
from lq_emotion.common.progress import Say
from lq_emotion.nets.known.loading import LoadedModel
from lq_emotion.nets.known.outputs import Labels
from lq_emotion.quality.calibration import Calibration, MadeFrom, sidecar
from lq_emotion.quality.conformal import Samples, make_calibration, require_enough, require_library
from lq_emotion.quality.samples import Source, collect, join
from lq_emotion.quality.settings import CalibrationSettings, Grid
from lq_emotion.quality.sources import labelled_sources, video_sources

_EVERY = 10  # recordings between two lines


@dataclass
class CalibrationRun:
    """A calibration to be made.

    The answers on each recording are stored in a folder next to the calibration, NAME.answers: an interrupted run
    continues from there, and another level or limit needs no answer again. The folder may be removed.

    Attributes
    ----------
    settings : settings of the calibration.
    model : the net.
    say : receives lines of progress.
    """

    settings: CalibrationSettings
    model: LoadedModel
    say: Say = print

    @property
    def file(self) -> Path:
        """Return the file to write."""
        return self.settings.out or sidecar(self.model.weights)

    @property
    def _grid(self) -> Grid:
        """Return the scales and quantisers, each once and in order."""
        grid = self.settings.grid
        return replace(grid, scales=tuple(sorted(set(grid.scales))), qps=tuple(sorted(set(grid.qps))))

    @property
    def _is_classifier(self) -> bool:
        return isinstance(self.model.outputs, Labels)

    def run(self) -> Calibration:
        """Collect answers, make the calibration and write it."""
        require_library()
        sources = self._sources()
        require_enough(len(sources), self.settings.level)
        parts = self._answers(sources)
        unseen = [source.name for source in sources if source.name not in parts]
        if unseen:
            labelled = "" if self._is_classifier else " with a label"
            self.say(f"warning: no face{labelled} in {', '.join(unseen)}")
        require_enough(len(parts), self.settings.level)
        samples = join(list(parts.values()))
        names = () if self._is_classifier else self.model.outputs.names
        origin = self._origin(list(parts), len(samples))
        calibration = make_calibration(samples, origin, names, level=self.settings.level, limit=self.settings.limit)
        calibration.save(self.file)
        return calibration

    def _sources(self) -> list[Source]:
        folders = [path for path in self.settings.recordings if path.is_dir()]
        if self._is_classifier:
            if folders:
                value, hint = str(folders[0]), "pass video files"
                raise DataError("is a folder", code="wrong-type", field="recordings", value=value, hint=hint)
            return video_sources(self.settings.recordings, self.settings.reading)
        if len(self.settings.recordings) != 1 or not folders:
            value, hint = str(self.settings.recordings[0]), "pass one folder of recordings as AVEC lays them out"
            raise DataError("the net needs labels", code="wrong-type", field="recordings", value=value, hint=hint)
        return labelled_sources(folders[0], self.model.outputs.names, self.settings.reading, self.settings.names)

    def _answers(self, sources: Sequence[Source]) -> dict[str, Samples]:
        folder = self.file.with_name(self.file.name.removesuffix(".json") + ".answers")
        steps = len(self._grid.scales) * len(self._grid.qps)
        self.say(f"{len(sources)} recordings, each degraded in {steps} ways; answers are kept in {folder}")
        parts = {}
        collected = collect(self.model, sources, self._grid, folder)
        with tqdm(collected, total=len(sources), unit=" recordings", disable=None, leave=False) as bar:
            for count, (name, samples) in enumerate(bar, start=1):
                if len(samples):
                    parts[name] = samples
                if bar.disable and (count % _EVERY == 0 or count == len(sources)):
                    self.say(f"{count} of {len(sources)} recordings")
        return parts

    def _origin(self, names: Sequence[str], samples: int) -> MadeFrom:
        labels = "" if self._is_classifier else str(self.settings.recordings[0].resolve().name)
        return MadeFrom(
            self.model.name, file_sha256(self.model.weights), tuple(names), samples, self._grid, labels,
            {**versions(), "scikit-learn": metadata.version("scikit-learn")},
        )  # fmt: skip
