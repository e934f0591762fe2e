"""What a study of the second paper is to hold, and whether it can be run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_compat.errors import Code, DataError, did_you_mean
from lq_emotion.common.records import Record
from lq_emotion.crops.versions import Version
from lq_emotion.datasets.ferplus.selection import FerSettings
from lq_emotion.datasets.ferplus.votes import Rule
from lq_emotion.datasets.ravdess.clips import Channel, Modality, RavdessClip, find_clips
from lq_emotion.datasets.ravdess.split import ActorSplit, cross_validation
from lq_emotion.datasets.ravdess.windows import Window
from lq_emotion.studies.cloud_robotics.recipes import PRESETS, Preset
from lq_emotion.studies.cloud_robotics.results import ALL

BEST = "best"
"""In place of a base's name: the one that is best on dev."""


class Part(StrEnum):
    """A part of the study; its value is what users type.

    IMAGES is Table 1 and Figure 2, CLIPS the tables (a), (b), (c), Figure 3 and the transfer matrix, LINK the accuracy
    on coded video, from which ``lq-emotion link`` chooses. Each needs the one before.
    """

    IMAGES = "images"
    CLIPS = "clips"
    LINK = "link"


@dataclass(frozen=True, kw_only=True)
class Choices(Record):
    """What the text leaves open, or says twice.

    Attributes
    ----------
    rule : which of the readings of "majority vote" gives an image its class.
    classes : of FER+: 7, or 8 with contempt.
    split : of FER+: ``official``, or ``random``.
    window : which 30 frames of a clip the LSTM sees.
    grow : the part of its side by which the box of a face is enlarged.
    channels : of RAVDESS: speech, song or both.
    folds : of actors; one is tested, the next one chooses among snapshots.
    fold : which one is tested, from 0.
    """

    rule: Rule = Rule.MORE_THAN_5
    classes: int = 7
    split: str = "official"
    window: Window = Window.CENTRE
    grow: float = 0.3
    channels: tuple[Channel, ...] = (Channel.SPEECH,)
    folds: int = 6
    fold: int = 0


@dataclass(frozen=True)
class CloudPlan:
    """The settings of the study.

    Attributes
    ----------
    out : ROOT.
    ferplus, ravdess : the data sets. Without RAVDESS there are images only.
    weights : of the nets to fine-tune, by the name of the base: ``vggface2``, ``imagenet``, or another. A caffemodel,
        or what else `nets.known.loading.find_description` takes.
    parts : what is run.
    preset : one of `recipes.PRESETS`.
    changes : of the preset, by the names of its fields.
    choices : where the text leaves a choice.
    trials : of the search for the rates of each base; 0 for those of the preset.
    qps : of the part LINK.
    codec : of the part LINK.
    seed : of all random numbers.
    threads : of a stage.
    device : see `common.devices.choose_device`.
    """

    out: Path
    ferplus: Path
    ravdess: Path | None
    weights: Mapping[str, str]
    parts: tuple[Part, ...] = tuple(Part)
    preset: str = "paper"
    changes: Mapping[str, Any] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)
    trials: int = 0
    qps: tuple[int, ...] = (24, 30, 36, 42)
    codec: str = "x264"
    seed: int = 0
    threads: int = 2
    device: str = "auto"

    @property
    def logs(self) -> Path:
        """The folder of the stages' logs."""
        return self.out / "logs"

    @property
    def recipe(self) -> Preset:
        """The lengths, rates and sizes of the preset, with the changes."""
        return Preset.from_json({**PRESETS[self.preset].to_json(), **self.changes})

    @property
    def labels(self) -> FerSettings:
        """How FER+ is labelled and split."""
        return FerSettings(self.choices.rule, self.choices.classes, self.choices.split, self.seed)

    @property
    def versions(self) -> tuple[Version, ...]:
        """The versions of each clip: nine in the paper."""
        sizes, rates = self.recipe.sizes, self.recipe.rates
        return tuple(Version(width, height, rate) for width, height in sizes for rate in rates)

    @property
    def coded(self) -> tuple[Version, ...]:
        """The coded versions, of the part LINK."""
        return tuple(replace(version, qp=qp, codec=self.codec) for version in self.versions for qp in self.qps)

    @property
    def regimes(self) -> dict[str, tuple[Version, ...]]:
        """The versions that each LSTM is trained on, by its name."""
        return {version.name: (version,) for version in self.versions} | {ALL: self.versions}

    @cached_property
    def clips(self) -> tuple[RavdessClip, ...]:
        """The clips with sound: those without show the same takes."""
        assert self.ravdess is not None
        return find_clips(self.ravdess, channels=self.choices.channels, modalities=(Modality.AV,))

    @cached_property
    def split(self) -> ActorSplit:
        """The actors of each side."""
        actors = {clip.actor for clip in self.clips}
        folds = min(self.choices.folds, len(actors))
        return cross_validation(actors, folds, seed=self.seed)[self.choices.fold % folds]

    @property
    def synthetic(self) -> bool:
        """Whether nobody was photographed or filmed."""
        folders = [folder for folder in (self.ferplus, self.ravdess) if folder is not None]
        return any((folder / "synthetic.json").is_file() for folder in folders)


def check(plan: CloudPlan) -> None:
    """Refuse a plan that cannot be run.

    Raises
    ------
    DataError
        A setting is out of range, or data are missing.
    """
    choices = plan.choices
    invalid = {
        "--preset": (plan.preset, plan.preset not in PRESETS, ", ".join(PRESETS)),
        "--trials": (plan.trials, plan.trials < 0, "0 or more"),
        "--threads": (plan.threads, plan.threads < 1, "1 or more"),
        "--seed": (plan.seed, plan.seed < 0, "0 or more"),
        "--classes": (choices.classes, choices.classes not in (7, 8), "7 or 8"),
        "--grow": (choices.grow, not 0 <= choices.grow <= 2, "0 to 2"),
        "--folds": (choices.folds, choices.folds < 2, "2 or more"),
        "--fold": (choices.fold, not 0 <= choices.fold < choices.folds, f"0 to {choices.folds - 1}"),
        "--qps": (plan.qps, not plan.qps, "one or more"),
        "--weights": (", ".join(plan.weights), not plan.weights, "--weights vggface2=FILE imagenet=FILE"),
    }
    for name, (value, is_invalid, hint) in invalid.items():
        if is_invalid:
            raise DataError("out of range", code="out-of-range", field=name, value=value, hint=hint)
    _check_changes(plan)
    for name in plan.weights:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name == BEST or name.startswith("lstm-"):
            hint = f"letters, digits, - and _, but not {BEST} or lstm-..."
            raise DataError("cannot name files", code="invalid", field="--weights", value=name, hint=hint)
    if plan.ravdess is None and plan.parts != (Part.IMAGES,):
        hint = "--ravdess DIR, or --only images"
        raise DataError("the clips need RAVDESS", code="field-missing", field="--ravdess", hint=hint)


def _check_changes(plan: CloudPlan) -> None:
    fields = PRESETS[plan.preset].to_json()
    for name, value in plan.changes.items():
        if name not in fields:
            hint = did_you_mean(name, fields) or ", ".join(fields)
            raise DataError("the preset has no such field", code="name-unknown", field="--set", value=name, hint=hint)
        try:
            replace(plan, changes={name: value}).recipe  # noqa: B018
        except (TypeError, ValueError) as error:
            hint = f"it is {fields[name]} in {plan.preset}"
            code: Code = "wrong-type" if isinstance(error, TypeError) else "out-of-range"
            raise DataError(str(error), code=code, field="--set", value=f"{name}={value}", hint=hint) from None
