"""The authors' ``generate_h5.m``: recordings' frames and valence, shuffled, as an HDF5 file Caffe reads.

The script joins all recordings in memory, degrades (``mix``), shuffles, mirrors, subtracts and divides there, and
writes full chunks. Here everything random is drawn first, and each chunk is then gathered from the recordings: the same
file, but no more than a few chunks in memory.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from matlab_ports._recordings.chunk_file import ChunkFile, chunk_file
from matlab_ports._recordings.plan import Doubles, Options, Plan, make_plan
from matlab_ports._recordings.sources import Scaling, Single, Sources, in_order, scaling_of
from matlab_ports._support.errors import PortError
from matlab_ports._support.writing import clear_disk_errors, require_folder
from matlab_ports.randstream import RandStream

__all__ = ["Options", "WrittenH5", "generate_h5"]

_VERSION = 1  # of the files' content; another one makes half-done work unusable


class WrittenH5(NamedTuple):
    """What a run wrote."""

    savepaths: tuple[Path, ...]
    recordings: int
    samples: int  # made
    written: int  # of them, in the files
    resumed: int  # of them, left by an interrupted run
    position: int  # where the random stream stands now
    mean: float | None  # subtracted
    std: float | None  # divided by


def generate_h5(
    input: Sequence[str | Path],  # noqa: A002 (the script's name)
    inputsz: int = 96,
    savepath: str | Path = "train",
    chunksz: int = 128,
    options: Options | None = None,
    *,
    stream: RandStream | None = None,
    resume: bool = True,
    threads: int | None = None,
    scratch: str | Path | None = None,
) -> WrittenH5:
    """Write ``/data`` (N, 1, inputsz, inputsz) and ``/label`` (N, 1) as MATLAB does.

    The order is the script's: mix, shuffle, mirror, subtract the mean, divide by the standard deviation, drop what does
    not fill a chunk. **Pictures lie transposed in the file** (see `matlab_ports.store2hdf5`).

    Parameters
    ----------
    input
        MAT-files with ``video`` (inputsz x inputsz x T) and ``valence`` (1 x T).
    inputsz
        Side of a frame. With `Options.mix` the script works for 96 only; here frames come back to their size.
    savepath
        The HDF5 file without ``.h5``, in a folder that exists; in multi mode ``_1``, ``_2``, ... are added as well.
    chunksz
        Samples per chunk.
    options
        What to make; by default what the script is called with.
    stream
        The random stream; by default that of a MATLAB just started. Hand the same one to the next call of a session.
        For each epoch of `Options.mix_epochs` it gives one number per frame (with mix), then one per sample.
    resume
        Go on from an interrupted run for the same recordings, options and random numbers; leave a finished file of
        theirs as it is.
    threads
        How many gather and degrade; by default as many as there are processors. The file does not depend on it.
    scratch
        Where deflated recordings (``-v7``) are inflated to; by default beside `savepath`. They take 8 bytes a value
        there, and most of the time without mix; those of ``-v6`` are read from their place.

    Returns
    -------
    WrittenH5

    Raises
    ------
    PortError
        Names the file or the setting that is wrong, and what would work. The random stream may have moved on.
    """
    stream = RandStream() if stream is None else stream
    options = Options() if options is None else options
    threads = threads or _processors()
    paths = _savepaths(Path(savepath), options)
    for name, value in {"inputsz": inputsz, "chunksz": chunksz}.items():
        if value < 1:
            raise PortError(f"{value} is not a positive whole number", where=name)
    for path in paths:
        require_folder(path)
    folder = paths[0].parent if scratch is None else Path(scratch)
    with Sources(input, inputsz, scratch=folder, threads=threads) as sources:
        start = stream.position
        if options.triplets == "clean":
            _require_three(sources)
        plan = make_plan(sources.counts, sources.valence, options, stream)
        new_count = len(plan) // len(paths)
        parts = [plan[i * new_count : (i + 1) * new_count] for i in range(len(paths))]
        parts = [part if options.remainder == "keep" else part[: new_count // chunksz * chunksz] for part in parts]
        if not len(parts[0]):
            raise PortError(
                f"{new_count} samples for {paths[0].name} do not fill one chunk of {chunksz}",
                where="input",
                hint="give more recordings, smaller chunks (chunksz, --chunk), or keep the rest (remainder: keep)",
            )
        print_of_inputs = [
            _VERSION, [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in sources.paths],
            inputsz, chunksz, dataclasses.asdict(options), stream.seed, start,
        ]  # fmt: skip
        run = _Run(sources, plan, options, chunksz, threads)
        for path, part in zip(paths, parts, strict=True):
            with clear_disk_errors(path), chunk_file(path, print_of_inputs, chunksz, resume=resume) as file:
                run.write(file, part, path.name)
    return WrittenH5(
        tuple(paths),
        len(sources.paths),
        len(plan),
        sum(map(len, parts)),
        run.resumed,
        stream.position,
        *run.scaling or Scaling(),
    )


def _noted(file: ChunkFile) -> Scaling | None:
    """Return what an earlier run noted; None where it noted nothing, or something else."""
    match file.facts.get("scaling"):
        case [int() | float() | None as mean, int() | float() | None as std]:
            return Scaling(mean, std)
    return None


class _Run:
    """The files of one call: they share statistics."""

    def __init__(self, sources: Sources, plan: Plan, options: Options, chunksz: int, threads: int) -> None:
        self._sources, self._plan, self._options = sources, plan, options
        self._chunksz, self._threads = chunksz, threads
        self.scaling: Scaling | None = None
        self.resumed = 0

    def write(self, file: ChunkFile, part: Plan, name: str) -> None:
        if self.scaling is None:
            self.scaling = _noted(file) or self._scaling()
        if file.complete:
            self.resumed += len(part)
            return
        file.note(scaling=self.scaling)
        room = part.frames.size * self._sources.pixels * 4
        progress = tqdm(total=len(part), desc=name, unit=" samples", disable=None, leave=False)
        with progress:
            file.write(self._batches(file, part, self.scaling, progress), room)
        self.resumed += min(file.done * self._chunksz, len(part))

    def _scaling(self) -> Scaling:
        options = self._options
        wanted = (options.mean_sub, options.norm)
        return scaling_of(self._sources, self._plan, options.mean, options.std, wanted=wanted, threads=self._threads)

    def _batches(
        self, file: ChunkFile, part: Plan, scaling: Scaling, progress: Any
    ) -> Iterator[tuple[Single, Doubles]]:
        chunks = [part[start : start + self._chunksz] for start in range(0, len(part), self._chunksz)]
        free: list[Single] = []  # arrays that were written, used again: fresh memory is slow

        def make(number: int) -> Single:
            shape = self._sources.shape(chunks[number])
            if number < file.done:
                return file.left(number, shape)
            out = free.pop() if free else np.empty(shape, np.float32, order="F")
            return self._sources.samples(chunks[number], scaling, out[..., : shape[3]])

        for chunk, batchdata in zip(chunks, in_order(make, range(len(chunks)), self._threads), strict=True):
            yield batchdata, chunk.labels[None]
            free.append(batchdata)
            progress.update(len(chunk))


def _savepaths(savepath: Path, options: Options) -> list[Path]:
    if options.mode == "single":
        return [savepath.with_name(f"{savepath.name}.h5")]
    return [savepath.with_name(f"{savepath.name}_{i + 1}.h5") for i in range(options.split)]


def _require_three(sources: Sources) -> None:
    for path, count in zip(sources.paths, sources.counts, strict=True):
        if count < 3:
            raise PortError(f"{count} frames make no triplet", where=path, hint="leave it out")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
