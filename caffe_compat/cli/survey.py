"""``survey``: list the definitions below a folder that are built, and what the others lack."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from caffe_compat.cli.flags import add_json, shape
from caffe_compat.cli.table import markdown_table, write_table
from caffe_compat.definition.forks import fork_names
from caffe_compat.errors import CaffeCompatError, FileError, ParseError, printable
from caffe_compat.formats.files import atomic_path, read_bytes
from caffe_compat.tools.survey import Kind, Shapes, Surveyed, files, kind_of, survey

_COUNTS = ("folder", "definitions", "built", "refused")
_COMMENT = re.compile(r"(^|\s)#.*")


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("folder", help="folder with definitions (.prototxt, .pt, .txt), at any depth")
    part.add_argument(
        "--shapes", metavar="FILE", help="table of input shapes, with lines `PATTERN BLOB=N,C,H,W fork=NAME`"
    )
    part.add_argument("--out", metavar="FILE", help="write the tables as Markdown")
    add_json(part)


def run(args: Namespace) -> int:
    """Survey a folder."""
    folder = Path(args.folder)
    table, forks = read_shapes(args.shapes) if args.shapes else [], fork_names(args.fork)
    kinds: Counter[Kind] = Counter()
    rows: list[Surveyed] = []
    with tqdm(files(folder), "survey", unit="file", leave=False, disable=None) as paths:
        for path in paths:
            try:
                kind = kind_of(path)
            except CaffeCompatError:
                kind = Kind.OTHER
            kinds[kind] += 1
            if kind is Kind.NET:
                rows.append(survey(path, folder, table, forks))
                if not args.json:
                    paths.write(_line(rows[-1]), file=sys.stdout)
    if not rows:
        raise FileError(
            "contains no definition of a net", code="empty", file=folder, hint="--help lists the names of definitions"
        )
    left_out = {str(kind): kinds[kind] for kind in Kind if kind is not Kind.NET}
    if args.out:
        with atomic_path(args.out) as partial:
            partial.write_text(_markdown(rows, left_out), encoding="utf-8")
    if args.json:
        result = {
            "folders": {folder: {"definitions": count, "built": built} for folder, count, built in _folders(rows)},
            "definitions": [row.to_json() for row in rows],
            "left_out": left_out,
        }
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        write_table([_COUNTS, *_counts(rows)], right=(1, 2, 3))
        sys.stdout.write(_left_out(left_out) + "\n")
    return 0


def read_shapes(file: str) -> list[Shapes]:
    """Read a table of input shapes: a line for each pattern, ``#`` begins a comment."""
    table = []
    for number, line in enumerate(read_bytes(file).decode("utf-8", "replace").splitlines(), 1):
        pattern, *words = _COMMENT.sub("", line).split() or [""]
        forks = tuple(word.removeprefix("fork=") for word in words if word.startswith("fork="))
        try:
            shapes = dict(shape(word) for word in words if not word.startswith("fork="))
        except ArgumentTypeError as error:
            raise ParseError(str(error), code="syntax", file=file, line=number) from None
        if pattern:
            table.append(Shapes(pattern, shapes, fork_names(forks)))
    return table


def _line(row: Surveyed) -> str:
    return printable(f"refused  {row.path}: {row.missing}: {row.problem}" if row.lack else f"built    {row.path}")


def _folders(rows: Sequence[Surveyed]) -> list[tuple[str, int, int]]:
    """Return each first-level folder with the number of its definitions and of those that are built."""
    total, built = Counter(row.folder for row in rows), Counter(row.folder for row in rows if row.lack is None)
    return [(folder, total[folder], built[folder]) for folder in sorted(total)]


def _counts(rows: Sequence[Surveyed]) -> list[tuple[str, ...]]:
    """Return the counts of each folder and of all, as text."""
    folders = _folders(rows)
    folders.append(("all", sum(row[1] for row in folders), sum(row[2] for row in folders)))
    return [(folder, str(count), str(built), str(count - built)) for folder, count, built in folders]


def _left_out(left_out: Mapping[str, int]) -> str:
    return "left out: " + ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in left_out.items())


def _markdown(rows: Sequence[Surveyed], left_out: Mapping[str, int]) -> str:
    """Return the report: counts by folder, what is missing and how often, every definition."""
    missing = Counter(row.missing for row in rows if row.lack is not None)
    definitions = [(row.path, "refused" if row.lack else "built", row.missing or ", ".join(row.python)) for row in rows]
    return "\n".join(
        [
            markdown_table(_COUNTS, _counts(rows)),
            _left_out(left_out).capitalize() + ".\n",
            markdown_table(("missing", "definitions"), [(name, str(n)) for name, n in missing.most_common()]),
            markdown_table(("definition", "", "missing; Python layers with given shapes"), definitions),
        ]
    )
