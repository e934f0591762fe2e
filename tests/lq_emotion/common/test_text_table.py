"""Tables of text: three separators, quotes, blank cells and rows, and errors with line and column."""

import math

import pytest

from lq_emotion.common.text_table import Table
from tests.refusals import refused


def put(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_column_names_are_stripped_and_found_ignoring_case(tmp_path):
    table = Table.read(put(tmp_path / "a.csv", "time;FM1 ;'FF2' \n0;1;2\n"))
    assert table.columns == ("time", "fm1", "ff2")
    assert table.numbers("FF2").tolist() == [2.0]
    assert table.column("Time", 2) == "Time"
    assert table.column("frame", 1) == "fm1"
    with refused("field-missing", file="a.csv", field="frame"):
        table.column("frame", 3)


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_values_are_separated_by_semicolons_commas_or_tabs(tmp_path, separator):
    text = 'a,b\n1,2\n\n3,4,\n,\n"5",6\n'.replace(",", separator)
    table = Table.read(put(tmp_path / "a.csv", text))
    assert table.numbers("b").tolist() == [2.0, 4.0, 6.0]
    assert [row.line for row in table.rows] == [2, 4, 6]
    assert [row["a"] for row in table.rows] == ["1", "3", "5"]


def test_a_separator_within_quotes_belongs_to_the_cell(tmp_path):
    table = Table.read(put(tmp_path / "a.csv", 'name, x\n"b, c", 1\n'))
    assert table.rows[0]["name"] == "b, c"


def test_one_column_without_a_name_and_empty_ones_at_the_end_are_accepted(tmp_path):
    table = Table.read(put(tmp_path / "a.csv", ",x,,\n0,1,,\n1,2\n"))
    assert table.columns == ("", "x")
    assert table.numbers("x").tolist() == [1.0, 2.0]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_byte_order_mark_and_all_line_ends_are_accepted(tmp_path, end):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftime;x \n0.04;1\n".replace(b"\n", end))
    table = Table.read(path)
    assert table.columns == ("time", "x")
    assert table.rows[0].line == 2


def test_nan_question_marks_and_empty_values_are_nan(tmp_path):
    table = Table.read(put(tmp_path / "a.csv", "a;b\nNaN;1\n?;1\n;1\n2;1\n"))
    assert [math.isnan(value) for value in table.numbers("a")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("cell", "code"), [("x", "syntax"), ("", "field-missing"), ("nan", "not-finite"), ("-inf", "not-finite")]
)
def test_a_cell_that_is_no_finite_number_is_refused_with_line_and_column(tmp_path, cell, code):
    path = put(tmp_path / "a.csv", f"a;b\n1;2\n3;{cell}\n")
    with refused(code, file=path, line=3, column=2, field="b", value=cell):
        Table.read(path).rows[1].number("b")
    with refused("syntax", file=path, line=3, column=1, field="a", value="y"):
        Table.read(put(path, "a;b\n1;2\ny;1\n")).numbers("a")


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "empty", None),
        ("a;b\n", "empty", 1),
        ("a;b\n1;2\n3\n", "wrong-count", 3),
        ("a;b\n1;2;3\n", "wrong-count", 2),
        ("a;A\n1;2\n", "duplicate", 1),
        (";;c\n1;2;3\n", "empty", 1),
        ("a;c\n1;2\n", "field-missing", 1),
        ("a;b\n1;" + "1" * 140_000, "syntax", 2),
        (b"\xff\xfe\x00\x80", "wrong-format", None),
        (None, "file-missing", None),
    ],
)
def test_malformed_tables_are_refused(tmp_path, text, code, line):
    path = tmp_path / "a.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused(code, file="a.csv", line=line, hint="a, b" if code == "wrong-count" else ""):
        Table.read(path, ("b",))
