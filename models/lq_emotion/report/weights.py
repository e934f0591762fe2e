"""What `lq-emotion verify` found of the authors' weights."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.errors import FileError
from lq_emotion.common.document import Block, Cell, Column, Table, Text, code, number, row
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.verify import result_file, summary
from lq_emotion.verify.results import PASSED, Verification, VerifiedFile


def published_weights(store: Store) -> Iterator[Block]:
    """Yield whether the weights of ROOT/verify.json passed, and a row for each file."""
    path = store.root / "verify.json"
    if not path.exists():
        yield Text(
            "**Published weights.** The authors' trained weights were not looked at in this folder; "
            "`lq-emotion verify --weights DIR --out ROOT/verify.json` does."
        )
        return
    try:
        result = result_file.read_signed(path)
    except FileError as error:
        yield Text(f"**Published weights.** What `lq-emotion verify` found cannot be shown: {error}.", "warning")
        return
    yield from _shown(result)


def _shown(result: Verification) -> Iterator[Block]:
    files = result.files
    if result.verdict == PASSED:
        yield Text(f"**Published weights.** {_verified(result)}")
    else:
        failed = sum(bool(file.problems) for file in files)
        problems = [*result.problems, *(problem for file in files for problem in file.problems)]
        problem = f"{failed} of {len(files)} files did not pass `lq-emotion verify`: {problems[0]}"
        yield Text(f"**Published weights.** {problem}{'; and more' if len(problems) > 1 else ''}.", "warning")
    columns = [Column(title, number=False) for title in ("File", "network", "SHA-256")]
    columns += [Column("largest difference"), Column("", number=False)]
    scored = any(file.scores for file in files)
    columns += [Column("scored on", number=False), Column("CCC", "here"), Column("CCC", "paper")] if scored else []
    caption = "Weights, and how far another engine is from ours, in parts of the largest magnitude of a blob."
    rows = (row(*_weights(file), *(_score(file) if scored else ())) for file in files)
    yield Table(caption, tuple(columns), tuple(rows))


def _verified(result: Verification) -> str:
    engines = result.engines
    others = f"OpenCV {engines.opencv}" + (f" and Caffe {engines.caffe}" if engines.caffe else "")
    count = len(result.files)
    files = "the one file" if count == 1 else f"all {count} files"
    return (
        f"On {result.date[:10]} `lq-emotion verify` passed {files} it was given: whole, networks it knows, and the "
        f"same in our engine and {others} within {result.limit:g} of each blob's largest magnitude. Whether they are "
        "the files the authors published cannot be told, as their hashes are not known; those here are in verify.json."
    )


def _weights(file: VerifiedFile) -> tuple[str | Cell, ...]:
    largest = summary.largest(file)
    return (
        code(file.file),
        summary.network(file),
        code(str(file.sha256)[:12]),
        "–" if largest is None else f"{largest[2]:.1e}".replace("-", "−"),
        Cell(file.verdict, strong=bool(file.problems)),
    )


def _score(file: VerifiedFile) -> tuple[str, str, str]:
    """Return the first of a file's scores; verify.json has all."""
    if not file.scores:
        return "", "–", "–"
    score = file.scores[0]
    return score.crops, number(score.measured.ccc), number(score.published.ccc if score.published else None)
