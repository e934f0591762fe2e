"""Settings and result of a verification.

The result, verify.json, ends with a SHA-256 over all other entries. The hash detects accidental changes; it is no
signature, as anybody can compute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import DataError, FileError
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.common.records import Record
from lq_emotion.common.settings import DEVICES, Settings, option
from lq_emotion.datasets.avec.partitions import Partitions, chosen_partitions
from lq_emotion.metrics.regression import Score
from lq_emotion.nets.names import FACTORS, Method, parse_label
from lq_emotion.verify.crops import read_crops

PROGRAM, FORMAT = "lq-emotion verify", 1
PASSED, FAILED = "passed", "failed"

ClaimedCell = tuple[Method | None, int | None]
"""The cell that weights claim to be: a method of Table 1 or None, and a factor or None for all."""


def read_cell(text: str) -> tuple[str, ClaimedCell]:
    """Read FILE=METHOD or FILE=METHOD-FACTOR, a cell of Table 1."""
    name, _, cell = text.rpartition("=")
    claim = parse_label(cell)
    if not name or claim is None:
        methods = ", ".join(method for method in Method if method is not Method.HR)
        hint = f"FILE=HR, or FILE=METHOD-S of {methods} and S of {', '.join(map(str, FACTORS))}"
        raise DataError("names no cell of Table 1", code="name-unknown", field="--cell", value=text, hint=hint)
    return name, claim


@dataclass(frozen=True, kw_only=True)
class VerifySettings(Settings):
    """Settings of a verification."""

    weights: Path = option(
        help="folder or zip archive of .caffemodel and .caffemodel.h5 files, or one file", metavar="DIR"
    )
    recordings: Path | None = option(
        None, "prepared recordings to score on, for a comparison with Table 1", metavar="ROOT"
    )
    crops: tuple[tuple[str, int], ...] = option(
        (), "factor of a folder of crops not named HQ or LR<s>, if the crops do not show it: faces=HQ, small=4",
        read=read_crops, repeated=True, metavar="FOLDER=S",
    )  # fmt: skip
    dev: tuple[str, ...] = option((), "recordings to score on (default: the partition dev)")
    delay: float = option(
        0.0, "delay of the gold standard in seconds, including what prepare removed", least=0, metavar="S"
    )
    cells: tuple[tuple[str, ClaimedCell], ...] = option(
        (), "cell of Table 1 that a file belongs to, if its name does not say: class/a.caffemodel=Joint-3",
        name="--cell", read=read_cell, repeated=True, metavar="FILE=METHOD-S",
    )  # fmt: skip
    out: Path = option(Path("verify.json"), "result file", metavar="FILE")
    against: Path | None = option(
        None, "earlier result that passed; every byte must be unchanged since (the only check that finds plausible "
        "changes). The default is --out, for files of the same names", metavar="FILE",
    )  # fmt: skip
    fresh: bool = option(False, "replace the result in --out without comparing with it")
    caffe: str | None = option(
        None, "a Python with genuine Caffe, as a third engine (default: this Python, if it has Caffe)",
        metavar="PYTHON",
    )  # fmt: skip
    device: str = option("auto", f"device of this engine: {DEVICES}")

    @property
    def partitions(self) -> Partitions | None:
        """The partitions of the recordings; None for those that were chosen before."""
        return chosen_partitions(dev=self.dev)

    @property
    def keeps_earlier(self) -> bool:
        """Whether a result that failed leaves `out` alone: it is the earlier result, which passed."""
        return not self.against or (self.out.exists() and self.out.samefile(self.against))


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
    """The difference of a blob of another engine from ours.

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
    """A file of weights, which passed if it has no problems; None where something could not be read or recognised."""

    file: str
    """Name relative to the folder or archive."""
    bytes: int | None
    sha256: str | None
    kind: str | None = None
    network: str | None = None
    authors: bool | None = None
    """Whether the definition of the recognised network is the authors' own."""
    training: str | None = None
    """Methods that learn at the rates which the file records."""
    blobs: tuple[BlobDigest, ...] = ()
    probe: Probe | None = None
    engines: Mapping[str, tuple[BlobDifference, ...] | None] = field(
        default_factory=lambda: {"opencv": None, "caffe": None}
    )
    """Differences of an engine's blobs from ours; None for an engine that did not run."""
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
    """verify.json; without recordings to score on, nothing about them."""

    program: str = PROGRAM
    format: int = FORMAT
    date: str
    versions: Mapping[str, str | None]
    device: str
    limit: float
    images: tuple[str, ...]
    """Names of the images that every net was run on."""
    shape: tuple[int, ...]
    inputs: str
    """SHA-256 of the images as little-endian float32."""
    opencv: str
    caffe: str | None
    """Version of a genuine Caffe."""
    caffe_absent: str | None = None
    """Why there is none."""
    synthetic: bool | None = None
    """Whether the recordings are synthetic."""
    crops: tuple[str, ...] = ()
    """Names of their folders of crops."""
    delay: float | None = None
    """The delay that scores correct, in seconds."""
    against: str | None = None
    """Name of the earlier result that this one was compared with."""
    against_sha256: str | None = None
    files: tuple[VerifiedFile, ...] = ()
    problems: tuple[str, ...] = ()
    """Problems of no single file."""

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
