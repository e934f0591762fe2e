"""Settings of the study, and checks before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.settings import option
from lq_emotion.datasets.avec.layout import DIMENSIONS, Dimension, dimension_root
from lq_emotion.datasets.avec.partitions import Partitions, add_partitions, partitions_of, stored_partitions
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.names import FACTORS, Method, Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches, add_switches, chosen_switches
from lq_emotion.studies.robust_lq import recipes
from lq_emotion.workflow.study import StudySettings

VALIDATION = 5
"""One of this number of training recordings, rounded up, is for validation; our choice."""
_FIGURE_4 = "Figure 4"


class Part(StrEnum):
    """A part of the study; its value is what users type.

    TABLE is Table 1, COMPARISONS the intervals of its numbers and the tests of its differences, MISMATCH the net
    trained on HR faces on LR ones (section 3.2), ABLATIONS footnote 1, FIGURES the figures 1 to 3, FIGURE4 recognition
    from coded video, SUBMISSION the estimates of HR for test recordings without labels, if there are any.
    """

    TABLE = "table"
    COMPARISONS = "comparisons"
    MISMATCH = "mismatch"
    ABLATIONS = "ablations"
    FIGURES = "figures"
    FIGURE4 = "figure4"
    SUBMISSION = "submission"


def _factors(default: tuple[int, ...] | None, text: str) -> Any:
    return option(default, text, least=2, most=16, metavar="S")


@dataclass(frozen=True, kw_only=True)
class StudyPlan(StudySettings):
    """Settings of the study."""

    recordings: Path = option(help="AVEC 2016, RECOLA or synthetic recordings", metavar="DIR")
    parts: tuple[Part, ...] = option(
        tuple(Part),
        "table: Table 1; comparisons: intervals and tests of its numbers; mismatch: HR nets on LR faces; ablations: "
        "other mixtures and pre-trainings (footnote 1); figures: Figures 1 to 3; figure4: recognition from coded "
        "video; submission: estimates for test recordings without labels, if there are any",
        name="--only",
        shown="all",
    )
    scales: tuple[int, ...] = _factors(FACTORS, "downsampling factors")
    rows: tuple[Method, ...] = option(tuple(Method), "methods", shown="all")
    preset: Literal["authors", "small", "demo"] = option(
        "authors", "solver and length of the trainings; small and demo learn by Adam"
    )
    iterations: int | None = option(None, "iterations per net (default: those of the preset)", least=1)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, kw_only=True)
    """Of a training or of the data (``sr``) beyond the preset: ``{"HQ": {"max_iter": 100}}``."""
    images: Path | None = option(
        None,
        "images to train super-resolution on: the authors' folder pretrain (default: faces of the recordings)",
        name="--sr-images",
        metavar="DIR",
    )
    max_factor: int | None = _factors(
        None, "upsampling factor of Joint-OA's super-resolution (default 12; with --as paper 16)"
    )
    mixture: tuple[int, ...] = _factors((3, 4, 6), "factors in Joint-OA's training data")
    boxes: Path | None = option(
        None, "folder of face boxes, NAME.mat or NAME.csv (default: detect faces)", metavar="DIR"
    )
    partitions: Partitions = option(
        Partitions(), add=add_partitions, collect=lambda args: partitions_of(args) or Partitions()
    )
    dimension: Dimension = option(
        "valence", "label to learn; results for others than valence are in ROOT/arousal and ROOT/both"
    )
    delay: float = option(
        0.0, "delay of the gold standard in seconds, including what prepare removed", least=0, metavar="S"
    )
    codecs: tuple[str, ...] = option(("x264", "x265"), "x264, x265, vp9, av1 or mpeg4", group=_FIGURE_4)
    qps: tuple[int, ...] = option(tuple(range(12, 45, 4)), "quantisers", least=0, metavar="QP", group=_FIGURE_4)
    coded_frames: int | None = option(
        None, "code the first N frames of each recording (default: all)", least=1, group=_FIGURE_4
    )
    coded_scales: tuple[int, ...] = field(default=(), kw_only=True)
    """Factors of Figure 4; by default those of the paper, 3 and 4, that are in `scales`, or its first."""
    previews: bool = field(default=True, kw_only=True)
    """Draw a contact sheet of each recording's crops and the trace of its labels, a second or two each."""
    seeds: int = option(1, "train each net N times, with this seed and those that follow: means and spreads", least=1)
    switches: PaperSwitches = option(AS_CODE, add=add_switches, collect=chosen_switches)

    @property
    def root(self) -> Path:
        """The folder of the dimension's results."""
        return dimension_root(self.out, self.dimension)

    @property
    def coding_factors(self) -> tuple[int, ...]:
        """The factors of Figure 4."""
        return self.coded_scales or tuple(s for s in (3, 4) if s in self.scales) or self.scales[:1]

    @property
    def largest_factor(self) -> int:
        """The factor of Joint-OA's super-resolution."""
        return self.switches.max_factor if self.max_factor is None else self.max_factor

    @property
    def natural(self) -> Path | None:
        """The folder of images for super-resolution; None for faces."""
        return self.images if self.switches.sr_images == "natural" else None

    @property
    def synthetic(self) -> bool:
        """Whether no person was filmed."""
        return (self.recordings / "synthetic.json").is_file()

    @property
    def shows_enlarged_faces(self) -> bool:
        """Whether the nets take enlarged faces as they are, with no statistics of a file."""
        return self.switches.input_size == "enlarged" and self.switches.normalisation != "file"

    @property
    def score_folders(self) -> dict[str, str]:
        """The folders of scores and tables by dimension: two if nets learn valence and arousal together."""
        return {name: name for name in DIMENSIONS} if self.dimension == "both" else {self.dimension: ""}

    def preset_of(self, part: str) -> dict[str, Any]:
        """Return the changes of the preset and the user to a training, or to the data (``sr``)."""
        iterations = {"max_iter": self.iterations} if self.iterations and part in list(Net) else {}
        return {**recipes.preset(self.preset).get(part, {}), **iterations, **self.changes.get(part, {})}


def with_partitions(plan: StudyPlan) -> StudyPlan:
    """Return the settings with the partitions that `prepare` stored, where the user gives none."""
    return plan if plan.partitions.complete else replace(plan, partitions=stored_partitions(plan.root / "data"))


def validation_part(plan: StudyPlan, names: Sequence[str]) -> tuple[str, ...]:
    """Return the training recordings on which a plateau of the loss is found: none if `dev` is for that.

    They are spread evenly over the training recordings in natural order, so that every run has the same: train_3 and
    train_7 of AVEC's nine. A recording is a person, as in AVEC and RECOLA.
    """
    if plan.switches.validation != "train":
        return ()
    train = plan.partitions.members("train", names)
    count = -(-len(train) // VALIDATION)
    if len(train) <= count:
        problem, hint = f"{len(train)} training recordings, expected 2 or more", "--switch validation=dev"
        raise DataError(problem, code="wrong-count", field="validation", value="train", hint=hint)
    return tuple(train[(2 * place + 1) * len(train) // (2 * count)] for place in range(count))


def check(plan: StudyPlan) -> None:
    """Refuse a plan that cannot be run."""
    for name, values in {"--only": plan.parts, "--rows": plan.rows}.items():
        if not values:
            raise DataError("empty", code="empty", field=name, hint="give at least one")
    for name, factors in {"--scales": plan.scales, "--mixture": plan.mixture}.items():
        if not factors or len(set(factors)) < len(factors):
            raise DataError("out of range", code="out-of-range", field=name, value=factors, hint="2 to 16, each once")
    if plan.switches.input_size == "own":
        for name in ("scales", "mixture"):
            if any(SIZE % factor for factor in getattr(plan, name)):
                value, hint = getattr(plan, name), "faces at their own size need divisors of 96"
                raise DataError("does not divide 96", code="out-of-range", field=name, value=value, hint=hint)
        _refuse(plan, "input_size", Part.ABLATIONS, Part.FIGURE4)
    if plan.switches.normalisation == "file":
        _refuse(plan, "normalisation", Part.FIGURE4)
    if plan.dimension == "both" and not {*plan.parts} <= {Part.TABLE, Part.SUBMISSION}:
        problem, hint = "valence and arousal together have Table 1 and submissions only", "--only table submission"
        raise DataError(problem, code="conflict", field="dimension", value=plan.dimension, hint=hint)
    if plan.images is not None and not plan.images.is_dir():
        raise FileError("folder of images not found", code="file-missing", file=plan.images, field="--sr-images")


def _refuse(plan: StudyPlan, switch: str, *parts: Part) -> None:
    for part in parts:
        if part in plan.parts:
            problem = f"the part {part} cannot be run with it"
            others = " ".join(other for other in Part if other not in parts)
            raise DataError(
                problem, code="conflict", field=switch, value=getattr(plan.switches, switch), hint=f"--only {others}"
            )
