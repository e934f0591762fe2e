"""The files below ROOT, written by the other commands, from which a report is made."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from lq_emotion.common.json_files import contents_of, find_record, read_record
from lq_emotion.common.records import Record
from lq_emotion.crops.prepare import prepared_recordings
from lq_emotion.crops.recording import Outcome
from lq_emotion.datasets.avec.layout import natural_order
from lq_emotion.evaluation.settings import Evaluation
from lq_emotion.nets.names import FACTORS
from lq_emotion.studies.robust_lq.comparisons import Comparisons
from lq_emotion.studies.robust_lq.rd_results import SweepResults
from lq_emotion.studies.robust_lq.results import StudyResults, VariantResults
from lq_emotion.training.settings import TrainingResults

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class Store:
    """A folder ROOT."""

    root: Path

    def contents(self, *parts: str) -> AbstractContextManager[None]:
        """Return the context for reading values of a JSON file; by default table.json."""
        return contents_of(self.root.joinpath(*parts or ("table", "table.json")))

    @cached_property
    def table(self) -> StudyResults | None:
        """Return the results of the study; None if it has not finished."""
        return find_record(self.root / "table" / "table.json", StudyResults)

    @cached_property
    def variants(self) -> VariantResults | None:
        """Return the results of nets that are not in Table 1; None if none were scored."""
        return find_record(self.root / "study" / "variants.json", VariantResults)

    @cached_property
    def comparisons(self) -> Comparisons | None:
        """Return intervals and tests; None if none were computed."""
        return find_record(self.root / "study" / "comparisons.json", Comparisons)

    @cached_property
    def prepared(self) -> tuple[Outcome, ...]:
        """Return the outcome of preparing each recording."""
        return prepared_recordings(self.root)

    @cached_property
    def maker(self) -> Path | None:
        """Return synthetic.json, if the recordings are synthetic."""
        places = [self.root / "recordings", self.root]
        if self.table is not None:
            places.insert(0, self.table.settings.recordings)
        return next((path for place in places if (path := place / "synthetic.json").is_file()), None)

    @property
    def synthetic(self) -> bool | None:
        """Return whether the recordings are synthetic; None if unknown."""
        if self.maker is not None:
            return True
        return None if self.table is None else self.table.synthetic

    @property
    def dimension(self) -> str:
        """Return the dimension of the labels."""
        if self.table is not None:
            return self.table.dimension
        return next((evaluation.labels for evaluation in self.scores.values()), "valence")

    @cached_property
    def scores(self) -> dict[str, Evaluation]:
        """Return all evaluations by folder."""
        return self._each("scores/*/scores.json", Evaluation)

    @cached_property
    def runs(self) -> dict[str, TrainingResults]:
        """Return the results of all trainings by folder."""
        return self._each("runs/*/train.json", TrainingResults)

    @cached_property
    def sweeps(self) -> dict[Path, SweepResults]:
        """Return all sweeps over codecs by folder."""
        folders = (self.root / "rd", *sorted((self.root / "rd").glob("*/")))
        sweeps = {folder: find_record(folder / "rd.json", SweepResults) for folder in folders}
        return {folder: sweep for folder, sweep in sweeps.items() if sweep is not None}

    @property
    def scales(self) -> list[int]:
        """Return the factors of the experiment, or those of Table 1."""
        return list(FACTORS if self.table is None else self.table.scales)

    @property
    def switches(self) -> dict[str, Any]:
        """Return the settings of the study that are not the authors' code's."""
        return {} if self.table is None else self.table.switches

    def _each(self, pattern: str, kind: type[RecordT]) -> dict[str, RecordT]:
        paths = sorted(self.root.glob(pattern), key=lambda path: natural_order(path.parent.name))
        return {path.parent.name: read_record(path, kind) for path in paths}
