"""Reports as Markdown: text stays text, code stays code, whatever the names in it."""

from lq_emotion.common.document import Column, Report, Section, Table, Text, code, row
from lq_emotion.common.html_page import page
from lq_emotion.common.markdown import as_text, markdown

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
