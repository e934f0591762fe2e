"""Documents as Markdown and as plain text: text stays text, code stays code, whatever the names in it."""

from lq_emotion.common.document import Cell, Column, Report, Row, Section, Table, Text, code, row
from lq_emotion.common.html_page import page
from lq_emotion.common.markdown import as_text, markdown
from lq_emotion.common.plain_text import plain_text

NAME = "<script>alert(1)</script>"


def test_no_name_becomes_html_or_a_link():
    columns = (Column(NAME, number=False), Column("n"))
    table = Table(f"{NAME} & [x](javascript:1)", columns, (row(NAME, "1"), row(code(NAME), "2")))
    text = markdown(Report(NAME, (Text(f"lead {NAME}\n# head", "note"),), (Section(NAME, (table,)),)), "figures")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 7
    assert "&amp;lt;" not in text
    assert "| <code>&lt;script&gt;alert(1)&lt;/script&gt;</code> | 2 |" in text
    assert "&amp; [x]\\(javascript:1)" in text
    assert "\n# head" not in text


def test_code_and_strong_text_are_markup():
    lead = Text("run `a_b | c` **now**: 1 < 2")
    assert markdown(Report("t", (lead,)), "f") == "# t\n\nrun `a_b | c` **now**: 1 &lt; 2\n"
    assert "run <code>a_b | c</code> <strong>now</strong>: 1 &lt; 2" in page(Report("t", (lead,)))


def test_as_text_leaves_no_markup():
    assert as_text("a|b *c* `d` [e](f) <g> & h\n") == r"a\|b \*c\* \`d\` \[e\](f) &lt;g&gt; &amp; h\\n"


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
