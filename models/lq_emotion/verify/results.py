"""The result of a verification, verify.json, whose last entry is a SHA-256 over all others.

The hash detects accidental changes; it is no signature, as anybody can compute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.common.records import Record
from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import Method

PROGRAM, FORMAT = "lq-emotion verify", 1
PASSED, FAILED = "passed", "failed"


@dataclass(frozen=True)
class BlobDigest(Record):
    """A blob of weights: its SHA-256 as little-endian float32 is the same in every format of file.

    The largest magnitude and the root mean square are None if they are not finite.
    """

    layer: str
    index: int
    shape: tuple[int, ...]
    sha256: str
    largest: float | None
    rms: float | None


@dataclass(frozen=True)
class Probe(Record):
    """Evenly spaced values of the output, for later runs to compare theirs with; ``inputs`` is the inputs' SHA-256."""

    blob: str
    inputs: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class BlobDifference(Record):
    """How far a blob of another engine is from ours.

    `absolute` is the largest difference of two values, `relative` the same over the `largest` magnitude of ours; both
    are None if a value is not finite. `at` is its image, channel, row and column.
    """

    blob: str
    absolute: float | None
    relative: float | None
    largest: float
    at: tuple[int, ...]
    agrees: bool


@dataclass(frozen=True)
class CellScore(Record):
    """Scores of one file on one folder of crops, and those of the cell of Table 1 that it claims to be, if any."""

    method: Method | None
    factor: int
    crops: str
    measured: Score
    published: Score | None
    difference: Score | None
    agrees: bool | None


@dataclass(frozen=True)
class VerifiedFile(Record):
    """A file of weights; None where something could not be read or recognised.

    Attributes
    ----------
    file : name relative to the folder or archive.
    network, authors : recognised network, and whether its definition is the authors' own.
    training : methods that learn at the rates which the file records.
    engines : engine -> differences of its blobs from ours; None for an engine that did not run.
    problems, remarks : findings; the file passed if it has no problems.
    """

    file: str
    bytes: int | None
    sha256: str | None
    kind: str | None = None
    network: str | None = None
    authors: bool | None = None
    training: str | None = None
    blobs: tuple[BlobDigest, ...] = ()
    probe: Probe | None = None
    engines: Mapping[str, tuple[BlobDifference, ...] | None] = field(
        default_factory=lambda: {"opencv": None, "caffe": None}
    )
    scores: tuple[CellScore, ...] = ()
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether the file passed."""
        return FAILED if self.problems else PASSED

    def to_json(self) -> dict[str, Any]:
        """Return the object in verify.json."""
        return {**super().to_json(), "verdict": self.verdict}

    def adding(self, *, problems: Iterable[str] = (), remarks: Iterable[str] = ()) -> VerifiedFile:
        """Return the same with more problems and remarks."""
        return replace(self, problems=(*self.problems, *problems), remarks=(*self.remarks, *remarks))


@dataclass(frozen=True, kw_only=True)
class Verification(Record):
    """verify.json, whose last entry is a SHA-256 over all others.

    Attributes
    ----------
    images, shape, inputs : names, shape and SHA-256 (as little-endian float32) of the images that every net was run on.
    opencv, caffe, caffe_absent : versions of the other engines; without a genuine Caffe, the reason.
    synthetic, crops, delay : whether the recordings to score on are synthetic, their folders of crops, and the delay
        that scores correct, in seconds; nothing without recordings.
    against, against_sha256 : name and SHA-256 of the earlier result that this one was compared with.
    problems : problems of no single file.
    """

    program: str = PROGRAM
    format: int = FORMAT
    date: str
    versions: Mapping[str, str | None]
    device: str
    limit: float
    images: tuple[str, ...]
    shape: tuple[int, ...]
    inputs: str
    opencv: str
    caffe: str | None
    caffe_absent: str | None = None
    synthetic: bool | None = None
    crops: tuple[str, ...] = ()
    delay: float | None = None
    against: str | None = None
    against_sha256: str | None = None
    files: tuple[VerifiedFile, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether everything passed."""
        return FAILED if self.problems or any(file.problems for file in self.files) else PASSED

    @property
    def sha256(self) -> str:
        """The SHA-256 over all entries of the object, sorted and without spaces."""
        return fingerprint(self._content())

    def to_json(self) -> dict[str, Any]:
        """Return the object in verify.json."""
        return {**self._content(), "sha256": self.sha256}

    def _content(self) -> dict[str, Any]:
        return {**super().to_json(), "verdict": self.verdict}


def read_signed(path: Path) -> Verification:
    """Return a result that is as it was written; refuse a changed one, and other files."""
    content = read_json(path)
    if content is None:
        raise FileError("no such file", code="file-missing", file=path, hint=f"{PROGRAM} --out writes one")
    if content.get("program") != PROGRAM:
        raise FileError(f"is not a result of {PROGRAM}", code="wrong-format", file=path)
    if content.get("format") != FORMAT:
        problem = f"has format {content.get('format')}; this version reads format {FORMAT}"
        raise FileError(problem, code="unsupported", file=path, field="format")
    with contents_of(path):
        unchanged = content.pop("sha256", None) == fingerprint(content)
    if not unchanged:
        problem = "was changed since it was signed off: its SHA-256 is not that of its contents"
        raise FileError(problem, code="damaged-file", file=path, field="sha256")
    with contents_of(path):
        return Verification.from_json(content)


def earlier(path: Path) -> Verification:
    """Return a result to compare with: one that passed."""
    result = read_signed(path)
    if result.verdict != PASSED:
        problem = "is a result that did not pass; nothing to compare with"
        raise FileError(problem, code="invalid", file=path, field="--against")
    return result


def replaced(path: Path) -> Verification | None:
    """Return the result that a new one will replace, if it passed."""
    try:
        result = read_signed(path) if path.exists() else None
    except FileError as error:
        error.hint = "--fresh replaces it"
        raise
    return result if result and result.verdict == PASSED else None
