"""What a study of the paper is to hold, and whether it can be run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError, FileError
from lq_emotion.datasets.avec.layout import DIMENSIONS, Dimension, shared_root
from lq_emotion.datasets.avec.partitions import Partitions
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.names import FACTORS, Method
from lq_emotion.nets.switches import AS_CODE, PaperSwitches
from lq_emotion.studies.robust_lq import recipes

VALIDATION = 5
"""One of so many training recordings, rounded up, is for validation; our choice."""


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


@dataclass(frozen=True)
class CodedPlan:
    """The settings of Figure 4: every combination of factor, codec and QP.

    Attributes
    ----------
    scales, codecs, qps : see `rate_distortion.RateDistortion`; the paper has s = 3 and 4.
    frames : of each recording; None for all.
    """

    scales: tuple[int, ...] = (3, 4)
    codecs: tuple[str, ...] = ("x264", "x265")
    qps: tuple[int, ...] = tuple(range(12, 45, 4))
    frames: int | None = None


@dataclass(frozen=True)
class StudyPlan:
    """The settings of the study.

    Attributes
    ----------
    recordings : an AVEC 2016 or RECOLA tree, or synthetic recordings.
    out : ROOT.
    parts : what is run.
    scales : the factors s.
    rows : the methods.
    preset : one of `recipes.PRESETS`, for the lengths and batches of the trainings.
    changes : by net, beyond the preset: ``{"HQ": {"max_iter": 100}}``.
    max_factor : of Joint-OA's super-resolution; that of `switches` by default.
    mixture : factors of Joint-OA's training data.
    images : for super-resolution, if `switches.sr_images` is "natural"; otherwise, and by default, faces of the
        training recordings are used.
    boxes : a folder of face boxes; by default faces are detected.
    partitions : the recordings for training and for scoring.
    dimension : of the labels, or "both"; `out` is then `avec.layout.dimension_root` of ROOT.
    delay : of the gold standard, in seconds; see `crops.recording.PreparationSettings`.
    coded : the settings of Figure 4.
    previews : draw a contact sheet of each recording's crops and the trace of its labels, a second or two each.
    seed : of all random numbers.
    seeds : how often each net is trained, with `seed`, `seed` + 1, ...; the data are those of `seed`.
    threads : of a stage.
    device : see `common.devices.choose_device`.
    switches : where the paper is followed, and where the code.
    """

    recordings: Path
    out: Path
    parts: tuple[Part, ...] = (Part.TABLE,)
    scales: tuple[int, ...] = FACTORS
    rows: tuple[Method, ...] = tuple(Method)
    preset: str = "authors"
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    max_factor: int | None = None
    mixture: tuple[int, ...] = (3, 4, 6)
    images: Path | None = None
    boxes: Path | None = None
    partitions: Partitions = field(default_factory=Partitions)
    dimension: Dimension = "valence"
    delay: float = 0.0
    coded: CodedPlan = field(default_factory=CodedPlan)
    previews: bool = True
    seed: int = 0
    seeds: int = 1
    threads: int = 2
    device: str = "auto"
    switches: PaperSwitches = AS_CODE

    @property
    def logs(self) -> Path:
        """The folder of the stages' logs."""
        return self.out / "table" / "logs"

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
        """Whether nobody was filmed."""
        return (self.recordings / "synthetic.json").is_file()

    @property
    def shows_enlarged_faces(self) -> bool:
        """Whether the nets take enlarged faces as they are, with no statistics of a file."""
        return self.switches.input_size == "enlarged" and self.switches.normalisation != "file"

    @property
    def root(self) -> Path:
        """ROOT, which contains the results of both dimensions."""
        return shared_root(self.out, self.dimension)

    @property
    def score_folders(self) -> dict[str, str]:
        """The folders of scores and tables by dimension: two if nets learn valence and arousal together."""
        return {name: name for name in DIMENSIONS} if self.dimension == "both" else {self.dimension: ""}

    def preset_of(self, part: str) -> dict[str, Any]:
        """Return the changes of the preset and the user to a training, or to the data (``sr``)."""
        return {**recipes.preset(self.preset).get(part, {}), **self.changes.get(part, {})}


def validation_part(plan: StudyPlan, names: Sequence[str]) -> tuple[str, ...]:
    """Return the training recordings on which a plateau of the loss is found: none if `dev` is for that.

    They are spread evenly over the training recordings in natural order, so that every run has the same: train_3 and
    train_7 of AVEC's nine. A recording is a person, as in AVEC and RECOLA.

    Raises
    ------
    DataError
        Nothing would remain to learn from.
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
    """Refuse a plan that cannot be run.

    Raises
    ------
    DataError, FileError
        A setting is out of range, or images are missing.
    """
    invalid = {
        "parts": not plan.parts,
        "scales": not _are_factors(plan.scales),
        "rows": not plan.rows or any(row not in list(Method) for row in plan.rows),
        "preset": plan.preset not in recipes.PRESETS,
        "max_factor": not 2 <= plan.largest_factor <= 16,
        "mixture": not _are_factors(plan.mixture),
        "threads": plan.threads < 1,
        "seed": plan.seed < 0,
        "seeds": plan.seeds < 1,
        "delay": not 0 <= plan.delay < math.inf,
    }
    hints = {"rows": ", ".join(Method), "preset": ", ".join(recipes.PRESETS), "scales": "2 to 16, each once"}
    for name, is_invalid in invalid.items():
        if is_invalid:
            value, hint = getattr(plan, name), hints.get(name)
            raise DataError("out of range", code="out-of-range", field=name, value=value, hint=hint)
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


def _are_factors(values: Sequence[int]) -> bool:
    return bool(values) and len(set(values)) == len(values) and all(2 <= value <= 16 for value in values)


def _refuse(plan: StudyPlan, switch: str, *parts: Part) -> None:
    for part in parts:
        if part in plan.parts:
            problem = f"the part {part} cannot be run with it"
            others = " ".join(other for other in Part if other not in parts)
            raise DataError(
                problem, code="conflict", field=switch, value=getattr(plan.switches, switch), hint=f"--only {others}"
            )
