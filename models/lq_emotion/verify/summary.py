"""The printed summary of a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lq_emotion.common.words import counted
from lq_emotion.metrics.regression import MEASURES
from lq_emotion.nets.names import Method
from lq_emotion.verify.results import PASSED, BlobDifference, CellScore, Verification, VerifiedFile

UNSEEN = (
    "Compared with no earlier result: a changed weight that is still plausible, as after one flipped bit, "
    "is the same to every engine and was not looked for."
)
_ENGINES = {"opencv": "OpenCV", "caffe": "Caffe"}


def lines(result: Verification) -> Iterator[str]:
    """Yield the whole result, line by line."""
    engines = result.engines
    caffe = engines.caffe or f"none ({engines.caffe_absent})"
    yield f"second engine: OpenCV {engines.opencv}; genuine Caffe: {caffe}; ours on {result.device}"
    yield f"inputs: {', '.join(result.inputs.images)}; SHA-256 {result.inputs.sha256}"
    if result.recordings and result.recordings.synthetic:
        yield "recordings: synthetic, so that scores say nothing about the published ones"
    for file in result.files:
        yield ""
        yield from _file(file)
    yield ""
    yield from table(["file", "network", "largest difference", "verdict"], list(map(_summary, result.files)))
    if result.against:
        yield f"compared with {result.against.file}, SHA-256 {result.against.sha256}"
    else:
        yield UNSEEN
    for problem in result.problems:
        yield f"FAILED: {problem}"
    failed = sum(bool(file.problems) for file in result.files)
    files = counted(len(result.files), "file")
    yield f"{files} passed" if result.verdict == PASSED else f"FAILED: {failed} of {files} did not pass"


def network(file: VerifiedFile) -> str:
    """Return what a file was recognised as."""
    if file.network is None:
        return "not recognised"
    return f"{file.network} ({file.training})" if file.training else file.network


def largest(file: VerifiedFile) -> tuple[str, str, float] | None:
    """Return the largest relative difference of a file, with its engine and blob."""
    differences = [
        (name, blob.blob, blob.relative)
        for name, blobs in file.engines.items()
        for blob in blobs or ()
        if blob.relative is not None
    ]
    return max(differences, key=lambda difference: difference[2], default=None)


def _file(file: VerifiedFile) -> Iterator[str]:
    yield f"{file.file}: {network(file)}, {file.bytes} bytes, SHA-256 {file.sha256}"
    ran = {title: blobs for name, title in _ENGINES.items() if (blobs := file.engines.get(name))}
    if ran:
        yield from _differences(ran)
    for score in file.scores:
        yield f"  {_score(score)}"
    for remark in file.remarks:
        yield f"  note: {remark}"
    for problem in file.problems:
        yield f"  FAILED: {problem}"


def _differences(ran: dict[str, tuple[BlobDifference, ...]]) -> Iterator[str]:
    head = ["  blob", "largest"]
    for title in ran:
        head += [f"{title}: absolute", "relative"]
    rows = {blob.blob: [f"  {blob.blob}", f"{blob.largest:.4g}"] for blob in next(iter(ran.values()))}
    for blobs in ran.values():
        for blob in blobs:
            rows[blob.blob] += [_number(blob.absolute), _number(blob.relative)]
    yield from table(head, list(rows.values()))


def _score(score: CellScore) -> str:
    measured = ", ".join(f"{name.upper()} {_fixed(getattr(score.measured, name))}" for name in MEASURES)
    line = f"on {score.crops} ({score.measured.frames} frames): {measured}"
    if score.method is None or score.published is None:
        return f"{line}; no cell of Table 1 known: --cell FILE=METHOD-S"
    published = ", ".join(_fixed(getattr(score.published, name)) for name in MEASURES)
    cell = score.method if score.method is Method.HR else f"{score.method} at {score.factor}"
    return f"{line}; published for {cell}: {published}{' (agrees)' if score.agrees else ''}"


def _summary(file: VerifiedFile) -> list[str]:
    difference = largest(file)
    shown = "–"
    if difference is not None:
        engine, blob, relative = difference
        shown = f"{relative:.2g} ({_ENGINES[engine]}, {blob})"
    return [file.file, network(file), shown, "FAILED" if file.problems else PASSED]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows below their head, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([f"{row[0]:{widths[0]}}", *cells])


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2e}"


def _fixed(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
