"""What `lq-emotion verify` found of the authors' weights."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.errors import FileError
from lq_emotion.report.document import Block, Cell, Column, Table, Text, code, number, row
from lq_emotion.studies.robust_lq.store import Results, Store
from lq_emotion.verify import result_file, summary


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
        found = result_file.read_signed(path)
    except FileError as error:
        yield Text(f"**Published weights.** What `lq-emotion verify` found cannot be told: {error}.", "warning")
        return
    with store.contents("verify.json"):
        yield from _found(found)


def _found(found: Results) -> Iterator[Block]:
    files = found["files"]
    failed = [one["file"] for one in files if one["verdict"] != result_file.PASSED]
    if found["verdict"] == result_file.PASSED:
        yield Text(f"**Published weights.** {_verified(found)}")
    else:
        problems = [*found["problems"], *(problem for one in files for problem in one["problems"])]
        told = f"{len(failed)} of {len(files)} files did not pass `lq-emotion verify`: {problems[0]}"
        yield Text(f"**Published weights.** {told}{'; and more' if len(problems) > 1 else ''}.", "warning")
    columns = [Column(title, number=False) for title in ("File", "network", "SHA-256")]
    columns += [Column("largest difference"), Column("", number=False)]
    scored = any(one["scores"] for one in files)
    columns += [Column("scored on", number=False), Column("CCC", "here"), Column("CCC", "paper")] if scored else []
    caption = "Weights, and how far another engine is from ours, in parts of the largest magnitude of a blob."
    rows = (row(*_weights(one), *(_score(one) if scored else ())) for one in files)
    yield Table(caption, tuple(columns), tuple(rows))


def _verified(found: Results) -> str:
    engines = found["engines"]
    others = f"OpenCV {engines['opencv']}" + (f" and Caffe {engines['caffe']}" if engines["caffe"] else "")
    count = len(found["files"])
    files = "the one file" if count == 1 else f"all {count} files"
    return (
        f"On {found['date'][:10]} `lq-emotion verify` passed {files} it was given: whole, networks it knows, and the "
        f"same in our engine and {others} within {found['limit']:g} of each blob's largest magnitude. Whether they are "
        "the files the authors published cannot be told, as their hashes are not known; those here are in verify.json."
    )


def _weights(one: Results) -> tuple[str | Cell, ...]:
    largest = summary.largest(one)
    return (
        code(one["file"]),
        summary.network(one),
        code(str(one["sha256"])[:12]),
        "–" if largest is None else f"{largest[1]['relative']:.1e}".replace("-", "−"),
        Cell(one["verdict"], strong=one["verdict"] != result_file.PASSED),
    )


def _score(one: Results) -> tuple[str, str, str]:
    """Return the first of a file's scores; verify.json has all."""
    if not one["scores"]:
        return "", "–", "–"
    score = one["scores"][0]
    return score["crops"], *(number(score[which] and score[which]["ccc"]) for which in ("measured", "published"))
