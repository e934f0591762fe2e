"""Plan the samples of an HDF5 file: all random numbers are drawn before any frame is read.

So a set can be shuffled without being in memory: each chunk of the file is gathered from its frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import Code, PortError
from matlab_ports.randstream import RandStream

Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_FRAMES = ("first", "middle", "last")


@dataclass(frozen=True)
class Options:
    """The ``options`` of ``generate_h5.m`` and our additions; the defaults are the script's.

    Attributes
    ----------
    mode
        ``single`` frames, or ``multi``: three consecutive frames as three channels.
    augmentation
        Mirror images. The script *replaces* every frame by its mirror image; see `keep_unflipped`.
    mean_sub, norm
        Subtract the mean, and divide by the standard deviation, of all values of the file; see `mean` and `std`. They
        are computed before the samples that do not fill a chunk are dropped.
    split
        In multi mode, the number of files that the samples are spread over.
    mix, mix_lr
        Downsample every frame by a factor drawn from `mix_lr`, and upsample it again. The script keeps the degraded
        frame only, with one factor per frame; see `keep_clean` and `mix_epochs`.
    keep_clean
        With `mix`, write the clean frames too: twice the samples, shuffled together.
    keep_unflipped
        With `augmentation`, write the unflipped frames too: twice the samples, shuffled together.
    mix_epochs
        With `mix`, the number of passes over all frames, each with its own factors and order.
    mean, std
        Values for `mean_sub` and `norm` instead of the file's own: for a test set, those of the training set.
    remainder
        ``drop`` the samples that do not fill a chunk, as the script does, or ``keep`` them in a last, shorter chunk.
    triplets
        For multi mode, in which the original script fails. ``repaired``: its arrays with two more zero triplets at the
        end, one triplet per label; two zero triplets lie between recordings, and `mix` degrades only the first channel
        and the second channel of the first two triplets. ``clean``: exactly T - 2 triplets from T frames; a frame is
        degraded once and is the same in every channel.
    label_frame
        With clean triplets, the frame that gives the label; the script takes the first.
    """

    mode: Literal["single", "multi"] = "single"
    augmentation: bool = False
    mean_sub: bool = False
    norm: bool = False
    split: int = 1
    mix: bool = False
    mix_lr: tuple[float, ...] = (3, 4, 6)
    keep_clean: bool = False
    keep_unflipped: bool = False
    mix_epochs: int = 1
    mean: float | None = None
    std: float | None = None
    remainder: Literal["drop", "keep"] = "drop"
    triplets: Literal["repaired", "clean"] = "repaired"
    label_frame: Literal["first", "middle", "last"] = "first"

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(Options).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                choices = f"use {' or '.join(get_args(hint))}"
                raise _error("name-unknown", "unknown value", name, getattr(self, name), choices)
        for name in ("split", "mix_epochs"):
            if getattr(self, name) < 1:
                raise _error("out-of-range", "must be at least 1", name, getattr(self, name))
        if self.mix and not (self.mix_lr and all(np.isfinite(f) and f >= 1 for f in self.mix_lr)):
            raise _error("out-of-range", "expected factors of at least 1", "mix_lr", self.mix_lr)
        if self.std is not None and not self.std > 0:
            raise _error("out-of-range", "must be positive", "std", self.std)
        requirements = {
            "keep_clean": ("mix", self.mix),
            "mix_epochs": ("mix", self.mix),
            "keep_unflipped": ("augmentation", self.augmentation),
            "mean": ("mean_sub", self.mean_sub),
            "std": ("norm", self.norm),
            "triplets": ("mode=multi", self.mode == "multi"),
            "split": ("mode=multi", self.mode == "multi"),
            "label_frame": ("triplets=clean", self.triplets == "clean"),
        }
        for name, (other, enabled) in requirements.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and not enabled:
                raise _error("conflict", f"has no effect without {other}", name, getattr(self, name))


def _error(code: Code, problem: str, name: str, value: object, hint: str | None = None) -> PortError:
    return PortError(problem, code=code, field=f"options.{name}", value=value, hint=hint)


@dataclass(frozen=True)
class Plan:
    """The samples, in the order of the file."""

    frames: Numbers  # (N, channels): index among the frames of all recordings; -1 is a frame of zeros
    factors: Doubles  # (N, channels): factor of downsampling; 0 leaves the frame as it is
    mirrored: npt.NDArray[np.bool_]  # (N,)
    labels: Doubles  # (N,), or (N, 2)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Numbers) -> Plan:
        return Plan(self.frames[rows], self.factors[rows], self.mirrored[rows], self.labels[rows])


def make_plan(counts: Sequence[int], valence: Doubles, options: Options, stream: RandStream) -> Plan:
    """Draw a factor for every frame, then the order, in every epoch, as the script does; labels are (T,) or (T, 2)."""
    return _concatenate([_epoch(counts, valence, options, stream) for _ in range(options.mix_epochs)])


def _epoch(counts: Sequence[int], valence: Doubles, options: Options, stream: RandStream) -> Plan:
    count = sum(counts)
    frames, labels = np.arange(count)[:, None], valence
    if options.mode == "multi":
        clean = options.triplets == "clean"
        frames = _clean_triplets(counts) if clean else _repaired_triplets(counts)
        # the script labels a triplet by its first frame, and the zero triplets by the last two of the recording
        labels = valence[frames[:, _FRAMES.index(options.label_frame)]] if clean else valence
    factors = np.zeros(frames.shape)
    plan = Plan(frames, factors, np.zeros(len(labels), bool), labels)
    if options.mix:
        lr = np.asarray(options.mix_lr, np.float64)
        drawn = lr[stream.unidrnd(len(lr), 1, count)[0] - 1]
        if options.mode == "multi" and options.triplets == "repaired":
            _mix_by_linear_index(factors, drawn, counts)
        else:
            factors[...] = drawn[frames]
        if options.keep_clean:
            plan = _concatenate([plan, Plan(frames, np.zeros_like(factors), plan.mirrored, labels)])
    if options.augmentation:
        mirror = Plan(plan.frames, plan.factors, ~plan.mirrored, plan.labels)
        # the script's flip(data, 2) mirrors every frame
        plan = _concatenate([plan, mirror]) if options.keep_unflipped else mirror
    return plan[stream.randperm(len(plan)) - 1]


def _concatenate(plans: Sequence[Plan]) -> Plan:
    if len(plans) == 1:
        return plans[0]
    fields: list[Any] = [
        np.concatenate([getattr(plan, name) for plan in plans]) for name in ("frames", "factors", "mirrored", "labels")
    ]
    return Plan(*fields)


def _clean_triplets(counts: Sequence[int]) -> Numbers:
    starts = np.cumsum([0, *counts[:-1]])
    firsts = [np.arange(start, start + count - 2) for start, count in zip(starts, counts, strict=True)]
    return np.concatenate(firsts)[:, None] + np.arange(3)


def _repaired_triplets(counts: Sequence[int]) -> Numbers:
    """One triplet per frame: the script advances by T although a recording has T - 2; skipped triplets stay zero."""
    frames = np.full((sum(counts), 3), -1, np.int64)
    start = 0
    for count in counts:
        if count > 2:
            frames[start : start + count - 2] = np.arange(start, start + count - 2)[:, None] + np.arange(3)
        start += count
    return frames


def _mix_by_linear_index(factors: Doubles, drawn: Doubles, counts: Sequence[int]) -> None:
    """Reproduce a slip: ``data(:,:,n)`` of a 4-d array runs through the first channel and on into the second.

    In the script a channel ends with the last triplet, two short of the number of frames.
    """
    ends = np.cumsum(counts)
    length = max([1, *(int(end) - 2 for end, count in zip(ends, counts, strict=True) if count > 2)])
    factors[:length, 0] = drawn[:length]
    factors[: len(drawn) - length, 1] = drawn[length:]
