"""Gather samples from recordings on the disk, and compute statistics over all of them."""

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

from matlab_ports._recordings.labels import LABELS, read_label_names
from matlab_ports._recordings.plan import Doubles, Plan
from matlab_ports._support.errors import PortError
from matlab_ports.imresize import imresize
from matlab_ports.matfile import Frames, loadmat, open_frames

Single = npt.NDArray[np.float32]
_T = TypeVar("_T")
_R = TypeVar("_R")


class Scaling(NamedTuple):
    """The mean to subtract and the standard deviation to divide by; None for neither."""

    mean: float | None = None
    std: float | None = None


class Sources:
    """Recordings opened for reading: MAT-files with ``video`` H x W x T and labels 1 x T.

    `counts` are their frames; `labels` those of all frames, (T,), or (T, 2) valence and arousal of files with both.
    """

    def __init__(self, paths: Sequence[str | Path], size: int, *, scratch: Path | None, threads: int) -> None:
        self._stack = ExitStack()
        self._size = size
        if not paths:
            raise PortError("no recordings given", code="empty", field="input")
        self.paths = [Path(path) for path in paths]
        names = [read_label_names(path) or LABELS[:1] for path in self.paths]
        for path, held in zip(self.paths, names, strict=True):
            if held != names[0]:
                problem = f"contains labels of {' and '.join(held)}, {self.paths[0].name} of {' and '.join(names[0])}"
                raise PortError(problem, code="mismatch", file=path)
        labels = [_read_labels(path, names[0]) for path in self.paths]
        with ExitStack() as stack, ThreadPoolExecutor(threads) as pool:
            opened = [pool.submit(open_frames, path, scratch=scratch) for path in self.paths]
            errors = [error for future in opened if (error := future.exception())]
            self._frames: list[Frames] = [stack.enter_context(f.result()) for f in opened if not f.exception()]
            if errors:
                raise errors[0]
            for path, frames, values in zip(self.paths, self._frames, labels, strict=True):
                _require_frames(path, frames, values, size)
            self._stack = stack.pop_all()
        self.counts = [len(frames) for frames in self._frames]
        self.labels = np.concatenate(labels)
        self._starts = np.cumsum([0, *self.counts])

    @property
    def pixels(self) -> int:
        """Number of pixels in a frame."""
        return self._size**2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def images(self, plan: Plan) -> Doubles:
        """Return samples, degraded but neither mirrored nor scaled: (H, W, channels, N) in double, column-major."""
        images = np.empty(self.shape(plan), order="F")
        stack = self._gather(plan, images)
        factors = plan.factors.ravel()
        for factor in np.unique(factors[factors > 0]):
            (places,) = np.nonzero(factors == factor)
            stack[:, :, places] = degrade_stack(stack[:, :, places], float(factor))
        return images

    def shape(self, plan: Plan) -> tuple[int, int, int, int]:
        """Return the shape of `images`."""
        return (self._size, self._size, plan.frames.shape[1], len(plan))

    def _gather(self, plan: Plan, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Read frames into `out`, and return it as one stack (H, W, channels * N)."""
        stack = out.reshape(self._size, self._size, -1, order="F")
        numbers = plan.frames.ravel()
        recordings = np.searchsorted(self._starts, numbers, "right") - 1
        indices = numbers - self._starts[recordings]
        for place, (recording, index) in enumerate(zip(recordings.tolist(), indices.tolist(), strict=True)):
            if recording < 0:  # a frame of zeros
                stack[:, :, place] = 0
            else:
                self._frames[recording].read_into(index, stack[:, :, place])
        return stack

    def samples(self, plan: Plan, scaling: Scaling, out: Single) -> Single:
        """Read samples as the file stores them, mirrored and scaled, in single, into `out`."""
        mirrored = plan.mirrored
        if scaling == Scaling() and not plan.factors.any() and not mirrored.any():
            self._gather(plan, out)
            return out
        data = self.images(plan)
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


def degrade_stack(stack: npt.NDArray[Any], factor: float) -> npt.NDArray[Any]:
    """Apply ``imresize(imresize(frame, 1/factor), size(frame))`` to every frame of (H, W, n), in one thread.

    The script resizes back to [96, 96], so it works for frames of that size only.
    """
    images = stack.transpose(2, 1, 0)  # their order in memory: n, W, H
    small = imresize(images, 1 / factor, "bicubic", axes=(-1, -2), threads=1)
    size = (stack.shape[0], stack.shape[1])
    return imresize(small, size, "bicubic", axes=(-1, -2), threads=1).transpose(2, 1, 0)


def compute_scaling(
    sources: Sources, plan: Plan, mean: float | None, std: float | None, *, enabled: tuple[bool, bool], threads: int
) -> Scaling:
    """Compute ``mean(data(:))``, and ``std(data(:))`` after its subtraction, over all samples.

    Samples are summed one by one and their sums added exactly, so that neither the order of the samples nor the number
    of threads changes a bit. MATLAB adds in its own order: the last digits of a double may differ. `mean` and `std`
    replace what would be computed; `enabled` tells whether to subtract a mean, and whether to divide by a deviation.
    """
    mean_sub, norm = enabled
    if not (mean_sub and mean is None) and not (norm and std is None):
        return Scaling(mean if mean_sub else None, std if norm else None)
    in_file_order = plan[np.argsort(plan.frames[:, 0], kind="stable")]
    parts = [in_file_order[start : start + 128] for start in range(0, len(in_file_order), 128)]
    values = plan.frames.size * sources.pixels

    def progress(statistic: str) -> Iterable[Plan]:
        bar: Iterable[Plan] = tqdm(parts, desc=statistic, unit=" batches", disable=None, leave=False)
        return bar

    shift = mean
    if shift is None:
        sums = map_in_order(lambda part: _sums(sources.images(part)), progress("mean"), threads)
        shift = math.fsum(value for part in sums for value in part) / values
    if not norm:
        return Scaling(shift, None)
    if std is None:
        # MATLAB's std subtracts the mean once more: after the first subtraction it is not quite zero
        squares = map_in_order(lambda part: _squares(sources.images(part), shift), progress("std"), threads)
        rows = [row for part in squares for row in part]
        total = math.fsum(row[0] for row in rows)
        remainder = math.fsum(row[1] for row in rows)
        if total <= 0:
            problem = "all values are equal, so their standard deviation is 0"
            raise PortError(problem, code="out-of-range", field="options.norm", hint="leave out norm")
        std = math.sqrt((total - remainder * remainder / values) / (values - 1))
    return Scaling(shift if mean_sub else None, std)


def _rows(images: Doubles) -> Doubles:
    """Return the images with one contiguous row per sample."""
    return images.reshape(-1, images.shape[-1], order="F").T


def _sums(images: Doubles) -> list[float]:
    sums: list[float] = _rows(images).sum(axis=1).tolist()
    return sums


def _squares(images: Doubles, shift: float) -> list[tuple[float, float]]:
    """Return, per sample, the sums of squares and of values after the subtraction of `shift`."""
    rows = _rows(images) - shift
    return list(zip((rows * rows).sum(axis=1).tolist(), rows.sum(axis=1).tolist(), strict=True))


def map_in_order(work: Callable[[_T], _R], items: Iterable[_T], threads: int) -> Iterator[_R]:
    """Map in threads, a few items ahead of the consumer of the results."""
    pending: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > threads + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _read_labels(path: Path, names: Sequence[str]) -> Doubles:
    columns = [_read_label(path, name) for name in names]
    if len({len(column) for column in columns}) > 1:
        counts = " and ".join(f"{len(column)} of {name}" for name, column in zip(names, columns, strict=True))
        raise PortError(f"has {counts}", code="wrong-count", file=path, hint="prepare the recording again")
    return np.stack(columns, axis=1) if len(names) > 1 else columns[0]


def _read_label(path: Path, name: str) -> Doubles:
    values = loadmat(path, [name])[name]
    if values.dtype.kind not in "fiu" or values.size != max(values.shape):
        problem = f"has shape {' x '.join(map(str, values.shape))} and type {values.dtype}, expected numbers 1 x T"
        raise PortError(problem, code="shape-mismatch", file=path, field=name)
    labels = values.astype(np.float64).ravel()
    invalid = np.flatnonzero(~np.isfinite(labels))
    if len(invalid):
        place = invalid[0]
        problem = f"frame {place + 1} has label {labels[place]}; {len(invalid)} of {len(labels)} are not finite"
        hint = "prepare the recording again from a gold standard without gaps"
        raise PortError(problem, code="not-finite", file=path, field=name, hint=hint)
    return labels


def _require_frames(path: Path, frames: Frames, labels: Doubles, size: int) -> None:
    if frames.shape[:2] != (size, size):
        height, width, _ = frames.shape
        problem = f"frames are {height} x {width}, inputsz expects {size} x {size}"
        raise PortError(problem, code="shape-mismatch", file=path, field="video", hint="change inputsz")
    if len(frames) != len(labels):
        problem = f"has {len(frames)} frames but {len(labels)} labels"
        raise PortError(problem, code="wrong-count", file=path, hint="prepare the recording again")
