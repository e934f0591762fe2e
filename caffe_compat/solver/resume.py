"""Save, next to a snapshot, the state that Caffe's omits: the position in the data and the random states.

A run resumed from PREFIX_iter_N.solverstate starts its data from the beginning, in Caffe and here. Where
PREFIX_iter_N.resume.npz is next to it, the run goes on instead as if it had never stopped: on the CPU, bit for bit.
Caffe does not look at that file, so both can take turns on one run.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from caffe_compat.data import CRand, DataSource
from caffe_compat.errors import FileError
from caffe_compat.formats.files import atomic_path
from caffe_compat.formats.regular_file import require_regular
from caffe_compat.solver.workers import Workers

_FORM = 1
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, RuntimeError, NotImplementedError, SyntaxError,
    OverflowError, MemoryError, RecursionError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip
"""The exceptions of zipfile, NumPy's headers, JSON and torch for damaged bytes."""
_SUFFIX = re.compile(r"\.(solverstate|caffemodel)(\.h5)?$")


@dataclass(frozen=True)
class Place:
    """The state of a run that Caffe's snapshots do not contain.

    Attributes
    ----------
    sources : data sources of the net that is trained.
    tests : data sources of the nets it is tested with; none where another worker tests.
    rng : generator of the shuffles.
    device : its random state is kept in addition to the CPU's.
    workers : each has a random state of its own; their data positions are the same.
    """

    sources: Sequence[DataSource]
    tests: Sequence[DataSource]
    rng: CRand
    device: torch.device
    workers: Workers


def resume_path(snapshot: Path) -> Path:
    """Return the resume file of a snapshot."""
    return snapshot.with_name(_SUFFIX.sub("", snapshot.name) + ".resume.npz")


def random_states(place: Place) -> dict[str, npt.NDArray[np.uint8]]:
    """Return torch's random state of every worker; all workers must call it."""
    states = {"torch": torch.get_rng_state()}
    if place.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(place.device)
    gathered = {name: place.workers.gather(state.to(place.device)) for name, state in states.items()}
    return {name: torch.stack(parts).cpu().numpy() for name, parts in gathered.items()}


def write_resume(
    path: Path, place: Place, *, iteration: int, weights: Path, random: Mapping[str, npt.NDArray[np.uint8]]
) -> None:
    """Write the file, complete or not at all; it is of use with these `weights` of the snapshot only."""
    entries: dict[str, npt.NDArray[Any]] = {"shuffle": place.rng.state, **random}
    for name, source in _named(place):
        entries |= {f"{name} {part}": value for part, value in source.cursor().items()}
    record = {"form": _FORM, "iter": iteration, "weights": _digest(weights), "workers": place.workers.count}
    entries["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, **entries)  # type: ignore[arg-type]  # its stub takes `allow_pickle` for one of the entries


def read_resume(path: Path, place: Place, *, iteration: int, weights: Path) -> str | Callable[[], None]:
    """Return a function that restores data and random numbers, or why they cannot be restored; nothing is set yet."""
    require_regular(path)
    try:
        entries = _entries(path)
        record = json.loads(entries.pop("record").tobytes())
        origin = (record["form"], record["iter"], record["workers"])
        weights_then, shuffle = record["weights"], entries["shuffle"]
        if shuffle.shape != place.rng.state.shape or not ((shuffle >= 0) & (shuffle < 2**32)).all():
            raise ValueError("shuffle is no state of random numbers")
        random = {
            name: torch.from_numpy(entries[name][place.workers.rank]) for name in ("torch", "cuda") if name in entries
        }
        torch.Generator().set_state(random["torch"])
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "remove it to start the data from the beginning"
        raise FileError(f"is damaged: {reason}", code="damaged-file", file=path, hint=hint) from None
    if origin != (_FORM, iteration, place.workers.count) or weights_then != _digest(weights):
        return "it belongs to another snapshot, or another number of processes"
    cursors = [
        (source, {key.removeprefix(f"{name} "): value for key, value in entries.items() if key.startswith(f"{name} ")})
        for name, source in _named(place)
    ]
    if not all(value.ndim == 1 for _, cursor in cursors for value in cursor.values()):
        return "the data has changed"
    if not all(source.fits(cursor) for source, cursor in cursors):
        return "the data has changed"

    def go_on() -> None:
        for source, cursor in cursors:
            source.seek(cursor)
        place.rng.state = shuffle
        torch.set_rng_state(random["torch"])
        if place.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], place.device)

    return go_on


def _entries(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file; as `write_resume` deflates nothing, none is larger than the file."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        stored = sum(member.file_size for member in members)
        if stored > path.stat().st_size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its entries are deflated, or overlap")
        return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}


def _array(content: bytes) -> npt.NDArray[Any]:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an entry is no array")
    shape, fortran, kind = np.lib.format.read_array_header_1_0(stream)
    if kind.kind not in "iu" or fortran or math.prod(shape) * kind.itemsize != len(content) - stream.tell():
        raise ValueError(f"an entry declares {kind} of shape {shape} and has {len(content) - stream.tell()} bytes")
    return np.frombuffer(content, kind, offset=stream.tell()).reshape(shape).copy()


def _named(place: Place) -> Iterator[tuple[str, DataSource]]:
    for kind, sources in (("train", place.sources), ("test", place.tests)):
        for number, source in enumerate(sources):
            yield f"{kind} {number}", source


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
