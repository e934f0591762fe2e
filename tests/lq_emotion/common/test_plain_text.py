"""Blocks of a document as plain text."""

from lq_emotion.common.document import Cell, Column, Row, Table, Text, code, row
from lq_emotion.common.plain_text import plain_text

COLUMNS = (Column("file", number=False), Column("CCC", "here"), Column("verdict", number=False))
ROWS = (row(code("a"), "0.5", Cell("passed", strong=True)), Row(group="s = 2"), row("long name", "−0.25", "FAILED"))


def test_columns_are_aligned_and_markup_is_left_out():
    blocks = [Text("run `a` **now**"), Table("**Scores**", COLUMNS, ROWS), Text("no data", "note")]
    assert list(plain_text(blocks)) == [
        "run a now",
        "",
        "Scores",
        "file       here CCC  verdict",
        "a               0.5  passed",
        "s = 2",
        "long name     −0.25  FAILED",
        "",
        "note: no data",
    ]


def test_a_table_without_rows_or_caption_is_its_head():
    assert list(plain_text([Table("", COLUMNS, ()), Text("end")])) == ["file  here CCC  verdict", "end"]


def test_control_characters_are_escaped():
    assert list(plain_text([Text("a\x1b[2J")])) == ["a\\x1b[2J"]
