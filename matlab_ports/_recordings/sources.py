"""Gather the pictures of a chunk of samples from recordings on the disk, and take statistics of all of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from matlab_ports._recordings.labels import label_of
from matlab_ports._recordings.plan import Doubles, Plan
from matlab_ports._support.errors import PortError
from matlab_ports.imresize import imresize
from matlab_ports.matfile import Frames, loadmat, open_frames

Single = npt.NDArray[np.float32]
_T = TypeVar("_T")
_R = TypeVar("_R")


class Scaling(NamedTuple):
    """What is subtracted and what is divided by."""

    mean: float | None = None
    std: float | None = None


class Sources:
    """Recordings opened for their frames: ``video`` H x W x T and ``valence`` 1 x T in a MAT-file each.

    Attributes
    ----------
    counts
        Frames per recording.
    valence
        Of all frames, one recording after the other.
    """

    def __init__(self, paths: Sequence[str | Path], size: int, *, scratch: Path | None, threads: int) -> None:
        self._stack = ExitStack()
        self._size = size
        if not paths:
            raise PortError("names no recording", where="input")
        self.paths = [Path(path) for path in paths]
        labels = [_valence(path) for path in self.paths]
        with ExitStack() as stack, ThreadPoolExecutor(threads) as pool:
            opened = [pool.submit(open_frames, path, scratch=scratch) for path in self.paths]
            errors = [error for future in opened if (error := future.exception())]
            self._frames: list[Frames] = [stack.enter_context(f.result()) for f in opened if not f.exception()]
            if errors:
                raise errors[0]
            for path, frames, valence in zip(self.paths, self._frames, labels, strict=True):
                _check(path, frames, valence, size)
            self._stack = stack.pop_all()
        self.counts = [len(frames) for frames in self._frames]
        self.valence = np.concatenate(labels)
        self._starts = np.cumsum([0, *self.counts])

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return self._size**2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pictures(self, plan: Plan) -> Doubles:
        """The pictures of some samples, degraded but not mirrored or scaled.

        Returns
        -------
        numpy.ndarray
            (H, W, channels, N), the first axis contiguous: in memory it is N, channels, W, H.
        """
        pictures = np.empty(self.shape(plan), order="F")
        stack = self._gather(plan, pictures)
        factors = plan.factors.ravel()
        for factor in np.unique(factors[factors > 0]):
            (places,) = np.nonzero(factors == factor)
            stack[:, :, places] = degraded(stack[:, :, places], float(factor))
        return pictures

    def shape(self, plan: Plan) -> tuple[int, int, int, int]:
        """Of the pictures of some samples."""
        return (self._size, self._size, plan.frames.shape[1], len(plan))

    def _gather(self, plan: Plan, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Read the pictures into `out`; return it as one stack."""
        stack = out.reshape(self._size, self._size, -1, order="F")
        numbers = plan.frames.ravel()
        owners = np.searchsorted(self._starts, numbers, "right") - 1
        inside = numbers - self._starts[owners]
        for place, (owner, index) in enumerate(zip(owners.tolist(), inside.tolist(), strict=True)):
            if owner < 0:  # a picture of zeros
                stack[:, :, place] = 0
            else:
                self._frames[owner].read_into(index, stack[:, :, place])
        return stack

    def samples(self, plan: Plan, scaling: Scaling, out: Single) -> Single:
        """`pictures` as they go into the file, mirrored, scaled, single, in `out`."""
        mirrored = plan.mirrored
        if scaling == Scaling() and not plan.factors.any() and not mirrored.any():
            self._gather(plan, out)
            return out
        data = self.pictures(plan)
        if mirrored.all():
            data = data[:, ::-1]  # flip(data, 2)
        elif mirrored.any():
            data[..., mirrored] = data[:, ::-1][..., mirrored]
        if scaling.mean is not None:
            data -= scaling.mean
        if scaling.std is not None:
            data /= scaling.std
        out[...] = data
        return out


def degraded(stack: npt.NDArray[Any], factor: float) -> npt.NDArray[Any]:
    """``imresize(imresize(frame, 1/factor), size(frame))`` of every frame of H x W x n, in one thread.

    The script resizes back to [96, 96] and so works for frames of that size only.
    """
    pictures = stack.transpose(2, 1, 0)  # as they lie in memory: n, W, H
    small = imresize(pictures, 1 / factor, "bicubic", axes=(-1, -2), threads=1)
    size = (stack.shape[0], stack.shape[1])
    return imresize(small, size, "bicubic", axes=(-1, -2), threads=1).transpose(2, 1, 0)


def scaling_of(
    sources: Sources, plan: Plan, mean: float | None, std: float | None, *, wanted: tuple[bool, bool], threads: int
) -> Scaling:
    """``mean(data(:))`` and ``std(data(:))`` after it is subtracted, over all samples.

    Frames are summed one by one and the sums added exactly, so that neither the order of the samples nor how many are
    worked on at once changes a bit. MATLAB adds in an order of its own: the last digits of a double may differ.

    Parameters
    ----------
    mean, std
        Given values, which are not computed.
    wanted
        Whether a mean and whether a standard deviation is needed.
    """
    mean_sub, norm = wanted
    own_mean, own_std = mean_sub and mean is None, norm and std is None
    if not own_mean and not own_std:
        return Scaling(mean if mean_sub else None, std if norm else None)
    by_place = plan[np.argsort(plan.frames[:, 0], kind="stable")]
    parts = [by_place[start : start + 128] for start in range(0, len(by_place), 128)]
    values = plan.frames.size * sources.pixels

    def progress(what: str) -> Iterable[Plan]:
        bar: Iterable[Plan] = tqdm(parts, desc=what, unit=" batches", disable=None, leave=False)
        return bar

    shift = mean
    if shift is None:
        sums = in_order(lambda part: _sums(sources.pictures(part)), progress("mean"), threads)
        shift = math.fsum(value for part in sums for value in part) / values
    if not norm:
        return Scaling(shift, None)
    if std is None:
        # std takes the mean of what it is given: after a mean has been subtracted that is not quite zero
        squares = in_order(lambda part: _squares(sources.pictures(part), shift), progress("std"), threads)
        rows = [row for part in squares for row in part]
        total = math.fsum(row[0] for row in rows)
        rest = math.fsum(row[1] for row in rows)
        if total <= 0:
            raise PortError("all values are the same: they cannot be divided by their standard deviation", where="norm")
        std = math.sqrt((total - rest * rest / values) / (values - 1))
    return Scaling(shift if mean_sub else None, std)


def _flat(pictures: Doubles) -> Doubles:
    """One contiguous row per sample."""
    return pictures.reshape(-1, pictures.shape[-1], order="F").T


def _sums(pictures: Doubles) -> list[float]:
    sums: list[float] = _flat(pictures).sum(axis=1).tolist()
    return sums


def _squares(pictures: Doubles, shift: float) -> list[tuple[float, float]]:
    """Sums of squares and of values, per sample, of what is left after subtracting."""
    rows = _flat(pictures) - shift
    return list(zip((rows * rows).sum(axis=1).tolist(), rows.sum(axis=1).tolist(), strict=True))


def in_order(work: Callable[[_T], _R], items: Iterable[_T], threads: int) -> Iterator[_R]:
    """Like ``map``, in threads, a few items ahead of whoever takes the results."""
    waiting: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _valence(path: Path) -> Doubles:
    name = label_of(path)
    values = loadmat(path, [name])[name]
    if values.dtype.kind not in "fiu" or values.size != max(values.shape):
        raise PortError(f"{name} is {' x '.join(map(str, values.shape))} {values.dtype}, not 1 x T", where=path)
    labels = values.astype(np.float64).ravel()
    wrong = np.flatnonzero(~np.isfinite(labels))
    if len(wrong):
        raise PortError(
            f"{name}({wrong[0] + 1}) is {labels[wrong[0]]} ({len(wrong)} of {len(labels)} are not finite)",
            where=path,
            hint="prepare it again from a gold standard without gaps",
        )
    return labels


def _check(path: Path, frames: Frames, valence: Doubles, size: int) -> None:
    if frames.shape[:2] != (size, size):
        height, width, _ = frames.shape
        raise PortError(f"frames are {height} x {width}, not {size} x {size}", where=path, hint="change inputsz")
    if len(frames) != len(valence):
        raise PortError(f"{len(frames)} frames but {len(valence)} labels", where=path, hint="prepare it again")
