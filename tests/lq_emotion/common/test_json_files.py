"""Files of JSON that commands read back: a damaged one is one error with its name, whichever command reads it."""

import ast
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

import lq_emotion
from lq_emotion.common.json_files import contents_of, find_record, read_json, read_record, write_json
from lq_emotion.common.records import Record
from tests.refusals import refused

SOURCES = Path(lq_emotion.__file__).parent
NOT_OF_A_FILE = {
    "common/folders.py", "common/json_files.py", "common/records.py", "common/settings.py", "nets/known/loading.py",
    "nets/known/model.py", "studies/cloud_robotics/link/table.py", "studies/cloud_robotics/plan.py",
    "verify/genuine_caffe.py",
}  # fmt: skip
"""Modules that parse JSON or make records of what is no file a command wrote, or define how."""


@dataclass(frozen=True)
class Result(Record):
    counts: dict[str, int]


def test_records_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "a.json"
    assert find_record(path, Result) is read_json(path) is None
    write_json(Result({"a": 1}).to_json(), path)
    assert read_record(path, Result) == find_record(path, Result) == Result({"a": 1})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "file-missing"),
        ('{"counts": ', "syntax"),
        pytest.param('{"counts":' * 100_000, "syntax", id="too deep"),
        ("[1]", "wrong-format"),
        *((json.dumps(content), "damaged-file") for content in ({}, {"counts": 5}, {"counts": {"a": "b"}})),
    ],
)
def test_a_missing_or_damaged_file_is_one_error_with_its_name(tmp_path, text, code):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with refused(code, file=path, hint="remove it" if code in ("syntax", "wrong-format") else "train again"):
        read_record(path, Result, "train again")


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, AttributeError, IndexError, RecursionError, TypeError, ValueError]
)
def test_an_error_of_code_that_reads_values_names_the_file_and_the_line(error):
    with refused("damaged-file", file="a.json", line=3, hint="again"), contents_of(Path("a.json"), "again", line=3):
        raise error


def in_contexts_that_name_the_file(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            contexts = {ast.unparse(item.context_expr).partition("(")[0].rpartition(".")[2] for item in node.items}
            if contexts & {"contents_of", "contents"}:
                yield from ast.walk(node)


def unnamed(file):
    """Yield the lines of a module that parse JSON, or make a record where an error would not name the file."""
    tree = ast.parse((SOURCES / file).read_text(encoding="utf-8"))
    named = {id(node) for node in in_contexts_that_name_the_file(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            if called in ("json.load", "json.loads") or (node.func.attr == "from_json" and id(node) not in named):
                yield f"{file}:{node.lineno}: {called}"


def test_records_are_made_of_files_only_where_errors_name_the_file():
    modules = {path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.py")}
    assert modules >= NOT_OF_A_FILE
    assert [line for file in sorted(modules - NOT_OF_A_FILE) for line in unnamed(file)] == []
