"""Which frame becomes which sample of an HDF5 file: everything that is random, drawn before any frame is read.

That is why a set need not be in memory to be shuffled: each chunk of the file can be gathered from its frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports.randstream import RandStream

Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_FRAMES = ("first", "middle", "last")


@dataclass(frozen=True)
class Options:
    """``options`` of ``generate_h5.m``, and what departs from it; the defaults are the script's.

    Attributes
    ----------
    mode
        ``single`` frames, or ``multi``: three consecutive frames as three channels.
    augmentation
        Mirror images. The script *replaces* every frame by its mirror image; see `keep_unflipped`.
    mean_sub, norm
        Subtract the mean and divide by the standard deviation of all values of the file, two numbers; see `mean` and
        `std`. They are taken before the samples that fill no chunk are dropped.
    split
        In multi mode, how many files to spread the samples over.
    mix, mix_lr
        Degrade every frame by a factor drawn from `mix_lr`. The script keeps only the degraded frame, and each frame
        has one factor for good; see `keep_clean` and `mix_epochs`.
    keep_clean
        With `mix`, the clean frames as well: twice the samples, shuffled together.
    keep_unflipped
        With `augmentation`, the frames as they are as well: twice the samples, shuffled together.
    mix_epochs
        With `mix`, this many passes over all frames behind each other, each with factors and an order of its own.
    mean, std
        Take these for `mean_sub` and `norm` instead of the file's own: those of the training set, for the test set.
    remainder
        ``drop`` the samples that do not fill a chunk, as the script does, or ``keep`` them in a last, shorter one.
    triplets
        For multi mode, which stops in the original. ``repaired``: its arrays as they would be with two more zero
        triplets at the end, one triplet per label; between two recordings lie two triplets of zeros, and `mix`
        degrades the first channel and the first two triplets' second one only. ``clean``: T - 2 triplets from T frames
        and no others; a frame is degraded once and looks the same in every channel.
    label_frame
        For clean triplets, which of the three frames gives the label; the script takes the first.
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
        for name, allowed in {
            "mode": ("single", "multi"),
            "remainder": ("drop", "keep"),
            "triplets": ("repaired", "clean"),
            "label_frame": _FRAMES,
        }.items():
            if getattr(self, name) not in allowed:
                raise _wrong(name, getattr(self, name), f"use {' or '.join(allowed)}")
        for name in ("split", "mix_epochs"):
            if getattr(self, name) < 1:
                raise _wrong(name, getattr(self, name), "use 1 or more")
        if self.mix and not (self.mix_lr and all(np.isfinite(f) and f >= 1 for f in self.mix_lr)):
            raise _wrong("mix_lr", self.mix_lr, "give factors of 1 or more")
        if self.std is not None and not self.std > 0:
            raise _wrong("std", self.std, "give a positive one")
        needs = {
            "keep_clean": ("mix", self.mix),
            "mix_epochs": ("mix", self.mix),
            "keep_unflipped": ("augmentation", self.augmentation),
            "mean": ("mean_sub", self.mean_sub),
            "std": ("norm", self.norm),
            "triplets": ("mode=multi", self.mode == "multi"),
            "split": ("mode=multi", self.mode == "multi"),
            "label_frame": ("triplets=clean", self.triplets == "clean"),
        }
        for name, (other, given) in needs.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and not given:
                raise _wrong(name, getattr(self, name), f"it works only with {other}")


def _wrong(name: str, value: object, hint: str) -> PortError:
    return PortError(f"{value!r} cannot be used", where=f"options.{name}", hint=hint)


@dataclass(frozen=True)
class Plan:
    """The samples, in the order of the file."""

    frames: Numbers  # (N, channels): number among all sources' frames; -1 is a picture of zeros
    factors: Doubles  # (N, channels): what the frame is degraded by; 0 is not at all
    mirrored: npt.NDArray[np.bool_]  # (N,)
    labels: Doubles  # (N,)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Numbers) -> Plan:
        return Plan(self.frames[rows], self.factors[rows], self.mirrored[rows], self.labels[rows])


def make_plan(counts: Sequence[int], valence: Doubles, options: Options, stream: RandStream) -> Plan:
    """Draw as the script does: a factor for every frame, then the order; so for every epoch.

    Parameters
    ----------
    counts
        Frames per recording.
    valence
        Of all recordings' frames behind each other.
    options
        What to make.
    stream
        Where the random numbers come from.
    """
    return _joined([_epoch(counts, valence, options, stream) for _ in range(options.mix_epochs)])


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
            plan = _joined([plan, Plan(frames, np.zeros_like(factors), plan.mirrored, labels)])
    if options.augmentation:
        mirror = Plan(plan.frames, plan.factors, ~plan.mirrored, plan.labels)
        # the script's flip(data, 2) leaves no picture as it was
        plan = _joined([plan, mirror]) if options.keep_unflipped else mirror
    return plan[stream.randperm(len(plan)) - 1]


def _joined(plans: Sequence[Plan]) -> Plan:
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
    """One triplet per frame: the script goes on by T although a recording has T - 2; what it skips stays zero."""
    frames = np.full((sum(counts), 3), -1, np.int64)
    start = 0
    for count in counts:
        if count > 2:
            frames[start : start + count - 2] = np.arange(start, start + count - 2)[:, None] + np.arange(3)
        start += count
    return frames


def _mix_by_linear_index(factors: Doubles, drawn: Doubles, counts: Sequence[int]) -> None:
    """``data(:,:,n)`` of a 4-d array runs through the first channel and on into the second.

    In the script a channel is as long as the last triplet reaches, two short of the number of frames.
    """
    ends = np.cumsum(counts)
    length = max([1, *(int(end) - 2 for end, count in zip(ends, counts, strict=True) if count > 2)])
    factors[:length, 0] = drawn[:length]
    factors[: len(drawn) - length, 1] = drawn[length:]
