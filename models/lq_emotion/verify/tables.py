"""A verification as blocks of a document, which the command and the report render."""

from __future__ import annotations

from collections.abc import Iterator

from lq_emotion.common.document import Block, Cell, Column, Row, Table, Text, code, counted, number, row
from lq_emotion.metrics.regression import MEASURES
from lq_emotion.nets.names import Method
from lq_emotion.verify.settings import PASSED, CellScore, Verification, VerifiedFile

_ENGINES = {"opencv": "OpenCV", "caffe": "Caffe"}
_UNSEEN = (
    "Compared with no earlier result: a changed weight that is still plausible, as after one flipped bit, is the same "
    "to every engine and was not looked for."
)


def verdict(result: Verification) -> Text:
    """Return whether all files passed."""
    files = counted(len(result.files), "file")
    if result.verdict != PASSED:
        failed = sum(bool(file.problems) for file in result.files)
        missing = f"; {'; '.join(result.problems)}" if result.problems else ""
        return Text(f"{failed} of {files} did not pass `lq-emotion verify`{missing}.", "warning")
    others = f"OpenCV {result.opencv}" + (f" and Caffe {result.caffe}" if result.caffe else "")
    return Text(
        f"{files} passed `lq-emotion verify` on {result.date[:10]}: intact, of known networks, and the same in our "
        f"engine and {others} within {result.limit:g} of each blob's largest magnitude. The hashes of the authors' own "
        "files are not known; those of these files are in verify.json."
    )


def tables(result: Verification) -> Iterator[Block]:
    """Yield the files, their scores, and problems and remarks."""
    yield _files(result.files)
    if any(file.scores for file in result.files):
        yield _scores(result)
    failed = Cell("FAILED", strong=True)
    findings = [row(code(file.file), failed, text) for file in result.files for text in file.problems]
    findings += [row(code(file.file), "note", text) for file in result.files for text in file.remarks]
    if findings:
        columns = (Column("File", number=False), Column("", number=False), Column("Problem or remark", number=False))
        yield Table("Problems and remarks.", columns, tuple(findings))
    compared = f"Compared with {code(result.against)}, SHA-256 {result.against_sha256}." if result.against else _UNSEEN
    yield Text(compared, "note")


def differences(result: Verification) -> Iterator[Block]:
    """Yield the engines and the inputs, and how far each blob of the other engines is from ours."""
    caffe = result.caffe or f"none ({result.caffe_absent})"
    yield Text(f"Engines: ours on {result.device}, OpenCV {result.opencv}, genuine Caffe: {caffe}.")
    yield Text(f"Inputs: {', '.join(result.images)}; SHA-256 {result.inputs}.")
    ran = [name for name in _ENGINES if any(file.engines.get(name) for file in result.files)]
    columns = [Column("Blob", number=False), Column("largest")]
    columns += [Column(title, f"{_ENGINES[name]}:") for name in ran for title in ("absolute", "relative")]
    rows = [line for file in result.files for line in _blobs(file, ran)]
    yield Table("Differences of the other engines from ours, by blob.", tuple(columns), tuple(rows))


def _blobs(file: VerifiedFile, ran: list[str]) -> Iterator[Row]:
    yield Row(group=f"{code(file.file)}: {file.bytes} bytes, SHA-256 {file.sha256}")
    by_engine = {name: {blob.blob: blob for blob in file.engines.get(name) or ()} for name in ran}
    for name in dict.fromkeys(name for blobs in by_engine.values() for name in blobs):
        differences = [blobs.get(name) for blobs in by_engine.values()]
        largest = next(blob.largest for blob in differences if blob)
        values = [(_power(blob.absolute), _power(blob.relative)) if blob else ("–", "–") for blob in differences]
        yield row(code(name), f"{largest:.4g}", *(value for pair in values for value in pair))


def _files(files: tuple[VerifiedFile, ...]) -> Table:
    columns = [Column(title, number=False) for title in ("File", "network", "SHA-256")]
    columns += [Column("largest difference"), Column("in", number=False), Column("verdict", number=False)]
    rows = []
    for file in files:
        largest, place = _largest(file)
        state = Cell("FAILED", strong=True) if file.problems else PASSED
        rows.append(row(code(file.file), _network(file), code(str(file.sha256)[:12]), largest, place, state))
    caption = "Weights, and how far another engine is from ours, relative to the largest magnitude of the blob."
    return Table(caption, tuple(columns), tuple(rows))


def _largest(file: VerifiedFile) -> tuple[str, str]:
    """Return the largest relative difference of a file, and its engine and blob."""
    differences = [
        (blob.relative, f"{_ENGINES[name]}, {code(blob.blob)}")
        for name, blobs in file.engines.items()
        for blob in blobs or ()
        if blob.relative is not None
    ]
    if not differences:
        return "–", ""
    value, place = max(differences)
    return _power(value), place


def _network(file: VerifiedFile) -> str:
    if file.network is None:
        return "not recognised"
    return f"{file.network} ({file.training})" if file.training else file.network


def _scores(result: Verification) -> Table:
    columns = [Column(title, number=False) for title in ("File", "scored on")]
    columns += [Column("frames"), Column("cell of Table 1", number=False)]
    columns += [Column(part, measure.upper()) for measure in MEASURES for part in ("here", "paper")]
    columns.append(Column("", number=False))
    rows = (row(code(file.file), *_score(score)) for file in result.files for score in file.scores)
    caption = "Scores on the recordings, and those published for the cell of Table 1."
    if result.synthetic:
        caption += " The recordings are synthetic, so the scores cannot be compared with the published ones."
    if any(score.method is None for file in result.files for score in file.scores):
        caption += " Where no cell is known, pass `--cell FILE=METHOD-S`."
    return Table(caption, tuple(columns), tuple(rows))


def _score(score: CellScore) -> Iterator[str]:
    yield score.crops
    yield str(score.measured.frames)
    at = f" at {score.factor}" if score.method is not Method.HR else ""
    yield f"{score.method}{at}" if score.method else "–"
    for measure in MEASURES:
        yield number(getattr(score.measured, measure))
        yield number(getattr(score.published, measure) if score.published else None)
    yield "agrees" if score.agrees else ""


def _power(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}".replace("-", "−")
