"""The authors' ``generate_h5.m``: shuffle recordings' frames and valence into an HDF5 file for Caffe.

The script joins all recordings in memory, degrades (``mix``), shuffles, mirrors and normalises them there, and writes
full chunks. Here all random numbers are drawn first, and each chunk is then gathered from the recordings: the file is
the same, but with a few chunks in memory only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from matlab_ports._recordings.chunk_file import ChunkFile, chunk_file
from matlab_ports._recordings.plan import Doubles, Options, Plan, make_plan
from matlab_ports._recordings.sources import Scaling, Single, Sources, compute_scaling, map_in_order
from matlab_ports._support.errors import PortError
from matlab_ports._support.files import report_write_errors, require_folder
from matlab_ports.imresize import processors
from matlab_ports.randstream import RandStream

__all__ = ["Options", "WrittenH5", "generate_h5"]

_VERSION = 1  # of the files' content; a change makes interrupted runs start over


class WrittenH5(NamedTuple):
    """The result of a run.

    Attributes
    ----------
    savepaths : the files.
    recordings : number of recordings.
    samples : number of samples planned.
    written : number of samples in the files.
    resumed : number of samples written by an earlier run.
    position : position of the random stream after the run.
    mean, std : the mean that was subtracted and the standard deviation that was divided by, or None.
    """

    savepaths: tuple[Path, ...]
    recordings: int
    samples: int
    written: int
    resumed: int
    position: int
    mean: float | None
    std: float | None


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
    """Write ``/data`` (N, 1, inputsz, inputsz) and ``/label`` (N, 1) as MATLAB does; (N, 2) for valence and arousal.

    The order is the script's: mix, shuffle, mirror, subtract the mean, divide by the standard deviation, drop the
    samples that do not fill a chunk. **Frames lie transposed in the file** (see `matlab_ports.store2hdf5`).

    Parameters
    ----------
    input
        MAT-files with ``video`` (inputsz x inputsz x T) and ``valence`` (1 x T), or ``arousal``, or both.
    inputsz
        Side of a frame in pixels. With `Options.mix` the script works for 96 only; here frames return to their size.
    savepath
        The HDF5 file without ``.h5``, in a folder that exists; in multi mode ``_1``, ``_2``, ... are added as well.
    chunksz
        Samples per chunk.
    options
        The settings; by default the script's.
    stream
        The random stream; by default that of a fresh MATLAB. Pass the same stream to the next call of a session. Each
        epoch of `Options.mix_epochs` draws one number per frame (with mix), then one per sample.
    resume
        Resume an interrupted run for the same recordings, options and random numbers, and leave its file as it is if
        that is complete.
    threads
        Threads that gather and degrade; by default one per processor. The file does not depend on them.
    scratch
        Folder for inflated copies of deflated recordings (``-v7``), 8 bytes per value; by default that of `savepath`.
        Recordings of ``-v6`` need none.

    Returns
    -------
    WrittenH5

    Raises
    ------
    PortError
        A file or setting cannot be used. The random stream may have advanced.
    """
    stream = RandStream() if stream is None else stream
    options = Options() if options is None else options
    threads = threads or processors()
    paths = _savepaths(Path(savepath), options)
    for name, value in {"inputsz": inputsz, "chunksz": chunksz}.items():
        if value < 1:
            raise PortError("must be at least 1", code="out-of-range", field=name, value=value)
    for path in paths:
        require_folder(path)
    folder = paths[0].parent if scratch is None else Path(scratch)
    with Sources(input, inputsz, scratch=folder, threads=threads) as sources:
        start = stream.position
        if options.triplets == "clean":
            _require_three(sources)
        plan = make_plan(sources.counts, sources.labels, options, stream)
        new_count = len(plan) // len(paths)
        parts = [plan[i * new_count : (i + 1) * new_count] for i in range(len(paths))]
        parts = [part if options.remainder == "keep" else part[: new_count // chunksz * chunksz] for part in parts]
        if not len(parts[0]):
            problem = f"{new_count} samples do not fill one chunk of {chunksz}"
            hint = "use more recordings, smaller chunks (chunksz, --chunk), or remainder=keep"
            raise PortError(problem, code="wrong-count", file=paths[0], field="chunksz", value=chunksz, hint=hint)
        fingerprint = [
            _VERSION, [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in sources.paths],
            inputsz, chunksz, dataclasses.asdict(options), stream.seed, start,
        ]  # fmt: skip
        run = _Run(sources, plan, options, chunksz, threads)
        for path, part in zip(paths, parts, strict=True):
            with report_write_errors(path), chunk_file(path, fingerprint, chunksz, resume=resume) as file:
                run.write(file, part, path.name)
    written, scaling = sum(map(len, parts)), run.scaling or Scaling()
    return WrittenH5(tuple(paths), len(sources.paths), len(plan), written, run.resumed, stream.position, *scaling)


def _recorded_scaling(file: ChunkFile) -> Scaling | None:
    """Return the scaling that an earlier run recorded; None if it recorded none, or the record is malformed."""
    match file.facts.get("scaling"):
        case [int() | float() | None as mean, int() | float() | None as std]:
            return Scaling(mean, std)
    return None


class _Run:
    """The files of one call, which share their statistics."""

    def __init__(self, sources: Sources, plan: Plan, options: Options, chunksz: int, threads: int) -> None:
        self._sources, self._plan, self._options = sources, plan, options
        self._chunksz, self._threads = chunksz, threads
        self.scaling: Scaling | None = None
        self.resumed = 0

    def write(self, file: ChunkFile, part: Plan, name: str) -> None:
        if self.scaling is None:
            self.scaling = _recorded_scaling(file) or self._compute_scaling()
        if file.complete:
            self.resumed += len(part)
            return
        file.record(scaling=self.scaling)
        size = part.frames.size * self._sources.pixels * 4
        with tqdm(total=len(part), desc=name, unit=" samples", disable=None, leave=False) as progress:
            file.write(self._batches(file, part, self.scaling, progress), size)
        self.resumed += min(file.done * self._chunksz, len(part))

    def _compute_scaling(self) -> Scaling:
        mean, std, enabled = self._options.mean, self._options.std, (self._options.mean_sub, self._options.norm)
        return compute_scaling(self._sources, self._plan, mean, std, enabled=enabled, threads=self._threads)

    def _batches(
        self, file: ChunkFile, part: Plan, scaling: Scaling, progress: Any
    ) -> Iterator[tuple[Single, Doubles]]:
        chunks = [part[start : start + self._chunksz] for start in range(0, len(part), self._chunksz)]
        free: list[Single] = []  # arrays that were written are used again: fresh memory is slow

        def gather(number: int) -> Single:
            shape = self._sources.shape(chunks[number])
            if number < file.done:
                return file.read_chunk(number, shape)
            out = free.pop() if free else np.empty(shape, np.float32, order="F")
            return self._sources.samples(chunks[number], scaling, out[..., : shape[3]])

        for chunk, batchdata in zip(chunks, map_in_order(gather, range(len(chunks)), self._threads), strict=True):
            yield batchdata, np.atleast_2d(chunk.labels.T)
            free.append(batchdata)
            progress.update(len(chunk))


def _savepaths(savepath: Path, options: Options) -> list[Path]:
    if options.mode == "single":
        return [savepath.with_name(f"{savepath.name}.h5")]
    return [savepath.with_name(f"{savepath.name}_{i + 1}.h5") for i in range(options.split)]


def _require_three(sources: Sources) -> None:
    for path, count in zip(sources.paths, sources.counts, strict=True):
        if count < 3:
            problem = f"has {count} frames, a triplet needs 3"
            raise PortError(problem, code="wrong-count", file=path, hint="leave the recording out")
