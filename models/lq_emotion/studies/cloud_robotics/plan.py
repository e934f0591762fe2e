"""Settings of the second paper's study, and checks before it runs."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from caffe_compat.errors import Code, DataError, did_you_mean
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, option
from lq_emotion.crops.versions import RATES, SIZES, Version
from lq_emotion.datasets.ferplus import Rule
from lq_emotion.datasets.ravdess import ActorSplit, Channel, Modality, RavdessClip, Window, cross_validation, find_clips
from lq_emotion.workflow.study import StudySettings

ALL = "all"
"""In place of a version's name: all of them."""
BEST = "best"
"""In place of a base's name: the one that is best on dev."""


@dataclass(frozen=True, kw_only=True)
class Preset(Record):
    """How long to train what.

    The text gives two dense layers on ResNet-50 without its top, SGD in two stages (the head on the frozen base, then
    everything), an LSTM of 1024 with two dense layers and Adam, windows of 30 frames, three sizes and three rates. It
    gives no rate, no batch, no number of iterations and no size of a dense layer; those of "paper" are ours.
    """

    hidden: int
    """Outputs of the head's first dense layer."""
    dropout: float | None
    """Share of them that training drops; None for no such layer."""
    batch: int
    """Images of a pass."""
    iter_size: int
    """Passes of an iteration of stage 2; stage 1 takes as many images in one pass."""
    stage1_lr: float
    stage2_lr: float
    stage1_iterations: int
    stage2_iterations: int
    weight_decay: float
    """Of both stages."""
    memory: int
    """Outputs of the LSTM."""
    sequence_hidden: int
    """Outputs of the first of its dense layers."""
    sequence_batch: int
    """Windows of an iteration."""
    sequence_lr: float
    sequence_iterations: int
    sizes: tuple[tuple[int, int], ...]
    """Width and height of a frame, of the versions of a clip."""
    rates: tuple[float, ...]
    """Frames per second of these versions; each size has each rate."""

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            value = getattr(self, name)
            if isinstance(value, int | float) and not value > 0 and (name, value) != ("weight_decay", 0):
                raise ValueError(f"{name} is {value}, expected more than 0")
        if not (self.sizes and self.rates):
            raise ValueError("there is no size or no rate")


_PAPER = Preset(
    hidden=512,
    dropout=0.5,
    batch=32,
    iter_size=2,
    stage1_lr=0.01,
    stage2_lr=0.001,
    stage1_iterations=3400,  # 10 epochs of 21,733 images, the training images with more than 5 votes
    stage2_iterations=3400,
    weight_decay=0.0005,
    memory=1024,  # the text's
    sequence_hidden=512,
    sequence_batch=32,
    sequence_lr=0.0001,
    sequence_iterations=1500,  # about 50 epochs of 960 clips, those of 16 of 24 actors
    sizes=SIZES,
    rates=RATES,
)
_SMALL = replace(
    _PAPER,
    hidden=64,
    dropout=None,
    batch=64,
    iter_size=1,
    stage2_lr=0.01,
    stage1_iterations=600,
    stage2_iterations=1500,
    memory=128,
    sequence_hidden=64,
    sequence_lr=0.002,
    sequence_iterations=600,
    sizes=((320, 180), (160, 90), (64, 36)),  # faces of 100, 50 and 20 pixels
)
PRESETS = {
    "paper": _PAPER,
    "small": _SMALL,
    "demo": replace(_SMALL, batch=32, stage1_iterations=300, stage2_iterations=500, sequence_iterations=120),
}
"""By name. "small" and "demo" are for small nets and small videos: two cores for an hour, or for three minutes."""


class Part(StrEnum):
    """A part of the study; its value is what users type.

    IMAGES is Table 1 and Figure 2, CLIPS the tables (a), (b), (c), Figure 3 and the transfer matrix, LINK the accuracy
    on coded video, from which ``lq-emotion link`` chooses. Each needs the one before.
    """

    IMAGES = "images"
    CLIPS = "clips"
    LINK = "link"


_LEFT_OPEN = "what the text leaves open"
_LINK = "the part link"


@dataclass(frozen=True, kw_only=True)
class Choices(Settings):
    """Settings for what the text leaves open, or states in two ways."""

    rule: Rule = option(
        Rule.MORE_THAN_5,
        "votes that give an image its class; more-than-5 fits the paper's accuracies",
        group=_LEFT_OPEN,
    )
    classes: Literal[7, 8] = option(7, "classes of FER+; 8 with contempt", group=_LEFT_OPEN)
    split: Literal["official", "random"] = option("official", "partitions of FER+", group=_LEFT_OPEN)
    window: Window = option(
        Window.CENTRE,
        "30 frames that the LSTM sees: the first, those in the middle, or from the whole clip",
        group=_LEFT_OPEN,
    )
    grow: float = option(
        0.3,
        "enlarge the box of a face by this part of its side; the default is that of VGGFace2's authors",
        least=0,
        most=2,
        group=_LEFT_OPEN,
    )
    channels: tuple[Channel, ...] = option((Channel.SPEECH,), "channels of RAVDESS", group=_LEFT_OPEN)
    folds: int = option(
        6, "folds of actors: one is tested, the next one chooses among snapshots", least=2, group=_LEFT_OPEN
    )
    fold: int = option(0, "the fold that is tested, from 0", least=0, metavar="K", group=_LEFT_OPEN)


def _base(text: str) -> tuple[str, str]:
    """Read ``vggface2=resnet50_ft.caffemodel``; a file becomes an absolute path, the name of a model stays."""
    name, equals, weights = text.partition("=")
    if not (name and equals and weights):
        raise ArgumentTypeError(f"{text!r} is not BASE=FILE, such as vggface2=resnet50_ft.caffemodel")
    return name, str(Path(weights).resolve()) if Path(weights).exists() else weights


def _change(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as batch=16") from None


@dataclass(frozen=True, kw_only=True)
class CloudPlan(StudySettings):
    """Settings of the study."""

    ferplus: Path = option(
        help="FER+: fer2013new.csv with fer2013.csv, or FER2013Train, FER2013Valid and FER2013Test", metavar="DIR"
    )
    ravdess: Path | None = option(None, "RAVDESS: folders Actor_01, Actor_02, ...", metavar="DIR")
    weights: Mapping[str, str] = option(
        help="nets to fine-tune, such as vggface2=FILE imagenet=FILE: a caffemodel of a published ResNet-50, another "
        "with NAME.prototxt and NAME.preprocess.json next to it, or the name of an installed model",
        read=_base,
        metavar="BASE=FILE",
    )
    parts: tuple[Part, ...] = option(
        tuple(Part),
        "images: Table 1 and Figure 2; clips: the tables of RAVDESS, Figure 3 and the transfer matrix; link: accuracy "
        "on coded video, for `lq-emotion link`. Each needs the ones before, which are run where they are missing",
        name="--only",
    )
    preset: Literal["paper", "small", "demo"] = option(
        "paper", "lengths, rates and sizes; small and demo are for small nets and videos"
    )
    changes: Mapping[str, Any] = option(
        {},
        "numbers of the preset to change: batch=16 sizes=[[1280,720],[480,360],[256,144]]; their names: docs",
        name="--set",
        read=_change,
        metavar="NAME=VALUE",
    )
    choices: Choices = field(default_factory=Choices, kw_only=True)
    trials: int = option(
        25, "trials of a Bayesian search for the rates of each net; 0 takes those of the preset", least=0
    )
    qps: tuple[int, ...] = option((24, 30, 36, 42), "quantisers", least=0, metavar="QP", group=_LINK)
    codec: str = option("x264", "x264, x265, vp9, av1 or mpeg4", group=_LINK)

    @property
    def recipe(self) -> Preset:
        """The lengths, rates and sizes of the preset, with the changes."""
        return Preset.from_json({**PRESETS[self.preset].to_json(), **self.changes})

    @property
    def labels(self) -> dict[str, Any]:
        """How FER+ is labelled and split: the options of `datasets.ferplus.labelled`."""
        choices = self.choices
        return {"rule": choices.rule, "classes": choices.classes, "split": choices.split, "seed": self.seed}

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
    def has_clips(self) -> bool:
        """Whether there is more than the part IMAGES."""
        return {*self.parts} != {Part.IMAGES}

    @property
    def synthetic(self) -> bool:
        """Whether no person was photographed or filmed."""
        folders = [folder for folder in (self.ferplus, self.ravdess) if folder is not None]
        return any((folder / "synthetic.json").is_file() for folder in folders)


def check(plan: CloudPlan) -> None:
    """Refuse a plan that cannot be run."""
    choices = plan.choices
    invalid = {
        "--fold": (choices.fold, choices.fold >= choices.folds, f"0 to {choices.folds - 1}"),
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
    if plan.ravdess is None and plan.has_clips:
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
